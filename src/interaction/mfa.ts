import type { Router } from "@koa/router";
import type { Context, Middleware } from "koa";
import { z } from "zod";
import { record } from "../audit/record.ts";
import {
  checkEmailCode,
  emailCodeWait,
  makeEmailCode,
  readEmailCode,
} from "../authn/email-codes.ts";
import type { Factor } from "../authn/factors.ts";
import type { Method } from "../authn/levels.ts";
import { readCode } from "../authn/one-time-password.ts";
import { checkRecoveryCode, readRecoveryCode } from "../authn/recovery-codes.ts";
import { throttleFactorSuccess, throttleMail } from "../authn/throttle.ts";
import { checkTotp } from "../authn/totp.ts";
import { clientView } from "../consents/client-view.ts";
import { recordedId } from "../consents/consents.ts";
import { writer } from "../database/transaction.ts";
import { errors } from "../errors.ts";
import { readForm } from "../http/body.ts";
import { originOf } from "../http/origin.ts";
import type { User } from "../models/user.ts";
import type { FieldError } from "../views.ts";
import { canTrust, offeredFactors } from "./flow.ts";
import { refuse, waitOf, type PasswordNeeds, type Refusal } from "./password.ts";
import type { StepTools } from "./routes.ts";
import { countCode, noteWrong } from "./second-step.ts";
import { trustThisBrowser } from "./trust.ts";
import type { Visit } from "./visit.ts";

const factorForm = z.strictObject({
  factor: z.enum(["webauthn", "totp", "email", "recovery"]).optional(),
});
const otpForm = z.strictObject({
  otp: z.string().max(100).default(""),
  trust_device: z.literal("1").optional(),
});
const recoveryForm = z.strictObject({ recovery_code: z.string().max(100).default("") });

/** A second step shown, or why not. */
type Outcome = { readonly shown: Method } | Refusal;

/**
 * The second step: the strongest that the person has, and by "Try another way" everything else that they have and that
 * is enough here. What is not offered is refused, whoever posts it (T-76).
 */
export function mfaRoutes(router: Router, tools: StepTools, needs: PasswordNeeds): void {
  const offered = (factor: Factor): Middleware[] => [
    tools.at("mfa"),
    (ctx, next) => {
      const { here, progress, demand } = tools.visit(ctx);
      if (offeredFactors(progress, demand).includes(factor)) return next();
      if (ctx.method !== "GET") throw errors.factorNotOffered();
      return go(ctx, `${here}/mfa`);
    },
  ];

  /** Keeps what was shown, and the browser in mind where the person wants that and may. */
  const proceed = async (ctx: Context, method: Method, trust = false) => {
    const { progress, demand, user } = tools.visit(ctx);
    const at = Date.now() / 1000;
    if (trust && user !== undefined && canTrust(progress, demand))
      await trustThisBrowser(needs, ctx, user.id);
    await tools.proceed(ctx, { ...progress, shown: [...(progress.shown ?? []), { method, at }] });
  };

  const choose = (ctx: Context, problems: readonly FieldError[] = [], status = 200) => {
    const visit = tools.visit(ctx);
    const factors = offeredFactors(visit.progress, visit.demand);
    return needs.page(ctx, "mfa", { ...about(visit), factors, errors: problems }, status);
  };

  router.get("/mfa", tools.at("mfa"), (ctx: Context) => {
    const { here, progress, demand } = tools.visit(ctx);
    const [strongest] = offeredFactors(progress, demand);
    if (strongest === undefined || ctx.query["choose"] !== undefined) return choose(ctx);
    return go(ctx, `${here}/mfa/${strongest}`);
  });

  router.post("/mfa", tools.at("mfa"), async (ctx: Context) => {
    const { factor } = await readForm(ctx, factorForm);
    const { here, progress, demand } = tools.visit(ctx);
    const factors = offeredFactors(progress, demand);
    if (factor === undefined)
      return choose(ctx, [{ field: `factor-${factors[0]}`, message: "err.method.empty" }], 422);
    if (!factors.includes(factor)) throw errors.factorNotOffered();
    return go(ctx, `${here}/mfa/${factor}`);
  });

  router.get("/mfa/help", tools.at("mfa"), (ctx: Context) => {
    const visit = tools.visit(ctx);
    const factors = offeredFactors(visit.progress, visit.demand);
    return needs.page(ctx, "mfa-help", { ...about(visit), factors });
  });

  const showTotp = (ctx: Context, problems: readonly FieldError[] = [], status = 200) =>
    needs.page(ctx, "mfa-totp", { ...about(tools.visit(ctx)), errors: problems }, status);

  router.get("/mfa/totp", ...offered("totp"), (ctx: Context) => showTotp(ctx));

  router.post("/mfa/totp", ...offered("totp"), async (ctx: Context) => {
    const { otp, trust_device: trust } = await readForm(ctx, otpForm);
    const outcome = await proveTotp(needs, ctx, tools.visit(ctx), otp);
    if ("errors" in outcome) return showTotp(ctx, outcome.errors, outcome.status);
    return proceed(ctx, outcome.shown, trust !== undefined);
  });

  const showEmail = async (ctx: Context, problems: readonly FieldError[] = [], status = 200) => {
    const visit = tools.visit(ctx);
    const binding = { ...bindingOf(visit), now: new Date() };
    const isSent = (await emailCodeWait(needs.knex, needs.seal, binding)) > 0;
    const address = masked(visit.user);
    const view = { ...about(visit), address, isSent: isSent || problems.length > 0 };
    await needs.page(ctx, "mfa-email", { ...view, errors: problems }, status);
  };

  router.get("/mfa/email", ...offered("email"), (ctx: Context) => showEmail(ctx));

  router.post("/mfa/email/send", ...offered("email"), async (ctx: Context) => {
    const visit = tools.visit(ctx);
    const refusal = await sendCode(needs, ctx, visit);
    if (refusal !== undefined) return showEmail(ctx, refusal.errors, refusal.status);
    return go(ctx, `${visit.here}/mfa/email`);
  });

  router.post("/mfa/email", ...offered("email"), async (ctx: Context) => {
    const { otp, trust_device: trust } = await readForm(ctx, otpForm);
    const outcome = await proveEmail(needs, ctx, tools.visit(ctx), otp);
    if ("errors" in outcome) return showEmail(ctx, outcome.errors, outcome.status);
    return proceed(ctx, outcome.shown, trust !== undefined);
  });

  const showRecovery = (ctx: Context, problems: readonly FieldError[] = [], status = 200) =>
    needs.page(ctx, "mfa-recovery", { ...about(tools.visit(ctx)), errors: problems }, status);

  router.get("/mfa/recovery", ...offered("recovery"), (ctx: Context) => showRecovery(ctx));

  router.post("/mfa/recovery", ...offered("recovery"), async (ctx: Context) => {
    const { recovery_code: typed } = await readForm(ctx, recoveryForm);
    const outcome = await proveRecovery(needs, ctx, tools.visit(ctx), typed);
    if ("errors" in outcome) return showRecovery(ctx, outcome.errors, outcome.status);
    return proceed(ctx, outcome.shown);
  });
}

function about({ interaction, here, client, progress, demand }: Visit) {
  return {
    client: clientView(client, interaction.params["redirect_uri"]),
    hasOthers: offeredFactors(progress, demand).length > 1,
    canTrust: canTrust(progress, demand),
    here,
    cancelAction: `${here}/cancel`,
  };
}

async function proveTotp(
  needs: PasswordNeeds,
  ctx: Context,
  visit: Visit,
  typed: string,
): Promise<Outcome> {
  const { knex, seal, mailer } = needs;
  const userId = visit.user?.id ?? "";
  const code = readCode(typed);
  if (code === undefined) return refuse("otp", "err.code.form", 422);
  const counted = await countCode(needs, ctx, visit, { method: "totp", who: userId });
  if ("errors" in counted) return counted;
  const now = new Date();
  const check = await checkTotp(knex, seal, { userId, code, now });
  const db = await writer(knex);
  if (check.ok) {
    await throttleFactorSuccess(db, counted);
    return { shown: "totp" };
  }
  await noteWrong(needs, ctx, visit, { method: "totp", userId, reason: check.reason });
  if (check.isDisabledNow) {
    const event = { type: "factor.disabled", actor: { type: "system" }, userId } as const;
    await record(db, { ...originOf(ctx), ...event, details: { type: "totp" } });
    await mailer.factorChanged(db, { userId, change: "totp_disabled", now });
  }
  return check.reason === "used"
    ? refuse("otp", "err.code.used", 401)
    : refuse("otp", "err.code.wrong", 401);
}

async function proveEmail(
  needs: PasswordNeeds,
  ctx: Context,
  visit: Visit,
  typed: string,
): Promise<Outcome> {
  const { knex, seal } = needs;
  const userId = visit.user?.id ?? "";
  const code = readEmailCode(typed);
  if (code === undefined) return refuse("otp", "err.email_code.form", 422);
  const counted = await countCode(needs, ctx, visit, { method: "email_code", who: userId });
  if ("errors" in counted) return counted;
  const shown = { ...bindingOf(visit), code, now: new Date() };
  if ((await checkEmailCode(knex, seal, shown)) === userId) {
    await throttleFactorSuccess(await writer(knex), counted);
    return { shown: "email_code" };
  }
  await noteWrong(needs, ctx, visit, { method: "email_code", userId, reason: "wrong" });
  return refuse("otp", "err.email_code.wrong", 401);
}

async function proveRecovery(
  needs: PasswordNeeds,
  ctx: Context,
  visit: Visit,
  typed: string,
): Promise<Outcome> {
  const { knex, passwords, mailer } = needs;
  const userId = visit.user?.id ?? "";
  const code = readRecoveryCode(typed);
  if (code === undefined) return refuse("recovery_code", "err.recovery.form", 422);
  const now = new Date();
  const { counted, left } = await passwords.attempt(async () => {
    const verdict = await countCode(needs, ctx, visit, { method: "recovery_code", who: userId });
    const mayGoOn = !("errors" in verdict);
    return {
      counted: verdict,
      left: mayGoOn ? await checkRecoveryCode(knex, passwords, { userId, code, now }) : undefined,
    };
  });
  if ("errors" in counted) return counted;
  if (left === undefined) {
    await noteWrong(needs, ctx, visit, { method: "recovery_code", userId, reason: "wrong" });
    return refuse("recovery_code", "err.recovery.wrong", 401);
  }
  const db = await writer(knex);
  await throttleFactorSuccess(db, counted);
  await mailer.factorChanged(db, { userId, change: "code_used", left, now });
  await record(db, {
    ...originOf(ctx),
    type: "factor.code_used",
    actor: { type: "user", id: userId },
    userId,
    clientId: recordedId(visit.client),
    details: { left },
  });
  return { shown: "recovery_code" };
}

async function sendCode(
  { knex, seal, mailer }: PasswordNeeds,
  ctx: Context,
  visit: Visit,
): Promise<Refusal | undefined> {
  const userId = visit.user?.id ?? "";
  const now = new Date();
  const binding = bindingOf(visit);
  const soon = await emailCodeWait(knex, seal, { ...binding, now });
  if (soon > 0) return refuse("otp", "err.email_code.wait", 429, { seconds: soon });
  const origin = originOf(ctx);
  const asked = { address: `user\0${userId}`, ipPrefix: origin.ipPrefix ?? "", now };
  const verdict = await throttleMail(knex, seal, asked);
  if (!verdict.allowed) {
    ctx.set("Retry-After", String(verdict.retryAfter));
    return refuse("otp", "err.throttled", 429, waitOf(verdict.retryAfter));
  }
  const db = await writer(knex);
  const made = await makeEmailCode(db, seal, { ...binding, userId, now });
  if ("wait" in made) return refuse("otp", "err.email_code.wait", 429, { seconds: made.wait });
  await mailer.signInCode(db, { userId, ...made });
  await record(db, {
    ...origin,
    type: "factor.code_sent",
    actor: { type: "user", id: userId },
    userId,
    clientId: recordedId(visit.client),
    details: { purpose: "second_step" },
  });
  return undefined;
}

function bindingOf({ interaction, user }: Visit) {
  const who = user?.id ?? "";
  return { interaction: interaction.uid, purpose: "second_step", who } as const;
}

/** An address that its owner knows again, and nobody else learns: `a••@example.com`. */
function masked(user: User | undefined): string {
  const [local = "", domain = ""] = (user?.primaryEmail?.email ?? "").split("@");
  return `${[...local][0] ?? ""}••@${domain}`;
}

function go(ctx: Context, location: string): void {
  ctx.status = 303;
  ctx.redirect(location);
}
