import type { TransactionOrKnex } from "objection";
import { newSecret, sha256 } from "../lib/secret.ts";
import { TrustedBrowser } from "../models/trusted-browser.ts";

/** Days for which a browser is not asked for the second step. */
export const TRUST_DAYS = 30;

const DAY = 24 * 60 * 60 * 1000;

/** The browsers that one person trusts at once; one more, and the one not used for longest is forgotten. */
const MOST_BROWSERS = 20;

/** What a browser shows: its cookie, and what it calls itself. */
interface Shown {
  readonly userId: string;
  readonly token: string | undefined;
  readonly userAgent: string;
  readonly now: Date;
}

/**
 * Whether a person said on this browser not to be asked again, within thirty days. It spares the second step of a
 * plain sign-in and is no factor: nothing that demands a level asks here (T-86).
 */
export async function isTrusted(
  db: TransactionOrKnex,
  { userId, token, userAgent, now }: Shown,
): Promise<boolean> {
  if (token === undefined) return false;
  const found = await TrustedBrowser.query(db)
    .findOne({ userId, tokenHash: sha256(token), agentHash: agentHash(userAgent) })
    .where("expiresAt", ">", now);
  return found !== undefined;
}

/** Notes that a trusted browser spared somebody the second step. */
export async function noteTrustUsed(
  db: TransactionOrKnex,
  { userId, token = "", now }: Omit<Shown, "userAgent">,
): Promise<void> {
  await TrustedBrowser.query(db)
    .patch({ lastUsedAt: now })
    .where({ userId, tokenHash: sha256(token) });
}

/** Trusts a browser from now on, in place of what it was trusted by before. @returns the value of its cookie. */
export async function trustBrowser(
  db: TransactionOrKnex,
  { userId, token: former, userAgent, name, now }: Shown & { readonly name: string },
): Promise<string> {
  if (former !== undefined)
    await TrustedBrowser.query(db)
      .delete()
      .where({ userId, tokenHash: sha256(former) });
  const token = newSecret("tb");
  await TrustedBrowser.query(db).insert({
    userId,
    tokenHash: sha256(token),
    agentHash: agentHash(userAgent),
    name,
    createdAt: now,
    lastUsedAt: now,
    expiresAt: new Date(now.getTime() + TRUST_DAYS * DAY),
  });
  const surplus = TrustedBrowser.query(db)
    .select("id")
    .where({ userId })
    .orderBy("lastUsedAt", "desc")
    .offset(MOST_BROWSERS);
  await TrustedBrowser.query(db).delete().whereIn("id", surplus);
  return token;
}

/** The browsers that a person trusts, the latest first. */
export async function listTrustedBrowsers(
  db: TransactionOrKnex,
  userId: string,
  now: Date,
): Promise<TrustedBrowser[]> {
  return TrustedBrowser.query(db)
    .where({ userId })
    .where("expiresAt", ">", now)
    .orderBy([{ column: "lastUsedAt", order: "desc" }, "id"]);
}

/** Forgets one browser of a person, or all of them. @returns how many there were. */
export async function forgetTrustedBrowsers(
  db: TransactionOrKnex,
  { userId, id }: { userId: string; id?: string },
): Promise<number> {
  return TrustedBrowser.query(db)
    .delete()
    .where(id === undefined ? { userId } : { userId, id });
}

/** What a browser calls itself, without versions: an update is no other browser, another browser is. */
function agentHash(userAgent: string): Buffer {
  return sha256(userAgent.replaceAll(/[\d._]+/g, ""));
}
