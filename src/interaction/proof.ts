import { currentBrowser } from "../http/browser.ts";
import type { Seal } from "../keys/seal.ts";

/** Seconds for which somebody who has just shown a password is taken for who they are. */
export const FRESH = 300;

/** Longest clock difference between nodes, in seconds. */
const SKEW = 15;

/**
 * What a page carries from the password to the decision: that this browser showed the right password for one request,
 * and when. Sealed to that request, so that it opens no other and nobody can make one.
 *
 * @param at in seconds since the epoch.
 */
export function makeProof(seal: Seal, { of, at }: { of: string; at: number }): string {
  const content = JSON.stringify({ at, browser: currentBrowser()?.toString("hex") });
  return seal.encrypt(content, place(of)).toString("base64url");
}

/** When the password was shown; `undefined` where it was not, or in another browser, or for something else. */
export function readProof(seal: Seal, proof: string, of: string): number | undefined {
  const browser = currentBrowser()?.toString("hex");
  if (proof === "" || browser === undefined) return undefined;
  try {
    const opened = seal.decrypt(Buffer.from(proof, "base64url"), place(of)).toString();
    const content = JSON.parse(opened) as { at: number; browser?: string };
    const age = Date.now() / 1000 - content.at;
    return content.browser === browser && age >= -SKEW && age <= FRESH ? content.at : undefined;
  } catch {
    return undefined;
  }
}

function place(of: string) {
  return { table: "decoupled_authorizations", column: "proof", id: of };
}
