import { domainToASCII } from "node:url";
import { errors } from "../errors.ts";

/** An address as mail is sent to it, and the form under which it is found and compared. */
export interface NormalisedEmail {
  /** The local part as typed, the domain in ASCII and lower case. */
  readonly email: string;
  /** All in lower case: two addresses are the same person's exactly where these are equal. */
  readonly emailNorm: string;
}

const MAX_ADDRESS_BYTES = 254;
const MAX_LOCAL_BYTES = 64;

/** RFC 5321 §4.1.2 dot-string with the letters of RFC 6531; no quoted local part, no comment, nothing invisible. */
const LOCAL =
  /^[\p{L}\p{N}\p{M}!#$%&'*+/=?^_`{|}~-]+(?:\.[\p{L}\p{N}\p{M}!#$%&'*+/=?^_`{|}~-]+)*$/u;

/** Only letters, digits, marks, hyphens and dots; WHATWG's conversion would also decode and strip. */
const TYPED_DOMAIN = /^[\p{L}\p{N}\p{M}.-]+$/u;

/** A name with at least two labels whose last is not a number, so no address literal in disguise. */
const ASCII_DOMAIN =
  /^(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)+(?!\d+$)[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?$/;

/**
 * The one place where an e-mail address from outside gets its form (T-68). It is checked after normalisation, and what
 * only looks like another character, such as a full-width `@`, is refused instead of turned into it.
 *
 * @throws AppError `invalid_email`
 */
export function normaliseEmail(typed: string): NormalisedEmail {
  if (typed.length > MAX_ADDRESS_BYTES) throw errors.invalidEmail();
  const text = typed.normalize("NFC");
  if (text !== text.normalize("NFKC")) throw errors.invalidEmail();
  const [local, typedDomain, ...rest] = text.split("@");
  if (local === undefined || typedDomain === undefined || rest.length > 0)
    throw errors.invalidEmail();
  if (!LOCAL.test(local) || !TYPED_DOMAIN.test(typedDomain)) throw errors.invalidEmail();
  const domain = domainToASCII(typedDomain);
  const email = `${local}@${domain}`;
  if (
    !ASCII_DOMAIN.test(domain) ||
    Buffer.byteLength(local) > MAX_LOCAL_BYTES ||
    Buffer.byteLength(email) > MAX_ADDRESS_BYTES
  )
    throw errors.invalidEmail();
  return { email, emailNorm: `${local.toLowerCase().normalize("NFC")}@${domain}` };
}
