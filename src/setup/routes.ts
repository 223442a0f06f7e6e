import { Router } from "@koa/router";
import type { Context } from "koa";
import type { Knex } from "knex";
import { z } from "zod";
import { record } from "../audit/record.ts";
import { normaliseEmail } from "../authn/normalise-email.ts";
import {
  checkNewPassword,
  MAX_PASSWORD_LENGTH,
  MIN_PASSWORD_LENGTH,
} from "../authn/password-policy.ts";
import type { Passwords } from "../authn/password.ts";
import type { Config } from "../config.ts";
import { AppError } from "../errors.ts";
import { readForm } from "../http/body.ts";
import type { Page } from "../http/page.ts";
import type { Mailer } from "../mail/mailer.ts";
import { createUser } from "../users/users.ts";
import type { FieldError } from "../views.ts";
import { checkSetupLink, spendSetupLink } from "./setup-link.ts";

/** What the setup pages use. */
export interface SetupNeeds {
  config: Pick<Config, "productName" | "issuer">;
  knex: Knex;
  passwords: Pick<Passwords, "hash">;
  mailer: Pick<Mailer, "administratorCreated">;
  page: Page;
}

const setupForm = z.strictObject({
  email: z.string().trim().max(320).default(""),
  display_name: z.string().trim().max(200).default(""),
  password: z.string().max(1024).default(""),
});
type SetupForm = z.output<typeof setupForm>;

const EMPTY: SetupForm = { email: "", display_name: "", password: "" };

/**
 * The page behind the one-time setup link. It makes the first administrator and works only while there is none
 * (T-138, T-139): no default account, no default password, and no page that waits for whoever comes first.
 */
export function setupRoutes(needs: SetupNeeds): Router {
  const { config, knex, page } = needs;
  const router = new Router();

  const show = (ctx: Context, form: SetupForm, errors: FieldError[], status = 200) =>
    page(
      ctx,
      "setup",
      {
        email: form.email,
        displayName: form.display_name,
        minLength: MIN_PASSWORD_LENGTH,
        errors,
      },
      status,
    );

  router.get("/setup/:token", async (ctx) => {
    await checkSetupLink(knex, tokenOf(ctx.params), new Date());
    await show(ctx, EMPTY, []);
  });

  router.post("/setup/:token", async (ctx) => {
    const form = await readForm(ctx, setupForm);
    const token = tokenOf(ctx.params);
    const now = new Date();
    // Before any work: hashing for whoever asks would be a gift to an attacker.
    await checkSetupLink(knex, token, now);
    const problems = [...emailProblems(form), ...passwordProblems(form, config)];
    if (problems.length > 0) return show(ctx, form, problems, 422);
    try {
      const email = await createAdministrator(needs, ctx, { token, form, now });
      await page(ctx, "setup-done", { email });
    } catch (error) {
      if (!(error instanceof AppError && error.code === "email_taken")) throw error;
      await show(ctx, form, [{ field: "email", message: "err.email.taken" }], 422);
    }
  });

  return router;
}

async function createAdministrator(
  { knex, passwords, mailer }: SetupNeeds,
  ctx: Context,
  { token, form, now }: { token: string; form: SetupForm; now: Date },
): Promise<string> {
  const passwordHash = await passwords.hash(form.password);
  return knex.transaction(async (trx) => {
    await spendSetupLink(trx, token, now);
    const user = await createUser(
      trx,
      {
        email: form.email,
        verified: true,
        displayName: form.display_name,
        passwordHash,
        via: "setup",
        systemRoles: ["superadmin"],
      },
      now,
    );
    await record(trx, {
      type: "setup.completed",
      actor: { type: "user", id: user.id },
      userId: user.id,
      requestId: ctx.state["correlationId"],
      ipPrefix: ctx.state["ipPrefix"],
    });
    await mailer.administratorCreated(trx, { userId: user.id, now });
    return user.primaryEmail?.email ?? form.email;
  });
}

function emailProblems({ email }: SetupForm): FieldError[] {
  try {
    normaliseEmail(email);
    return [];
  } catch (error) {
    if (!(error instanceof AppError)) throw error;
    return [{ field: "email", message: "err.email.invalid" }];
  }
}

function passwordProblems(
  form: SetupForm,
  { productName, issuer }: SetupNeeds["config"],
): FieldError[] {
  const names = form.display_name.split(/\s+/);
  const context = { productName, issuer, email: form.email, names };
  const problems = checkNewPassword(form.password, context);
  return problems.slice(0, 1).map((message) => ({
    field: "password",
    message,
    values: { min: MIN_PASSWORD_LENGTH, max: MAX_PASSWORD_LENGTH },
  }));
}

function tokenOf(params: Readonly<Record<string, string | undefined>>): string {
  return params["token"] ?? "";
}
