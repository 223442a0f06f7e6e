import type { Router } from "@koa/router";
import type { Context, Next } from "koa";
import { setTimeout as delay } from "node:timers/promises";
import { z } from "zod";
import { record } from "../audit/record.ts";
import {
  checkEmailCode,
  emailCodeWait,
  makeEmailCode,
  readEmailCode,
} from "../authn/email-codes.ts";
import { findByIdentifier, readIdentifier } from "../authn/identifier.ts";
import { accountName, spelling, throttleFactorSuccess, throttleMail } from "../authn/throttle.ts";
import { clientView } from "../consents/client-view.ts";
import { recordedId } from "../consents/consents.ts";
import { writer } from "../database/transaction.ts";
import { errors } from "../errors.ts";
import { readForm } from "../http/body.ts";
import { originOf } from "../http/origin.ts";
import { User } from "../models/user.ts";
import type { FieldError } from "../views.ts";
import { withoutSignIn } from "./flow.ts";
import {
  hasOtherMethods,
  identifierOf,
  refuse,
  waitOf,
  type PasswordNeeds,
  type Refusal,
} from "./password.ts";
import type { StepTools } from "./routes.ts";
import { countCode, noteWrong } from "./second-step.ts";
import type { Visit } from "./visit.ts";

/** Milliseconds that asking for a code takes, whoever is named: longer than it takes to send one (T-62). */
const ASKING_TAKES = 250;

const methodForm = z.strictObject({ method: z.enum(["password", "email-code"]).optional() });
const codeForm = z.strictObject({
  otp: z.string().max(100).default(""),
  remember: z.literal("1").optional(),
});

/**
 * Other ways to show who somebody is, at the step of the password: a code by e-mail. What the pages say, how long they
 * take and what they count is the same whether the person named exists or not.
 */
export function methodsRoutes(router: Router, tools: StepTools, needs: PasswordNeeds): void {
  const isOffered = (ctx: Context, next: Next) => {
    if (!hasOtherMethods(ctx)) throw errors.notFound();
    return next();
  };

  const showMethods = (ctx: Context, problems: readonly FieldError[] = [], status = 200) =>
    needs.page(
      ctx,
      "methods",
      { ...about(tools.visit(ctx)), methods: ["password", "email-code"], errors: problems },
      status,
    );

  const showCode = (ctx: Context, problems: readonly FieldError[] = [], status = 200) =>
    needs.page(ctx, "email-code", { ...about(tools.visit(ctx)), errors: problems }, status);

  router.get("/methods", tools.at("password"), isOffered, (ctx: Context) => showMethods(ctx));

  router.post("/methods", tools.at("password"), isOffered, async (ctx: Context) => {
    const { method } = await readForm(ctx, methodForm);
    const { here } = tools.visit(ctx);
    if (method === undefined)
      return showMethods(ctx, [{ field: "method-password", message: "err.method.empty" }], 422);
    if (method === "email-code") {
      const refusal = await askForCode(needs, ctx, tools.visit(ctx));
      // Whoever has just been sent one types that.
      if (refusal !== undefined && refusal.errors[0]?.message !== "err.email_code.wait")
        return showMethods(ctx, refusal.errors, refusal.status);
    }
    ctx.status = 303;
    ctx.redirect(`${here}/${method === "email-code" ? "code" : "password"}`);
  });

  router.get("/code", tools.at("password"), isOffered, (ctx: Context) => showCode(ctx));

  router.post("/code/resend", tools.at("password"), isOffered, async (ctx: Context) => {
    const refusal = await askForCode(needs, ctx, tools.visit(ctx));
    if (refusal !== undefined) return showCode(ctx, refusal.errors, refusal.status);
    ctx.status = 303;
    ctx.redirect(`${tools.visit(ctx).here}/code`);
  });

  router.post("/code", tools.at("password"), isOffered, async (ctx: Context) => {
    const { otp, remember } = await readForm(ctx, codeForm);
    const visit = tools.visit(ctx);
    const outcome = await proveCode(needs, ctx, visit, otp);
    if ("errors" in outcome) return showCode(ctx, outcome.errors, outcome.status);
    return tools.proceed(ctx, {
      ...withoutSignIn(visit.progress),
      identifier: identifierOf(visit),
      userId: outcome.user.id,
      shown: [{ method: "email_code", at: Date.now() / 1000 }],
      remember: remember !== undefined,
    });
  });
}

function about(visit: Visit) {
  const { interaction, here, client } = visit;
  return {
    client: clientView(client, interaction.params["redirect_uri"]),
    identifier: identifierOf(visit),
    changeHref: `${here}?change=1`,
    methodsHref: `${here}/methods`,
    codeAction: `${here}/code`,
    cancelAction: `${here}/cancel`,
  };
}

function bindingOf(visit: Visit) {
  const { uid } = visit.interaction;
  return { interaction: uid, purpose: "sign_in", who: spelling(identifierOf(visit)) } as const;
}

/** Sends a code to whoever was named, if they are anybody; the answer and its time do not say. */
async function askForCode(
  needs: PasswordNeeds,
  ctx: Context,
  visit: Visit,
): Promise<Refusal | undefined> {
  const [refusal] = await Promise.all([sendCode(needs, ctx, visit), delay(ASKING_TAKES)]);
  return refusal;
}

async function sendCode(
  { knex, seal, mailer }: PasswordNeeds,
  ctx: Context,
  visit: Visit,
): Promise<Refusal | undefined> {
  const now = new Date();
  const binding = bindingOf(visit);
  const soon = await emailCodeWait(knex, seal, { ...binding, now });
  if (soon > 0) return refuse("otp", "err.email_code.wait", 429, { seconds: soon });
  const typed = identifierOf(visit);
  const origin = originOf(ctx);
  // Outside the unit of work: it counts even if what follows is rolled back.
  const address = await accountName(knex, spelling(typed));
  const verdict = await throttleMail(knex, seal, { address, ipPrefix: origin.ipPrefix ?? "", now });
  if (!verdict.allowed) {
    ctx.set("Retry-After", String(verdict.retryAfter));
    return refuse("method-email-code", "err.throttled", 429, waitOf(verdict.retryAfter));
  }
  const db = await writer(knex);
  const named = readIdentifier(typed);
  const user = (await findByIdentifier(db, named))?.user;
  const userId = user?.isActive === true ? user.id : undefined;
  const made = await makeEmailCode(db, seal, { ...binding, userId, now });
  if ("wait" in made) return refuse("otp", "err.email_code.wait", 429, { seconds: made.wait });
  if (userId === undefined) return undefined;
  await mailer.signInCode(db, { userId, named: named?.value, ...made });
  const clientId = recordedId(visit.client);
  await record(db, {
    ...origin,
    type: "factor.code_sent",
    actor: { type: "anonymous" },
    userId,
    clientId,
    details: { purpose: "sign_in" },
  });
  return undefined;
}

async function proveCode(
  needs: PasswordNeeds,
  ctx: Context,
  visit: Visit,
  typed: string,
): Promise<{ user: User } | Refusal> {
  const { knex, seal } = needs;
  const code = readEmailCode(typed);
  if (code === undefined) return refuse("otp", "err.email_code.form", 422);
  const who = await accountName(knex, spelling(identifierOf(visit)));
  const counted = await countCode(needs, ctx, visit, { method: "email_code", who });
  if ("errors" in counted) return counted;
  const now = new Date();
  const userId = await checkEmailCode(knex, seal, { ...bindingOf(visit), code, now });
  const user = userId === undefined ? undefined : await User.query(knex).findById(userId);
  if (user?.isActive !== true) {
    await noteWrong(needs, ctx, visit, { method: "email_code", userId: user?.id, reason: "wrong" });
    return refuse("otp", "err.email_code.wrong", 401);
  }
  await throttleFactorSuccess(await writer(knex), counted);
  return { user };
}
