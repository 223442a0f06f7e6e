import { compactDecrypt, importJWK, type JWK } from "jose";
import { UpstreamError } from "../connector.ts";

/** How a provider may encrypt the key of a token for us (RFC 7518 §4.3); RSA 1.5 tells too much to who tries. */
export const KEY_ENCRYPTION = ["RSA-OAEP", "RSA-OAEP-256"] as const;
/** How it may encrypt the token itself (RFC 7518 §5.1). */
const CONTENT_ENCRYPTION = [
  "A128CBC-HS256",
  "A192CBC-HS384",
  "A256CBC-HS512",
  "A128GCM",
  "A192GCM",
  "A256GCM",
];

/** What a token is opened with. */
export interface Decryption {
  /** Our private keys for it. */
  readonly keys: readonly JWK[];
  /** The one way that the connection takes; none where nothing is to be encrypted. */
  readonly alg: string | undefined;
}

/** Whether something is a JWE in compact form (RFC 7516 §7.1). */
export function isEncrypted(token: string): boolean {
  return token.split(".").length === 5;
}

/**
 * What is inside of a token that was encrypted for us (OIDC Core §16.14): one that is signed. A token that is not
 * encrypted stays what it is, where nothing demands that it is.
 *
 * @param what is the token, in words.
 * @throws UpstreamError `invalid`, which says nothing of how a decryption failed.
 */
export async function openToken(
  token: string,
  { keys, alg }: Decryption,
  { what, mustBe }: { what: string; mustBe: boolean },
): Promise<string> {
  if (!isEncrypted(token)) {
    if (!mustBe || alg === undefined) return token;
    throw unfit(
      `The ${what} is not encrypted, and ${alg} was expected.`,
      "Register the client there for encrypted ID tokens, with our jwks_uri.",
    );
  }
  if (alg === undefined)
    throw unfit(
      `The ${what} is encrypted, and no key of ours is published for that.`,
      "Set id_token_encrypted_response_alg, or register the client there for tokens that are not encrypted.",
    );
  for (const key of keys) {
    try {
      const { plaintext } = await compactDecrypt(token, await importJWK(key, alg), {
        keyManagementAlgorithms: [alg],
        contentEncryptionAlgorithms: CONTENT_ENCRYPTION,
      });
      return new TextDecoder("utf-8", { fatal: true }).decode(plaintext);
    } catch {
      // It may be for another key.
    }
  }
  throw unfit(
    `The ${what} cannot be decrypted with our key by ${alg}.`,
    "Let the provider read our jwks_uri again, and encrypt as id_token_encrypted_response_alg says.",
  );
}

function unfit(message: string, hint: string): UpstreamError {
  return new UpstreamError("invalid", "oidc.encryption", message, { hint });
}
