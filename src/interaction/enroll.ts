import type { Router } from "@koa/router";
import type { Context } from "koa";
import { z } from "zod";
import { record } from "../audit/record.ts";
import { readCode } from "../authn/one-time-password.ts";
import type { Config } from "../config.ts";
import { clientView } from "../consents/client-view.ts";
import { recordedId } from "../consents/consents.ts";
import { writer } from "../database/transaction.ts";
import { errors } from "../errors.ts";
import { readForm } from "../http/body.ts";
import { originOf } from "../http/origin.ts";
import { sendAsFile } from "../http/text-file.ts";
import { sha256 } from "../lib/secret.ts";
import { User } from "../models/user.ts";
import { addApp, addMailbox, offerApp } from "../users/second-factors.ts";
import type { FieldError } from "../views.ts";
import type { PasswordNeeds } from "./password.ts";
import type { StepTools } from "./routes.ts";
import type { Visit } from "./visit.ts";

export interface EnrollNeeds extends PasswordNeeds {
  config: Pick<Config, "productName">;
}

const choiceForm = z.strictObject({ factor: z.enum(["webauthn", "totp", "email"]).optional() });
const totpForm = z.strictObject({
  otp: z.string().max(100).default(""),
  label: z.string().trim().max(100).default(""),
});
type Choice = "webauthn" | "totp" | "email";
const codesForm = z.strictObject({ saved: z.literal("1").optional() });

/**
 * Setting up a second step where a rule asks for it, or after a recovery code (ux.md P7): inside the sign-in that has
 * just shown the first factor, and before there is a session (T-78).
 */
export function enrollRoutes(router: Router, tools: StepTools, needs: EnrollNeeds): void {
  const show = (ctx: Context, problems: readonly FieldError[] = [], status = 200) => {
    const visit = tools.visit(ctx);
    const { reason = "policy", skipsLeft = 0 } = visit.demand.enrolment ?? {};
    const view = { ...about(visit), reason, skipsLeft, choices: choicesOf(visit) };
    return needs.page(ctx, "enroll", { ...view, errors: problems }, status);
  };

  router.get("/enroll", tools.at("enroll"), (ctx: Context) => show(ctx));

  router.post("/enroll", tools.at("enroll"), async (ctx: Context) => {
    const { factor } = await readForm(ctx, choiceForm);
    const visit = tools.visit(ctx);
    if (factor === undefined)
      return show(
        ctx,
        [{ field: `factor-${choicesOf(visit)[0]}`, message: "err.method.empty" }],
        422,
      );
    if (!choicesOf(visit).includes(factor)) throw errors.factorNotOffered();
    if (factor === "webauthn") return go(ctx, `${visit.here}/enroll/passkey`);
    if (factor === "totp") return go(ctx, `${visit.here}/enroll/totp`);
    await addMailbox(needs, ownerOf(ctx, visit));
    return tools.proceed(ctx, visit.progress);
  });

  router.post("/enroll/skip", tools.at("enroll"), async (ctx: Context) => {
    const visit = tools.visit(ctx);
    await skip(needs, ctx, visit);
    return tools.proceed(ctx, { ...visit.progress, enrolmentSkipped: true });
  });

  router.get("/enroll/totp", tools.at("enroll"), (ctx: Context) =>
    showApp(needs, ctx, tools.visit(ctx), []),
  );

  router.post("/enroll/totp", tools.at("enroll"), async (ctx: Context) => {
    const { otp, label } = await readForm(ctx, totpForm);
    const visit = tools.visit(ctx);
    const code = readCode(otp);
    if (code === undefined)
      return showApp(needs, ctx, visit, [{ field: "otp", message: "err.code.form" }], 422);
    const offered = await offer(needs, visit);
    const codes =
      offered === undefined
        ? undefined
        : await addApp(needs, ownerOf(ctx, visit), { ...offered, code, name: label });
    if (codes === undefined)
      return showApp(needs, ctx, visit, [{ field: "otp", message: "err.code.wrong" }], 401);
    const { shown = [], ...progress } = visit.progress;
    return tools.proceed(ctx, {
      ...progress,
      hasEnrolled: true,
      shown: [...shown, { method: "totp", at: Date.now() / 1000 }],
      ...(codes.length === 0 ? {} : { newCodes: codes }),
    });
  });

  const showCodes = (ctx: Context, problems: readonly FieldError[] = [], status = 200) => {
    const visit = tools.visit(ctx);
    const codes = visit.progress.newCodes ?? [];
    return needs.page(ctx, "enroll-codes", { ...about(visit), codes, errors: problems }, status);
  };

  router.get("/enroll/codes", tools.at("enroll/codes"), (ctx: Context) => showCodes(ctx));

  router.post("/enroll/codes", tools.at("enroll/codes"), async (ctx: Context) => {
    const { saved } = await readForm(ctx, codesForm);
    if (saved === undefined)
      return showCodes(ctx, [{ field: "saved", message: "err.codes.unsaved" }], 422);
    const { newCodes: _saved, ...progress } = tools.visit(ctx).progress;
    return tools.proceed(ctx, progress);
  });

  router.post("/enroll/codes/download", tools.at("enroll/codes"), async (ctx: Context) => {
    const { newCodes = [] } = tools.visit(ctx).progress;
    sendAsFile(ctx, "recovery-codes.txt", newCodes);
  });
}

function about(visit: Visit) {
  const { interaction, here, client } = visit;
  return {
    client: clientView(client, interaction.params["redirect_uri"]),
    here,
    cancelAction: `${here}/cancel`,
    account: accountOf(visit),
  };
}

/** What can be set up here: a mailbox is enough for a policy that says so, and for nothing else. */
function choicesOf({ demand, policy, user, relyingParty }: Visit): Choice[] {
  const strong: Choice[] = relyingParty === undefined ? ["totp"] : ["webauthn", "totp"];
  const byEmail = policy.byEmail && demand.enrolment?.reason === "policy";
  const isVerified = user?.primaryEmail?.verifiedAt != null;
  return byEmail && isVerified ? [...strong, "email"] : strong;
}

function ownerOf(ctx: Context, { user }: Visit) {
  return { userId: user?.id ?? "", origin: originOf(ctx) };
}

function accountOf({ user }: Visit): string {
  return user?.primaryEmail?.email ?? user?.username ?? "";
}

async function offer(needs: EnrollNeeds, visit: Visit) {
  return offerApp(needs, {
    userId: visit.user?.id ?? "",
    bindingHash: sha256(`interaction ${visit.interaction.uid}`),
    account: accountOf(visit),
    productName: needs.config.productName,
  });
}

async function showApp(
  needs: EnrollNeeds,
  ctx: Context,
  visit: Visit,
  problems: readonly FieldError[],
  status = 200,
): Promise<void> {
  const offered = await offer(needs, visit);
  if (offered === undefined) throw errors.tooManyApps();
  const { qr, key, uri } = offered;
  const hasChoice = choicesOf(visit).length > 1 || visit.demand.enrolment?.skipsLeft !== 0;
  const view = { ...about(visit), qr, key, uri, hasChoice };
  await needs.page(ctx, "enroll-totp", { ...view, errors: problems }, status);
}

/** Counts that somebody puts it off. @throws AppError `enrolment_required` where they may not. */
async function skip({ knex }: EnrollNeeds, ctx: Context, visit: Visit): Promise<void> {
  const { user, client, policy, demand } = visit;
  const { reason, skipsLeft = 0 } = demand.enrolment ?? {};
  if (user === undefined || skipsLeft === 0) throw errors.enrolmentRequired();
  if (reason !== "policy") return;
  const db = await writer(knex);
  if (!(await User.skipEnrolment(db, user.id, policy.skips))) throw errors.enrolmentRequired();
  await record(db, {
    ...originOf(ctx),
    type: "factor.postponed",
    actor: { type: "user", id: user.id },
    userId: user.id,
    clientId: recordedId(client),
    details: { left: skipsLeft - 1 },
  });
}

function go(ctx: Context, location: string): void {
  ctx.status = 303;
  ctx.redirect(location);
}
