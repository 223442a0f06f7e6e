import type { Router } from "@koa/router";
import type { Context } from "koa";
import type { Knex } from "knex";
import { z } from "zod";
import { reader, writer } from "../database/transaction.ts";
import { shownAgent } from "../devices/agents.ts";
import {
  endAllSessions,
  endSessions,
  forgetDevice,
  listSessions,
  type LiveSession,
} from "../devices/sessions.ts";
import { readForm } from "../http/body.ts";
import { originOf } from "../http/origin.ts";
import type { Page } from "../http/page.ts";
import type { Session } from "../models/session.ts";
import type { Views } from "../views.ts";
import { visitor, type AccountGuard } from "./guard.ts";

export interface SessionsNeeds {
  readonly knex: Knex;
  readonly page: Page;
  readonly guard: AccountGuard;
}

type Browser = Views["sessions"]["browsers"][number];

const form = z.strictObject({
  end: z.string().max(64).optional(),
  forget: z.uuid().optional(),
  others: z.literal("1").optional(),
});

/** Where a person is signed in, by browser; they end one sign-in, all others, or forget a browser. */
export function sessionsRoutes(router: Router, { knex, page, guard }: SessionsNeeds): void {
  router.get("/sessions", guard.signedIn, async (ctx: Context) => {
    const { user, session } = visitor(ctx);
    const live = await listSessions(reader(knex), user.id, new Date());
    await page(ctx, "sessions", { browsers: byBrowser(live, session) });
  });

  router.post("/sessions", guard.confirmed, async (ctx: Context) => {
    const { end, forget, others } = await readForm(ctx, form);
    const { user, session } = visitor(ctx);
    const now = new Date();
    const db = await writer(knex);
    const ending = {
      ...originOf(ctx),
      actor: { type: "user", id: user.id },
      userId: user.id,
      reason: "user_revoked",
    } as const;
    if (forget !== undefined) await forgetDevice(db, forget, ending, now);
    if (end !== undefined) await endSessions(db, [end], ending, now);
    if (others !== undefined) {
      await endAllSessions(db, ending, now, session.uid);
    }
    ctx.status = 303;
    ctx.redirect(ctx.path);
  });
}

/** Groups sign-ins by browser, this one first; those of no known browser stand alone. */
function byBrowser(live: readonly LiveSession[], here: Session): Browser[] {
  const groups = Map.groupBy(live, ({ session, device }) => device?.id ?? session.uid);
  const browsers = [...groups.values()].map((group) => {
    const { device } = group[0] ?? {};
    const sessions = group.map(({ session, apps }) => ({
      id: session.uid,
      isHere: session.uid === here.uid,
      country: session.country ?? "",
      method: session.loginMethod ?? "",
      signedInAt: session.loggedInAt?.getTime() ?? 0,
      activeAt: session.lastActiveAt.getTime(),
      apps,
    }));
    return {
      id: device?.id ?? "",
      agent: shownAgent({
        browser: device?.browserFamily ?? undefined,
        os: device?.osFamily ?? undefined,
      }),
      isHere: sessions.some(({ isHere }) => isHere),
      sessions,
    };
  });
  return browsers.toSorted((a, b) => Number(b.isHere) - Number(a.isHere));
}
