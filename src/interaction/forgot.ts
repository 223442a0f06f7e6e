import type { Router } from "@koa/router";
import type { Context } from "koa";
import { z } from "zod";
import { MAX_PASSWORD_LENGTH, MIN_PASSWORD_LENGTH } from "../authn/password-policy.ts";
import type { Passwords } from "../authn/password.ts";
import type { Config } from "../config.ts";
import { clientView } from "../consents/client-view.ts";
import { reader } from "../database/transaction.ts";
import { readForm } from "../http/body.ts";
import { originOf } from "../http/origin.ts";
import type { Page } from "../http/page.ts";
import type { Mailer } from "../mail/mailer.ts";
import { OneTimeToken } from "../models/one-time-token.ts";
import { resetPassword } from "../recovery/reset-password.ts";
import type { FieldError } from "../views.ts";
import { refusal, refuseCode, sendLetter, waitFor, type LetterNeeds } from "./letter.ts";
import { withoutSignIn } from "./flow.ts";
import { identifierOf } from "./password.ts";
import type { StepTools } from "./routes.ts";
import type { Visit } from "./visit.ts";

export interface ForgotNeeds extends LetterNeeds {
  config: Pick<Config, "locales" | "productName">;
  passwords: Passwords;
  mailer: Mailer;
  page: Page;
}

const forgotForm = z.strictObject({ username: z.string().trim().max(320).default("") });
const codeForm = z.strictObject({ otp: z.string().max(40).default("") });
const passwordForm = z.strictObject({
  username: z.string().max(320).optional(),
  password: z.string().max(1024).default(""),
  sign_out_others: z.literal("1").optional(),
});

/**
 * For who cannot sign in: a mail with a link and a code, a new password, and back into the sign-in that was
 * interrupted, where everything else that this person must show is still asked for. What is answered is the same
 * whoever is named, and whether they exist (T-62).
 */
export function forgotRoutes(router: Router, tools: StepTools, needs: ForgotNeeds): void {
  const at = tools.at("identifier", "password", "register");

  router.get("/forgot", at, (ctx: Context) => {
    const visit = tools.visit(ctx);
    return showForgot(needs, ctx, visit, identifierOf(visit));
  });

  router.post("/forgot", at, async (ctx: Context) => {
    const { username } = await readForm(ctx, forgotForm);
    const visit = tools.visit(ctx);
    if (username === "") {
      const empty = refusal({ field: "username", message: "err.identifier.empty" }, 422);
      return showForgot(needs, ctx, visit, username, empty);
    }
    const wanted = { purpose: "reset_password", to: username } as const;
    const sent = await sendLetter(needs, ctx, visit, wanted, "username");
    if ("errors" in sent) return showForgot(needs, ctx, visit, username, sent);
    const recovery = { letter: sent.letter, identifier: username };
    return tools.keep(ctx, { ...visit.progress, recovery }, "forgot/code");
  });

  router.get("/forgot/code", at, (ctx: Context) => showSent(needs, ctx, tools.visit(ctx)));

  router.post("/forgot/code", at, async (ctx: Context) => {
    const { otp } = await readForm(ctx, codeForm);
    const visit = tools.visit(ctx);
    const { recovery } = visit.progress;
    if (recovery === undefined) return tools.keep(ctx, visit.progress, "forgot");
    const refused = await refuseCode(needs, ctx, recovery.letter, otp);
    if (refused !== undefined) return showSent(needs, ctx, visit, refused);
    const proven = { ...recovery, isProven: true } as const;
    return tools.keep(ctx, { ...visit.progress, recovery: proven }, "forgot/password");
  });

  router.post("/forgot/send", at, async (ctx: Context) => {
    const visit = tools.visit(ctx);
    const { recovery } = visit.progress;
    if (recovery === undefined) return tools.keep(ctx, visit.progress, "forgot");
    const wanted = { purpose: "reset_password", to: recovery.identifier } as const;
    const sent = await sendLetter(needs, ctx, visit, wanted, "resend");
    if ("errors" in sent) return showSent(needs, ctx, visit, sent);
    if (sent.wait !== undefined) return showSent(needs, ctx, visit, waitFor(sent.wait));
    const again = { identifier: recovery.identifier, letter: sent.letter };
    return tools.keep(ctx, { ...visit.progress, recovery: again }, "forgot/code");
  });

  router.get("/forgot/password", at, (ctx: Context) => showPassword(needs, ctx, tools.visit(ctx)));

  router.post("/forgot/password", at, async (ctx: Context) => {
    const form = await readForm(ctx, passwordForm);
    const visit = tools.visit(ctx);
    const { recovery } = visit.progress;
    const letter =
      recovery?.isProven === true
        ? await OneTimeToken.query(reader(needs.knex)).findById(recovery.letter)
        : undefined;
    if (recovery === undefined || letter === undefined)
      return tools.keep(ctx, visit.progress, "forgot");
    const chosen = {
      password: form.password,
      signOutOthers: form.sign_out_others !== undefined,
    };
    const { config, ...rest } = needs;
    const service = { productName: config.productName, issuer: visit.issuer?.url };
    const reset = await resetPassword({ ...rest, service }, letter, chosen, originOf(ctx));
    if ("problem" in reset)
      return showPassword(needs, ctx, visit, refusal(problemWith(reset.problem), 422));
    if ("refused" in reset) {
      const message = reset.refused === "over" ? "err.email_code.expired" : "err.account.disabled";
      const refused = refusal({ field: "username", message }, reset.refused === "over" ? 410 : 403);
      return showForgot(needs, ctx, visit, recovery.identifier, refused);
    }
    // What was ended just now ended everything up to this moment; what is shown now comes after it.
    const shownAt = (Date.now() + 1) / 1000;
    // Nothing that somebody else has shown or put off here is theirs.
    return tools.proceed(ctx, {
      ...withoutSignIn(visit.progress),
      identifier: recovery.identifier,
      userId: reset.user.id,
      shown: [{ method: "pwd", at: shownAt }],
    });
  });
}

function problemWith(message: FieldError["message"]): FieldError {
  const values = { min: MIN_PASSWORD_LENGTH, max: MAX_PASSWORD_LENGTH };
  return { field: "password", message, values };
}

interface Shown {
  readonly errors?: FieldError[];
  readonly status?: number;
}

async function showForgot(
  { page }: ForgotNeeds,
  ctx: Context,
  { interaction, here, client }: Visit,
  username: string,
  { errors = [], status = 200 }: Shown = {},
): Promise<void> {
  await page(
    ctx,
    "forgot",
    {
      client: clientView(client, interaction.params["redirect_uri"]),
      username,
      action: `${here}/forgot`,
      backHref: here,
      errors,
    },
    status,
  );
}

async function showSent(
  { page }: ForgotNeeds,
  ctx: Context,
  { interaction, here, client, progress }: Visit,
  { errors = [], status = 200 }: Shown = {},
): Promise<void> {
  await page(
    ctx,
    "forgot-sent",
    {
      client: clientView(client, interaction.params["redirect_uri"]),
      identifier: progress.recovery?.identifier ?? "",
      action: `${here}/forgot/code`,
      sendAction: `${here}/forgot/send`,
      changeHref: `${here}/forgot`,
      backHref: here,
      errors,
    },
    status,
  );
}

async function showPassword(
  { page }: ForgotNeeds,
  ctx: Context,
  { progress: { recovery } }: Visit,
  { errors = [], status = 200 }: Shown = {},
): Promise<void> {
  await page(
    ctx,
    "new-password",
    { username: recovery?.identifier ?? "", minLength: MIN_PASSWORD_LENGTH, errors },
    status,
  );
}
