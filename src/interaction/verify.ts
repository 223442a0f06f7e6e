import type { Router } from "@koa/router";
import type { Context } from "koa";
import { z } from "zod";
import { clientView } from "../consents/client-view.ts";
import { reader, writer } from "../database/transaction.ts";
import { AppError } from "../errors.ts";
import { readForm } from "../http/body.ts";
import { originOf } from "../http/origin.ts";
import type { Page } from "../http/page.ts";
import { OneTimeToken } from "../models/one-time-token.ts";
import type { UserEmail } from "../models/user-email.ts";
import { replaceUnproven, verifyEmail } from "../users/emails.ts";
import type { FieldError } from "../views.ts";
import type { Progress } from "./flow.ts";
import { refuseCode, sendLetter, waitFor, type LetterNeeds, type Refusal } from "./letter.ts";
import type { StepTools } from "./routes.ts";
import type { Visit } from "./visit.ts";

export interface VerifyNeeds extends LetterNeeds {
  page: Page;
}

const codeForm = z.strictObject({ otp: z.string().max(40).default("") });
const addressForm = z.strictObject({ email: z.string().trim().max(320).default("") });

/**
 * Shows that an address is the person's: one with which they make an account, or theirs where the client wants it
 * verified. The code from the mail is typed here; its link does the same in this browser.
 */
export function verifyRoutes(router: Router, tools: StepTools, needs: VerifyNeeds): void {
  const { knex } = needs;

  router.get("/verify", tools.at("verify"), async (ctx: Context) => {
    const visit = tools.visit(ctx);
    const { registration } = visit.progress;
    if (registration !== undefined && (await wasOpened(needs, registration.letter)))
      return tools.proceed(ctx, provenIn(visit.progress));
    return show(needs, ctx, visit);
  });

  router.post("/verify", tools.at("verify"), async (ctx: Context) => {
    const { otp } = await readForm(ctx, codeForm);
    const visit = tools.visit(ctx);
    const letter = letterOf(visit.progress);
    if (letter === undefined) return tools.proceed(ctx, visit.progress);
    const refused = await refuseCode(needs, ctx, letter, otp);
    if (refused !== undefined) return show(needs, ctx, visit, refused);
    const db = await writer(knex);
    if (!(await OneTimeToken.spend(db, letter, new Date())))
      return show(needs, ctx, visit, EXPIRED);
    if (visit.progress.registration !== undefined)
      return tools.proceed(ctx, provenIn(visit.progress));
    const problem = await verifyOwn(needs, ctx, visit);
    return problem === undefined
      ? tools.proceed(ctx, visit.progress)
      : show(needs, ctx, visit, problem);
  });

  router.post("/verify/address", tools.at("verify"), async (ctx: Context) => {
    const { email: typed } = await readForm(ctx, addressForm);
    const visit = tools.visit(ctx);
    const { user, progress } = visit;
    if (user === undefined || progress.registration !== undefined)
      return tools.proceed(ctx, progress);
    const changed = await changeAddress(needs, ctx, user.id, typed);
    if ("errors" in changed) return show(needs, ctx, visit, changed);
    const { id: emailId, email: to } = changed;
    const wanted = { purpose: "verify_email", to, userId: user.id, emailId } as const;
    const sent = await sendLetter(needs, ctx, visit, wanted, "email");
    if ("errors" in sent) return show(needs, ctx, visit, sent);
    return tools.proceed(ctx, { ...progress, verification: sent.letter });
  });

  router.post("/verify/send", tools.at("verify"), async (ctx: Context) => {
    const visit = tools.visit(ctx);
    const { progress } = visit;
    const sent = await sendLetter(needs, ctx, visit, wantedBy(visit), "resend");
    if ("errors" in sent) return show(needs, ctx, visit, sent);
    const { letter, wait } = sent;
    if (wait !== undefined) return show(needs, ctx, visit, waitFor(wait));
    return tools.proceed(
      ctx,
      progress.registration === undefined
        ? { ...progress, verification: letter }
        : { ...progress, registration: { ...progress.registration, letter } },
    );
  });
}

const EXPIRED: Refusal = {
  errors: [{ field: "otp", message: "err.email_code.expired" }],
  status: 410,
};

async function show(
  { page }: VerifyNeeds,
  ctx: Context,
  visit: Visit,
  { errors = [], status = 200 }: { errors?: FieldError[]; status?: number } = {},
): Promise<void> {
  const { interaction, here, client, progress, user } = visit;
  const { registration } = progress;
  await page(
    ctx,
    "verify",
    {
      client: clientView(client, interaction.params["redirect_uri"]),
      email: registration?.email ?? user?.primaryEmail?.email ?? "",
      isSent: letterOf(progress) !== undefined,
      sendAction: `${here}/verify/send`,
      action: `${here}/verify`,
      ...(registration === undefined
        ? { addressAction: `${here}/verify/address` }
        : { changeHref: `${here}/register` }),
      cancelAction: `${here}/cancel`,
      errors,
    },
    status,
  );
}

/** The letter that is on its way: to a new address, or to the one that is to be verified. */
function letterOf({ registration, verification }: Progress): string | undefined {
  return registration === undefined ? verification : registration.letter;
}

function wantedBy({ progress: { registration }, user }: Visit) {
  const email = user?.primaryEmail;
  if (registration !== undefined || user === undefined || email === undefined)
    return { purpose: "register", to: registration?.email ?? "" } as const;
  return { purpose: "verify_email", to: email.email, userId: user.id, emailId: email.id } as const;
}

/** Whether the link was opened in this browser, which uses the letter up as the code does. */
async function wasOpened({ knex }: VerifyNeeds, letter: string): Promise<boolean> {
  const row = await OneTimeToken.query(reader(knex)).findById(letter);
  return row !== undefined && row.usedAt !== null;
}

function provenIn(progress: Progress): Progress {
  const { registration } = progress;
  return registration === undefined
    ? progress
    : { ...progress, registration: { ...registration, isProven: true } };
}

async function changeAddress(
  { knex }: VerifyNeeds,
  ctx: Context,
  userId: string,
  typed: string,
): Promise<UserEmail | Refusal> {
  const by = { ...originOf(ctx), actor: { type: "user", id: userId } } as const;
  try {
    return await replaceUnproven(await writer(knex), { userId, typed, by }, new Date());
  } catch (error) {
    if (!(error instanceof AppError && error.code === "invalid_email")) throw error;
    return { errors: [{ field: "email", message: "err.email.invalid" }], status: 422 };
  }
}

async function verifyOwn(
  { knex }: VerifyNeeds,
  ctx: Context,
  { user }: Visit,
): Promise<Refusal | undefined> {
  const email = user?.primaryEmail;
  if (user === undefined || email === undefined) return EXPIRED;
  const by = { ...originOf(ctx), actor: { type: "user", id: user.id } } as const;
  try {
    await verifyEmail(await writer(knex), { userId: user.id, emailId: email.id, by }, new Date());
    return undefined;
  } catch (error) {
    if (!(error instanceof AppError && error.code === "email_taken")) throw error;
    return { errors: [{ field: "otp", message: "err.email.taken" }], status: 409 };
  }
}
