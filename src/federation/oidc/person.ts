import type { IdentityProvider } from "../../models/identity-provider.ts";
import { UpstreamError, type Trace } from "../connector.ts";
import { anyJsonOf, ask, type Reply } from "./ask.ts";

export type Claims = Readonly<Record<string, unknown>>;
/** What of a row says which claims of theirs are ours. */
type Mapping = Pick<IdentityProvider, "attributeMapping">;

const MAX_SUBJECT = 255;

/**
 * Who it is there, for good: the claims that together say so.
 *
 * @throws UpstreamError `incomplete` where one is missing, or is neither text nor a whole number.
 */
export function subjectOf(claims: Claims, names: readonly string[]): string {
  const parts = names.map((name) => {
    const value = claims[name];
    if (typeof value === "string" && value !== "") return value;
    // A number that JSON cannot say exactly might be somebody else's.
    if (Number.isSafeInteger(value)) return String(value);
    throw noSubject(`the claim ${name} is ${value === undefined ? "missing" : "of no use"}`);
  });
  const subject = parts.join(":");
  if (subject.length > MAX_SUBJECT) throw noSubject(`it has ${subject.length} characters`);
  if (/\p{Cc}/u.test(subject)) throw noSubject("it has control characters");
  return subject;
}

function noSubject(why: string): UpstreamError {
  return new UpstreamError(
    "incomplete",
    "oauth.subject",
    `The provider does not say who it is: ${why}, and a lasting identifier of at most ${MAX_SUBJECT} characters was expected.`,
    { hint: "Check subject_claims and the scopes." },
  );
}

/**
 * The address, and whether the provider says that it has verified it; anything but a clear yes is no (T-90). What
 * `email_verified` says is said of `email` (OIDC Core §5.1), and of another claim only where it is mapped as well.
 */
export function addressOf(
  claims: Claims,
  { attributeMapping: mapping }: Mapping,
): { email?: string; emailVerified: boolean } {
  const { email: source = "email", email_verified: said } = mapping;
  const email = claims[source];
  const verified = claims[said ?? "email_verified"];
  if (typeof email !== "string" || email === "") return { emailVerified: false };
  const isSaidOfIt = source === "email" || said !== undefined;
  // Apple says it as text.
  return { email, emailVerified: isSaidOfIt && (verified === true || verified === "true") };
}

/** Asks an API that answers to an access token (RFC 6750 §2.1). */
export async function askWithToken(
  fetch: typeof globalThis.fetch,
  { what, url, accessToken }: { what: string; url: string; accessToken: string },
  trace: Trace,
): Promise<Reply> {
  const headers = new Headers({
    accept: "application/json, application/jwt",
    authorization: `Bearer ${accessToken}`,
  });
  const reply = await ask(fetch, { what, url, headers }, trace);
  if (reply.status === 200) return reply;
  throw new UpstreamError(
    "refused",
    "oauth.api",
    `The ${what} ${reply.url} answered with status ${reply.status} instead of 200.`,
    { hint: "Check the scopes, and whether the application may use this API." },
  );
}

/** The person's verified primary address of a list of `{ email, primary, verified }`, as claims; none if there is none. */
export function primaryAddress(reply: Reply): Claims {
  const list = anyJsonOf(reply);
  const entries: unknown[] = Array.isArray(list) ? list : [];
  const primary = entries.find(
    (entry): entry is { email: string } =>
      isRecord(entry) &&
      typeof entry["email"] === "string" &&
      entry["primary"] === true &&
      entry["verified"] === true,
  );
  return primary === undefined ? {} : { email: primary.email, email_verified: true };
}

/**
 * The names that Apple sends beside the first answer and never again. Nothing proves them, and the browser could have
 * changed them, so that nothing else is taken from there.
 */
export function namesOf(user: string | undefined): Claims {
  if (user === undefined) return {};
  let sent: unknown;
  try {
    sent = JSON.parse(user);
  } catch {
    return {};
  }
  const { firstName, lastName } = isRecord(sent) && isRecord(sent["name"]) ? sent["name"] : {};
  const names = Object.entries({ given_name: firstName, family_name: lastName });
  return Object.fromEntries(names.filter(([, name]) => typeof name === "string" && name !== ""));
}

/** What userinfo says beside the ID token, which counts more. */
export function merged(idToken: Claims, userinfo: Claims): Claims {
  const { email } = idToken;
  if (email === undefined || email === userinfo["email"]) return { ...userinfo, ...idToken };
  // Whether another address is verified says nothing of this one.
  const { email_verified: _ofAnother, ...rest } = userinfo;
  return { ...rest, ...idToken };
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
