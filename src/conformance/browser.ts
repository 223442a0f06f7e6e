/** How the suite's browser goes through our pages: its own little language (conformance suite, "browser"). */
export interface Visit {
  readonly match: string;
  readonly comment?: string;
  readonly tasks: readonly Task[];
}

interface Task {
  readonly task: string;
  readonly match: string;
  readonly optional?: true;
  readonly commands?: readonly Command[];
}

type Command = readonly (string | number)[];

/** Who signs in. */
interface Person {
  readonly username: string;
  readonly password: string;
}

/** Fills the picture that a module asks a reviewer for with what the page shows. */
const PICTURE = "update-image-placeholder";
const PICTURE_IF_ASKED = "update-image-placeholder-optional";
const SECONDS = 10;

/** Signing in, agreeing, and signing out, as every module needs them; ids are those of the pages (views/README.md). */
export function visits(issuer: string, person: Person): Visit[] {
  return [signIn(issuer, person), signOut(issuer, [])];
}

/** What single modules need instead, by their names. */
export function overrides(
  issuer: string,
  person: Person,
): Record<string, { browser: readonly Visit[] }> {
  const instead = (modules: readonly string[], browser: readonly Visit[]) =>
    modules.map((name) => [name, { browser }] as const);
  return Object.fromEntries([
    ...instead(
      ["oidcc-prompt-login", "oidcc-max-age-1"],
      [signIn(issuer, person, [["wait", "id", "login-submit", SECONDS, ".*", PICTURE_IF_ASKED]])],
    ),
    ...instead(
      [
        "oidcc-ensure-registered-redirect-uri",
        "oidcc-ensure-redirect-uri-in-authorization-request",
        "oidcc-redirect-uri-query-added",
        "oidcc-redirect-uri-query-mismatch",
        "fapi2-security-profile-final-ensure-registered-redirect-uri",
        "fapi2-security-profile-final-ensure-redirect-uri-in-authorization-request",
      ],
      [errorAt(`${issuer}/auth*`)],
    ),
    ...instead(
      [
        "oidcc-registration-logo-uri",
        "oidcc-registration-policy-uri",
        "oidcc-registration-tos-uri",
      ],
      [showing(`${issuer}/auth*`, `${issuer}/interaction/*`, "login-submit")],
    ),
    ...instead(
      [
        "oidcc-rp-initiated-logout-bad-post-logout-redirect-uri",
        "oidcc-rp-initiated-logout-query-added-to-post-logout-redirect-uri",
        "oidcc-rp-initiated-logout-modified-id-token-hint",
        "oidcc-rp-initiated-logout-bad-id-token-hint",
      ],
      [signIn(issuer, person), errorAt(`${issuer}/session/end*`)],
    ),
    ...instead(
      [
        "oidcc-rp-initiated-logout-no-id-token-hint",
        "oidcc-rp-initiated-logout-no-params",
        "oidcc-rp-initiated-logout-no-post-logout-redirect-uri",
        "oidcc-rp-initiated-logout-only-state",
      ],
      [
        signIn(issuer, person),
        signOut(issuer, [
          {
            task: "Signed out",
            match: `${issuer}/session/end/success*`,
            commands: [["wait", "id", "main", SECONDS, ".*", PICTURE]],
          },
        ]),
      ],
    ),
  ]);
}

function signIn(issuer: string, person: Person, first: readonly Command[] = []): Visit {
  return {
    match: `${issuer}/auth*`,
    tasks: [
      {
        task: "Who it is",
        optional: true,
        match: `${issuer}/interaction/*`,
        commands: [
          ...first,
          ["text", "id", "username", person.username, "optional"],
          ["click", "id", "login-submit", "optional"],
        ],
      },
      {
        task: "Password",
        optional: true,
        match: `${issuer}/interaction/*/password`,
        commands: [
          ...first,
          ["text", "id", "password", person.password],
          ["click", "id", "login-submit"],
        ],
      },
      {
        task: "Consent",
        optional: true,
        match: `${issuer}/interaction/*/consent`,
        commands: [["click", "id", "consent-allow"]],
      },
      {
        task: "Back at the suite",
        match: "*/test/*/callback*",
        commands: [["wait", "id", "submission_complete", SECONDS]],
      },
    ],
  };
}

function signOut(issuer: string, after: readonly Task[]): Visit {
  const back: Task = { task: "Back at the suite", match: "*/test/*/post*" };
  return {
    match: `${issuer}/session/end*`,
    tasks: [
      {
        task: "Sign out",
        optional: true,
        match: `${issuer}/session/end*`,
        commands: [["click", "id", "logout-confirm", "optional"]],
      },
      {
        task: "Go on, when every client was told",
        optional: true,
        match: `${issuer}/session/end*`,
        commands: [
          ["wait", "id", "main", SECONDS],
          ["click", "id", "continue", "optional"],
        ],
      },
      ...(after.length === 0 ? [back] : after),
    ],
  };
}

function errorAt(match: string): Visit {
  return showing(match, match, "error-code");
}

/** A page that ends the module, and is its picture. */
function showing(start: string, match: string, id: string): Visit {
  return {
    match: start,
    tasks: [
      { task: "Show the page", match, commands: [["wait", "id", id, SECONDS, ".*", PICTURE]] },
    ],
  };
}
