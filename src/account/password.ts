import type { Router } from "@koa/router";
import type { Context } from "koa";
import type { Knex } from "knex";
import { z } from "zod";
import { MAX_PASSWORD_LENGTH, MIN_PASSWORD_LENGTH } from "../authn/password-policy.ts";
import type { Passwords } from "../authn/password.ts";
import { clearThrottle } from "../authn/throttle.ts";
import type { Config } from "../config.ts";
import { reader, writer } from "../database/transaction.ts";
import { readForm } from "../http/body.ts";
import { issuerFor } from "../http/host.ts";
import { originOf } from "../http/origin.ts";
import type { Page } from "../http/page.ts";
import type { Seal } from "../keys/seal.ts";
import type { Mailer } from "../mail/mailer.ts";
import { UserPassword } from "../models/user-password.ts";
import { passwordProblemOf } from "../recovery/reset-password.ts";
import { setPassword } from "../users/passwords.ts";
import type { FieldError } from "../views.ts";
import { visitor, type AccountGuard } from "./guard.ts";

export interface PasswordNeeds {
  readonly config: Pick<Config, "productName">;
  readonly knex: Knex;
  readonly seal: Seal;
  readonly passwords: Passwords;
  readonly mailer: Mailer;
  readonly page: Page;
  readonly guard: AccountGuard;
}

const passwordForm = z.strictObject({
  username: z.string().max(320).optional(),
  password: z.string().max(1024).default(""),
  sign_out_others: z.literal("1").optional(),
});

/** Changing the password, or adding the first one, for somebody who has just shown who they are. */
export function passwordRoutes(router: Router, needs: PasswordNeeds): void {
  const { config, knex, seal, passwords, mailer, guard } = needs;
  router.get("/password", guard.confirmed, (ctx: Context) => show(needs, ctx));

  router.post("/password", guard.confirmed, async (ctx: Context) => {
    const form = await readForm(ctx, passwordForm);
    const { user, session } = visitor(ctx);
    const service = { productName: config.productName, issuer: issuerFor(ctx)?.url };
    const message = passwordProblemOf(form.password, service, user);
    if (message !== undefined) {
      const values = { min: MIN_PASSWORD_LENGTH, max: MAX_PASSWORD_LENGTH };
      return show(needs, ctx, [{ field: "password", message, values }], 422);
    }
    const before = await UserPassword.query(reader(knex)).findById(user.id);
    const hash = await passwords.hash(form.password);
    const now = new Date();
    const db = await writer(knex);
    await setPassword(
      db,
      {
        userId: user.id,
        hash,
        via: before === undefined ? "added" : "change",
        signOutOthers: form.sign_out_others !== undefined,
        keepSession: session.uid,
        origin: { ...originOf(ctx), sessionUid: session.uid },
      },
      now,
    );
    await clearThrottle(db, seal, user.id);
    await mailer.passwordChanged(db, { userId: user.id, now });
    ctx.status = 303;
    ctx.redirect(`${issuerFor(ctx)?.path ?? ""}/account/password?done=1`);
    return undefined;
  });
}

async function show(
  { knex, page }: PasswordNeeds,
  ctx: Context,
  errors: FieldError[] = [],
  status = 200,
): Promise<void> {
  const { user } = visitor(ctx);
  const password = await UserPassword.query(reader(knex)).findById(user.id);
  await page(
    ctx,
    "account-password",
    {
      username: user.primaryEmail?.email ?? user.username ?? "",
      hasPassword: password !== undefined,
      minLength: MIN_PASSWORD_LENGTH,
      isDone: ctx.query["done"] !== undefined,
      errors,
    },
    status,
  );
}
