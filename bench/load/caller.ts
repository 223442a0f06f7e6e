import { createPrivateKey, randomUUID, type KeyObject } from "node:crypto";
import { SignJWT } from "jose";
import { ISSUER, SECRET, type Caller } from "../world.ts";

const ASSERTION = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
const keys = new Map<string, KeyObject>();

/** What an application adds to a request so that it is known: RFC 6749 §2.3.1, or RFC 7523 §2.2 with its key. */
export async function proofOf({ id, privateKey }: Caller): Promise<{
  headers: Record<string, string>;
  fields: Record<string, string>;
}> {
  if (privateKey === undefined) {
    const authorization = `Basic ${Buffer.from(`${id}:${SECRET}`).toString("base64")}`;
    return { headers: { authorization }, fields: {} };
  }
  const assertion = await new SignJWT({})
    .setProtectedHeader({ alg: "ES256" })
    .setIssuer(id)
    .setSubject(id)
    .setAudience(ISSUER)
    .setJti(randomUUID())
    .setIssuedAt()
    .setExpirationTime("1m")
    .sign(keyOf(privateKey));
  return { headers: {}, fields: { client_assertion_type: ASSERTION, client_assertion: assertion } };
}

function keyOf(text: string): KeyObject {
  let key = keys.get(text);
  if (key === undefined) {
    key = createPrivateKey({ key: Buffer.from(text, "base64"), format: "der", type: "pkcs8" });
    keys.set(text, key);
  }
  return key;
}
