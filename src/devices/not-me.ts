import type { Seal } from "../keys/seal.ts";

/** Milliseconds for which somebody can say that a sign-in was not theirs. */
const LIFETIME = 30 * 24 * 60 * 60 * 1000;

/** A sign-in that a person was told of. */
export interface Reported {
  readonly userId: string;
  readonly deviceId: string;
}

/** What the link in a mail about a new browser carries: whose it is, sealed, so that nobody can make one. */
export function makeReport(seal: Seal, { userId, deviceId }: Reported, now: Date): string {
  const content = JSON.stringify({ userId, at: now.getTime() });
  return `${deviceId}.${seal.encrypt(content, place(deviceId)).toString("base64url")}`;
}

/** What a link is about; `undefined` where it was not made by us, or is too old. */
export function readReport(seal: Seal, token: string, now: Date): Reported | undefined {
  const [deviceId = "", sealed = ""] = token.split(".");
  try {
    const opened = seal.decrypt(Buffer.from(sealed, "base64url"), place(deviceId)).toString();
    const { userId, at } = JSON.parse(opened) as { userId: string; at: number };
    return now.getTime() - at <= LIFETIME ? { userId, deviceId } : undefined;
  } catch {
    return undefined;
  }
}

function place(deviceId: string) {
  return { table: "user_devices", column: "report", id: deviceId };
}
