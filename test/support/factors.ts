import { createHashQueue } from "../../src/authn/hash-queue.ts";
import { codeOf, PERIOD } from "../../src/authn/one-time-password.ts";
import { createPasswords } from "../../src/authn/password.ts";
import { makeRecoveryCodes, saveRecoveryCodes } from "../../src/authn/recovery-codes.ts";
import { confirmTotp, pendingTotp } from "../../src/authn/totp.ts";
import { sha256 } from "../../src/lib/secret.ts";
import { MfaFactor } from "../../src/models/mfa-factor.ts";
import { OutboxMessage } from "../../src/models/outbox-message.ts";
import type { TestServer } from "./server.ts";

/** An authenticator app in somebody's hand. */
export interface App {
  readonly id: string;
  readonly seed: Buffer;
  /** The code it shows now, made good again if it was spent: nobody wants to wait for the next. */
  code(): Promise<string>;
  /** A code that it does not show. */
  wrong(): string;
}

/** Sets an app up for a user, as if it were a while ago. */
export async function anApp(
  { database, deps }: Pick<TestServer, "database" | "deps">,
  userId: string,
): Promise<App> {
  const db = database.knex;
  const now = new Date(Date.now() - 600_000);
  const bindingHash = sha256(`${userId} ${Math.random()}`);
  const pending = await pendingTotp(db, deps.seal, { userId, bindingHash, now });
  if (pending === undefined) throw new Error("there are too many apps");
  const { id, seed } = pending;
  const isConfirmed = await confirmTotp(db, pending, {
    code: codeAt(seed, now),
    name: "Phone",
    now,
  });
  if (!isConfirmed) throw new Error("the app was not set up");
  return {
    id,
    seed,
    async code() {
      await MfaFactor.query(db).patch({ lastUsedStep: null }).findById(id);
      return codeAt(seed, new Date());
    },
    wrong: () => wrongCode(seed),
  };
}

/** What an app with this seed shows at a moment. */
export function codeAt(seed: Buffer, at: Date): string {
  return codeOf(seed, Math.floor(at.getTime() / 1000 / PERIOD));
}

function wrongCode(seed: Buffer): string {
  const near = [-30, 0, 30].map((seconds) => codeAt(seed, new Date(Date.now() + seconds * 1000)));
  return ["000000", "000001", "000002", "000003"].find((code) => !near.includes(code)) ?? "";
}

let made: ReturnType<typeof makeRecoveryCodes> | undefined;

/** Ten recovery codes of a user; in a run all users have the same, which are costly to make. */
export async function someRecoveryCodes(
  { database }: Pick<TestServer, "database">,
  userId: string,
): Promise<readonly string[]> {
  made ??= makeRecoveryCodes(createPasswords(createHashQueue()));
  await saveRecoveryCodes(database.knex, userId, await made, new Date());
  return (await made).codes;
}

/** The mails that a user was sent, the oldest first, with what they say. */
export async function mailsTo(
  { database, deps }: Pick<TestServer, "database" | "deps">,
  userId: string,
): Promise<{ template: string; props: Record<string, unknown> }[]> {
  const rows = await OutboxMessage.query(database.knex).where({ userId }).orderBy("id");
  return rows.map(({ id, template, payloadEnc }) => {
    const place = { table: OutboxMessage.tableName, column: "payload_enc", id };
    return { template, props: JSON.parse(deps.seal.decrypt(payloadEnc, place).toString()) };
  });
}

/** The code of the newest mail that brought one. */
export async function mailedCode(
  server: Pick<TestServer, "database" | "deps">,
  userId: string,
  wanted: "sign_in_code" | "reset_password" = "sign_in_code",
): Promise<string> {
  const mails = await mailsTo(server, userId);
  return String(mails.findLast(({ template }) => template === wanted)?.props["code"]);
}

/** The seed that a page of enrolment shows, as the app reads it. */
export function seedOn(html: string): Buffer {
  const key = /id="totp-key">([A-Z2-7 ]+)</.exec(html)?.[1]?.replaceAll(" ", "") ?? "";
  const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
  const bits = [...key].map((each) => alphabet.indexOf(each).toString(2).padStart(5, "0")).join("");
  const bytes = bits.match(/.{8}/g) ?? [];
  return Buffer.from(bytes.map((byte) => Number.parseInt(byte, 2)));
}
