import type { Router } from "@koa/router";
import type { Context } from "koa";
import { z } from "zod";
import { factorsOf } from "../authn/factors.ts";
import { readCode } from "../authn/one-time-password.ts";
import { listTotp } from "../authn/totp.ts";
import { reader } from "../database/transaction.ts";
import { errors } from "../errors.ts";
import { readForm } from "../http/body.ts";
import { originOf } from "../http/origin.ts";
import { sha256 } from "../lib/secret.ts";
import type { Issuer } from "../issuers.ts";
import { policyFor } from "../users/requirements.ts";
import { addApp, offerApp, removeFactor, type SecondFactorNeeds } from "../users/second-factors.ts";
import type { Page } from "../http/page.ts";
import type { FieldError } from "../views.ts";
import { visitor, type AccountGuard } from "./guard.ts";

export interface AccountFactorNeeds extends SecondFactorNeeds {
  readonly page: Page;
  readonly guard: AccountGuard;
  readonly issuer: Pick<Issuer, "path" | "secondFactor">;
  readonly productName: string;
}

const appForm = z.strictObject({
  otp: z.string().max(100).default(""),
  label: z.string().trim().max(100).default(""),
});

/** What a person has for the second step: authenticator apps, and the mailbox where that is one. */
export function accountFactorRoutes(router: Router, needs: AccountFactorNeeds): void {
  const { knex, guard, page, issuer, productName } = needs;
  const here = `${issuer.path}/account/authenticators`;

  const list = async (ctx: Context, problems: readonly FieldError[] = [], status = 200) => {
    const { user } = visitor(ctx);
    const apps = (await listTotp(reader(knex), user.id)).map((app) => ({
      id: app.id,
      name: app.name,
      addedAt: app.createdAt.getTime(),
      usedAt: (app.lastUsedAt ?? app.createdAt).getTime(),
      isOff: app.disabledAt !== null,
    }));
    const hasMailbox = (await factorsOf(reader(knex), user.id)).includes("email");
    const view = { apps, hasMailbox, here, errors: problems };
    await page(ctx, "account-authenticators", view, status);
  };

  const offer = async (ctx: Context) => {
    const { user, session } = visitor(ctx);
    const account = user.primaryEmail?.email ?? user.username ?? "";
    const bindingHash = sha256(`session ${session.uid}`);
    const offered = await offerApp(needs, { userId: user.id, bindingHash, account, productName });
    if (offered === undefined) throw errors.tooManyApps();
    return { ...offered, account };
  };

  const showNew = async (ctx: Context, problems: readonly FieldError[] = [], status = 200) => {
    const { qr, key, uri, account } = await offer(ctx);
    const view = { qr, key, uri, account, backHref: here, errors: problems };
    await page(ctx, "account-authenticator-new", view, status);
  };

  router.get("/authenticators", guard.signedIn, (ctx: Context) => list(ctx));
  router.get("/authenticators/new", guard.confirmed, (ctx: Context) => showNew(ctx));

  router.post("/authenticators/new", guard.confirmed, async (ctx: Context) => {
    const { otp, label } = await readForm(ctx, appForm);
    const code = readCode(otp);
    if (code === undefined) return showNew(ctx, [{ field: "otp", message: "err.code.form" }], 422);
    const { pending } = await offer(ctx);
    const codes = await addApp(needs, ownerOf(ctx), { pending, code, name: label });
    if (codes === undefined)
      return showNew(ctx, [{ field: "otp", message: "err.code.wrong" }], 401);
    if (codes.length > 0) return page(ctx, "account-codes-new", { codes, backHref: here });
    return go(ctx, here);
  });

  router.post("/authenticators/:id/remove", guard.confirmed, async (ctx: Context) => {
    const id = String(ctx["params"].id);
    const policy = policyFor(issuer.secondFactor, visitor(ctx).user);
    const outcome = await removeFactor(needs, ownerOf(ctx), { id, policy });
    if (outcome === "unknown") throw errors.notFound();
    if (outcome === "kept")
      return list(ctx, [{ field: "add-authenticator", message: "err.factor.last" }], 409);
    return go(ctx, here);
  });
}

/** Whose things are changed, and what is known of the request. */
export function ownerOf(ctx: Context) {
  return { userId: visitor(ctx).user.id, origin: originOf(ctx) };
}

export function go(ctx: Context, location: string): void {
  ctx.status = 303;
  ctx.redirect(location);
}
