/** What a person has shown or said so far in one interaction; kept in the engine's Interaction until it ends. */
export interface Progress {
  /** The answer on the account page: whoever is signed in, or somebody else. */
  readonly account?: "current" | "another";
  /** What was typed as address or username. */
  readonly identifier?: string;
  /** Who signed in, once the last required factor was shown. */
  readonly userId?: string;
  /** How (RFC 8176 §2). */
  readonly amr?: readonly string[];
  /** When, in seconds since the epoch with a fraction: the `auth_time` of tokens. */
  readonly signedInAt?: number;
  /** Whether this browser keeps the session when it closes. */
  readonly remember?: boolean;
  /** The answer on the consent page. */
  readonly consent?: { readonly scopes: readonly string[]; readonly rejected: readonly string[] };
}

/** What the request asks for, as far as it decides what comes next. */
export interface Demand {
  /** Whether the client wants the person to choose an account (`prompt=select_account`, OIDC Core §3.1.2.1). */
  readonly chooseAccount: boolean;
  /** Whether the person must sign in, though a session may exist. */
  readonly signIn: boolean;
  /** Whose session this browser has. */
  readonly sessionUserId: string | undefined;
  /** Whether consent is asked for: something is undecided, or the client or its kind demands it. */
  readonly consent: boolean;
}

export type Step = "accounts" | "identifier" | "password" | "consent" | "done";

/** The single place that decides what a sign-in needs next. Every rule is one line. */
export function nextStep(progress: Progress, demand: Demand): Step {
  const { sessionUserId } = demand;
  const isAnother = progress.account === "another" || sessionUserId === undefined;
  if (demand.chooseAccount && !isAnother && progress.account === undefined) return "accounts";
  const mustSignIn = demand.signIn || (demand.chooseAccount && isAnother);
  if (mustSignIn && progress.userId === undefined) {
    const isKnown = progress.identifier !== undefined || !isAnother;
    return isKnown ? "password" : "identifier";
  }
  if (demand.consent && progress.consent === undefined) return "consent";
  return "done";
}

/** The address of a step, below the interaction's own, to which its cookie is bound. */
export function stepPath(here: string, step: Exclude<Step, "done">): string {
  return step === "identifier" ? here : `${here}/${step}`;
}
