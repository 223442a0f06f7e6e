/** A way in which a person shows who they are. */
export type Method =
  | "pwd"
  | "passkey"
  | "webauthn"
  | "totp"
  | "recovery_code"
  | "email_code"
  | "federated"
  | "federated_mfa";

/** One thing that a person has shown; `at` in seconds since the epoch, with a fraction. */
export interface Shown {
  readonly method: Method;
  readonly at: number;
  /** When it was shown to an identity provider, where that says so and it was before. */
  readonly authTime?: number;
}

/**
 * How well a sign-in is proven: 1 by one factor, 2 by two, 3 by what cannot be phished. A trusted browser and a
 * recovery code let people in and prove nothing more; a mailbox is no second factor (NIST SP 800-63B-4 §3.1.3.1).
 */
export type Level = 1 | 2 | 3;

/** Authentication method references (RFC 8176 §2) of each method; for a mailed code and a provider elsewhere it has none. */
const REFERENCES: Readonly<Record<Method, readonly string[]>> = {
  pwd: ["pwd"],
  passkey: ["pop", "user", "mfa"],
  webauthn: ["pop", "user"],
  totp: ["otp"],
  recovery_code: ["otp"],
  email_code: ["otp", "email"],
  // Shown to an identity provider elsewhere; by two factors, where the operator believes what it says.
  federated: ["fed"],
  federated_mfa: ["fed"],
};

/** What a second step may consist of. */
const SECOND_STEPS: ReadonlySet<Method> = new Set([
  "passkey",
  "webauthn",
  "totp",
  "recovery_code",
  "email_code",
]);

/** The level that what was shown amounts to. */
export function levelOf(methods: readonly Method[]): Level {
  // A passkey verifies who holds it, which makes it two factors in one (NIST SP 800-63B-4 §3.1.7).
  if (methods.includes("passkey") || methods.includes("webauthn")) return 3;
  if (methods.includes("federated_mfa")) return 2;
  const isBegun = methods.includes("pwd") || methods.includes("federated");
  return isBegun && methods.includes("totp") ? 2 : 1;
}

/** How the sign-in is described in tokens (`amr`, RFC 8176). */
export function referencesOf(methods: readonly Method[]): string[] {
  const all = methods.flatMap((method) => REFERENCES[method]);
  return [...new Set(levelOf(methods) > 1 ? [...all, "mfa"] : all)];
}

/** Whether something was shown beside what began the sign-in, or what is two things in one. */
export function hasSecondStep(methods: readonly Method[]): boolean {
  const isTwoInOne = methods.includes("passkey") || methods.includes("federated_mfa");
  return isTwoInOne || methods.slice(1).some((method) => SECOND_STEPS.has(method));
}

/**
 * The names by which clients ask for a level (`acr`, OIDC Core §2): its number, and what the operator calls it.
 */
export type LevelNames = ReadonlyMap<string, Level>;

/** What every issuer calls its levels, beside the names of its own. */
export const LEVEL_NUMBERS: LevelNames = new Map<string, Level>([
  ["1", 1],
  ["2", 2],
  ["3", 3],
]);

/** The level of a session, by what is stored of it. */
export function levelNamed(acr: string | undefined): Level {
  return LEVEL_NUMBERS.get(acr ?? "") ?? 1;
}

/**
 * What to call a level before a client that asked for one of several names: the first of them that the level reaches;
 * its number, if it reaches none (OIDC Core §5.5.1.1).
 */
export function nameOfLevel(level: Level, asked: readonly string[], names: LevelNames): string {
  return asked.find((name) => (names.get(name) ?? Infinity) <= level) ?? String(level);
}

/** The names of levels that a request asks for, the one it likes best first (OIDC Core §3.1.2.1, §5.5.1.1). */
export function levelsAskedFor(params: Readonly<Record<string, unknown>>): string[] {
  const { claims, acr_values: values } = params;
  if (typeof claims === "string") {
    const { id_token: idToken } = JSON.parse(claims) as {
      id_token?: { acr?: { value?: unknown; values?: unknown } | null };
    };
    const named = [idToken?.acr?.value ?? idToken?.acr?.values ?? []].flat().map(String);
    if (named.length > 0) return named;
  }
  return typeof values === "string" ? values.split(" ").filter(Boolean) : [];
}
