import { createHmac, createSecretKey } from "node:crypto";
import { equalBytes } from "../lib/secret.ts";

/** What the package `cookies` asks of whatever signs cookies. */
interface Signer {
  sign(data: string): string;
  verify(data: string, signature: string): boolean;
  /** Which key it was, for whoever signs anew what an older one signed. */
  index(data: string, signature: string): number;
}

/**
 * Signs cookies as `keygrip` does, which would compare each by two more HMACs with random bytes, to tell nothing by the
 * time that takes. `timingSafeEqual` tells as little in a tenth of the time.
 */
export function cookieSignatures(key: string): Signer {
  const secret = createSecretKey(key, "utf8");
  const sign = (data: string) => createHmac("sha1", secret).update(data).digest("base64url");
  const verify = (data: string, signature: string) =>
    equalBytes(Buffer.from(sign(data)), Buffer.from(signature));
  return { sign, verify, index: (data, signature) => (verify(data, signature) ? 0 : -1) };
}
