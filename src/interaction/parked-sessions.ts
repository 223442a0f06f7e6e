import type { Context } from "koa";
import type { Knex } from "knex";
import type { KoaContextWithOIDC, Provider } from "oidc-provider";
import { reader, writer } from "../database/transaction.ts";
import { endSessions } from "../devices/sessions.ts";
import { originOf } from "../http/origin.ts";
import { issuerFor } from "../http/host.ts";
import { sha256 } from "../lib/secret.ts";
import { Session, type SessionAuthorizations } from "../models/session.ts";
import type { User } from "../models/user.ts";
import { findUserWithClaims, nameOf } from "../users/claims.ts";

/** Most people who are signed in on one browser beside the one whose session is in use. */
const SLOTS = [1, 2, 3, 4] as const;

/** Somebody who is signed in on this browser while somebody else's session is in use. */
export interface Parked {
  readonly slot: number;
  readonly cookie: string;
  readonly session: Session;
  readonly user: User;
}

type Names = Pick<Provider, "cookieName">;

/**
 * Who else is signed in on this browser. Each has a session of their own, whose cookie waits under another name; it is
 * as good, and lasts as long, as under its first.
 */
export async function parkedSessions(knex: Knex, names: Names, ctx: Context): Promise<Parked[]> {
  const found: Parked[] = [];
  for (const slot of SLOTS) {
    const cookie = ctx.cookies.get(slotName(names, slot), { signed: true });
    if (cookie === undefined) continue;
    const session = await Session.findByCookie(reader(knex), sha256(cookie), new Date());
    const user = await userOf(knex, session);
    if (session !== undefined && user !== undefined) found.push({ slot, cookie, session, user });
  }
  return found;
}

/** Puts the session in use aside, so that somebody else can sign in without ending it. */
export async function parkSession(
  knex: Knex,
  names: Names,
  ctx: Context,
  parked: readonly Parked[],
): Promise<void> {
  const cookie = ctx.cookies.get(names.cookieName("session"), { signed: true });
  if (cookie === undefined) return;
  const session = await Session.findByCookie(reader(knex), sha256(cookie), new Date());
  if (session === undefined) return;
  const taken = new Map(parked.map((one) => [one.slot, one]));
  const own = parked.find(({ user }) => user.id === session.userId)?.slot;
  const slot = own ?? SLOTS.find((number) => !taken.has(number)) ?? SLOTS[0];
  const before = taken.get(slot);
  if (before !== undefined) {
    const { user, session: ended } = before;
    const actor = { type: "user", id: user.id } as const;
    const ending = { ...originOf(ctx), actor, userId: user.id, reason: "superseded" } as const;
    await endSessions(await writer(knex), [ended.uid], ending, new Date());
  }
  setCookie(ctx, slotName(names, slot), cookie, session);
  ctx.cookies.set(names.cookieName("session"), null, attributes(ctx));
}

/** Takes a session into use, and puts the one that was in use in its place. */
export async function unparkSession(
  knex: Knex,
  names: Names,
  ctx: Context,
  { slot, cookie, session }: Parked,
): Promise<void> {
  const current = ctx.cookies.get(names.cookieName("session"), { signed: true });
  const replaced =
    current === undefined
      ? undefined
      : await Session.findByCookie(reader(knex), sha256(current), new Date());
  if (current === undefined || replaced?.userId == null)
    ctx.cookies.set(slotName(names, slot), null, attributes(ctx));
  else setCookie(ctx, slotName(names, slot), current, replaced);
  setCookie(ctx, names.cookieName("session"), cookie, session);
}

/** Who is signed in beside whoever signs out, and how that ends too. */
export function signedInBeside(knex: Knex) {
  return {
    async names(ctx: KoaContextWithOIDC): Promise<string[]> {
      const { provider, session } = ctx.oidc;
      const parked = await parkedSessions(knex, provider, ctx);
      return parked
        .filter(({ user }) => user.id !== session?.accountId)
        .map(({ user }) => nameOf(user));
    },

    async signOut(ctx: KoaContextWithOIDC, actorId: string): Promise<SessionAuthorizations[]> {
      const { provider } = ctx.oidc;
      const parked = await parkedSessions(knex, provider, ctx);
      const db = await writer(knex);
      const about = { ...originOf(ctx), actor: { type: "user", id: actorId } } as const;
      for (const { slot, session, user } of parked) {
        const ending = { ...about, userId: user.id, reason: "logout" } as const;
        await endSessions(db, [session.uid], ending, new Date());
        ctx.cookies.set(slotName(provider, slot), null, attributes(ctx));
      }
      return parked.map(({ session }) => session.authorizations ?? {});
    },
  };
}

/** Whose session it is, if it is one that may still be used (T-30). */
async function userOf(knex: Knex, session: Session | undefined): Promise<User | undefined> {
  if (session?.userId == null || session.loggedInAt === null) return undefined;
  if (session.expiresAt <= new Date()) return undefined;
  const user = await findUserWithClaims(reader(knex), session.userId);
  if (user?.isActive !== true) return undefined;
  const endedBefore = user.sessionsValidAfter?.getTime() ?? 0;
  return session.loggedInAt.getTime() + 1000 > endedBefore ? user : undefined;
}

function slotName(names: Names, slot: number): string {
  return `${names.cookieName("session")}.${slot}`;
}

function setCookie(ctx: Context, name: string, value: string, session: Session): void {
  const expires = session.transient ? {} : { expires: session.expiresAt };
  ctx.cookies.set(name, value, { ...attributes(ctx), ...expires });
}

function attributes(ctx: Context) {
  const secure = issuerFor(ctx)?.url.startsWith("https:") === true;
  return { httpOnly: true, sameSite: "lax", signed: true, secure } as const;
}
