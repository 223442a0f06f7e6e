import { Router } from "@koa/router";
import type { Context } from "koa";
import type { Knex } from "knex";
import { z } from "zod";
import { stopPassword } from "../authn/throttle.ts";
import { reader, runInUnitOfWork, writer } from "../database/transaction.ts";
import { shownAgent } from "../devices/agents.ts";
import { readReport, type Reported } from "../devices/not-me.ts";
import { endAllSessions, forgetDevice } from "../devices/sessions.ts";
import { unlinkSince } from "../federation/unlink.ts";
import { readForm } from "../http/body.ts";
import { speakTo } from "../http/locale.ts";
import { originOf } from "../http/origin.ts";
import type { Page } from "../http/page.ts";
import type { Seal } from "../keys/seal.ts";
import { UserDevice } from "../models/user-device.ts";
import { User } from "../models/user.ts";
import { findUserWithClaims } from "../users/claims.ts";

export interface NotMeNeeds {
  readonly knex: Knex;
  readonly seal: Seal;
  readonly page: Page;
}

/** Milliseconds that a sign-in may take: what is connected on the way in is there before the browser is. */
const ON_THE_WAY = 60 * 60 * 1000;

const form = z.strictObject({ token: z.string().max(500), everywhere: z.literal("1").optional() });

/**
 * Where the mail about a new browser leads: a page that does nothing, because mail scanners open links too (T-66), and
 * a button that ends what that browser has open, disconnects what was connected since it came, and stops the password,
 * until its owner sets a new one. The mail is the proof: whoever reads it need not be signed in.
 */
export function notMeRoutes({ knex, seal, page }: NotMeNeeds): Router {
  const router = new Router({ prefix: "/not-me" });
  router.use((ctx, next) => runInUnitOfWork(knex, next, () => ctx.status < 500));

  /** What a link is about; from here on the person is spoken to in their language, as in the mail. */
  const reportOf = async (ctx: Context, token: string): Promise<Reported | undefined> => {
    const reported = readReport(seal, token, new Date());
    const user = reported && (await findUserWithClaims(reader(knex), reported.userId));
    if (user !== undefined) speakTo(ctx, user);
    return reported;
  };

  router.get("/", async (ctx: Context) => {
    const token = typeof ctx.query["t"] === "string" ? ctx.query["t"].slice(0, 500) : "";
    const reported = await reportOf(ctx, token);
    const device =
      reported && (await UserDevice.query(reader(knex)).findOne({ id: reported.deviceId }));
    if (device?.userId !== reported?.userId || device === undefined)
      return page(ctx, "not-me-done", { outcome: "over" }, 410);
    const agent = { browser: device.browserFamily ?? undefined, os: device.osFamily ?? undefined };
    return page(ctx, "not-me", {
      token,
      agent: shownAgent(agent),
      at: device.firstSeenAt.getTime(),
      country: device.lastCountry ?? "",
    });
  });

  router.post("/", async (ctx: Context) => {
    const { token, everywhere } = await readForm(ctx, form);
    const now = new Date();
    const reported = await reportOf(ctx, token);
    if (reported === undefined) return page(ctx, "not-me-done", { outcome: "over" }, 410);
    const { userId, deviceId } = reported;
    const db = await writer(knex);
    const actor = { type: "user", id: userId } as const;
    const ending = { ...originOf(ctx), actor, userId, reason: "disavowed" } as const;
    // The person first, as in everything that ends what they have open.
    await User.query(db).findById(userId).forUpdate();
    const device = await UserDevice.query(db).findOne({ id: deviceId, userId });
    const isForgotten = await forgetDevice(db, deviceId, ending, now);
    if (device === undefined || !isForgotten)
      return page(ctx, "not-me-done", { outcome: "over" }, 410);
    await unlinkSince(db, new Date(device.firstSeenAt.getTime() - ON_THE_WAY), ending, now);
    if (everywhere !== undefined) await endAllSessions(db, ending, now);
    await User.query(db).findById(userId).patch({ credentialsChangedAt: now });
    await stopPassword(db, seal, userId, now);
    return page(ctx, "not-me-done", { outcome: "ended" });
  });

  return router;
}
