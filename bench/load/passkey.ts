import { createHash, createPrivateKey, sign, type KeyObject } from "node:crypto";
import { ISSUER, type Passkey } from "../world.ts";

const PRESENT_VERIFIED_SYNCED = 0b1_1101;
const RP_ID_HASH = createHash("sha256").update(new URL(ISSUER).hostname).digest();
const keys = new Map<string, KeyObject>();

/** What a browser answers when a page asks its authenticator (WebAuthn §7.2), as JSON. */
export function answerWith({ id, userHandle, privateKey }: Passkey, challenge: string): string {
  const clientData = Buffer.from(
    JSON.stringify({ type: "webauthn.get", challenge, origin: ISSUER, crossOrigin: false }),
  );
  const authenticatorData = Buffer.concat([
    RP_ID_HASH,
    Buffer.from([PRESENT_VERIFIED_SYNCED, 0, 0, 0, 0]),
  ]);
  const signed = Buffer.concat([
    authenticatorData,
    createHash("sha256").update(clientData).digest(),
  ]);
  return JSON.stringify({
    id,
    rawId: id,
    type: "public-key",
    authenticatorAttachment: "platform",
    response: {
      clientDataJSON: clientData.toString("base64url"),
      authenticatorData: authenticatorData.toString("base64url"),
      signature: sign("sha256", signed, keyOf(privateKey)).toString("base64url"),
      userHandle,
    },
    clientExtensionResults: {},
  });
}

function keyOf(text: string): KeyObject {
  let key = keys.get(text);
  if (key === undefined) {
    key = createPrivateKey({ key: Buffer.from(text, "base64"), format: "der", type: "pkcs8" });
    keys.set(text, key);
  }
  return key;
}
