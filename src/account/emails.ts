import type { Router } from "@koa/router";
import type { Context } from "koa";
import type { Knex } from "knex";
import { z } from "zod";
import { askForLetter, tryCode } from "../authn/letters.ts";
import { throttleMail, throttleMailedCode } from "../authn/throttle.ts";
import type { Config } from "../config.ts";
import { reader, writer } from "../database/transaction.ts";
import { AppError, errors as appErrors } from "../errors.ts";
import { readForm } from "../http/body.ts";
import { issuerFor } from "../http/host.ts";
import { localeOf } from "../http/locale.ts";
import { originOf } from "../http/origin.ts";
import type { Page } from "../http/page.ts";
import type { Seal } from "../keys/seal.ts";
import { isUuid } from "../lib/uuid.ts";
import { masked, type Mailer } from "../mail/mailer.ts";
import { OneTimeToken } from "../models/one-time-token.ts";
import type { UserEmail } from "../models/user-email.ts";
import { changePrimary } from "../recovery/change-emails.ts";
import { addEmail, emailsOf, removeEmail, verifyEmail } from "../users/emails.ts";
import type { FieldError, Views } from "../views.ts";
import { visitor, type AccountGuard } from "./guard.ts";

export interface EmailNeeds {
  readonly config: Pick<Config, "locales">;
  readonly knex: Knex;
  readonly seal: Seal;
  readonly mailer: Mailer;
  readonly page: Page;
  readonly guard: AccountGuard;
}

const emailForm = z.strictObject({ email: z.string().trim().max(320).default("") });
const codeForm = z.strictObject({ otp: z.string().max(40).default("") });
const noForm = z.strictObject({});
const DONE = ["added", "verified", "promoted", "removed"] as const;

/** A person's addresses: add, verify, choose the primary one, remove. Each change is told to those that are proven. */
export function emailRoutes(router: Router, needs: EmailNeeds): void {
  const { knex, mailer, guard } = needs;

  router.get("/emails", guard.signedIn, (ctx: Context) => show(needs, ctx));

  router.post("/emails", guard.confirmed, async (ctx: Context) => {
    const { email: typed } = await readForm(ctx, emailForm);
    const { userId, by } = whoAsks(ctx);
    const now = new Date();
    let added: UserEmail;
    try {
      added = await addEmail(await writer(knex), { userId, typed, by }, now);
    } catch (error) {
      if (!(error instanceof AppError)) throw error;
      const message = error.code === "invalid_email" ? "err.email.invalid" : "err.email.limit";
      return show(needs, ctx, { errors: [{ field: "email", message }], typed, status: 422 });
    }
    // One that was there already is no news.
    if (added.verifiedAt === null && added.createdAt.getTime() === now.getTime()) {
      const change = { userId, what: "email_added", other: masked(added.email), now } as const;
      await mailer.emailListed(await writer(knex), change);
    }
    if (added.verifiedAt !== null) return done(ctx, "verified");
    return sendCode(needs, ctx, added);
  });

  router.post("/emails/:id/send", guard.confirmed, async (ctx: Context) => {
    await readForm(ctx, noForm);
    return sendCode(needs, ctx, await ownEmail(needs, ctx));
  });

  router.post("/emails/:id/verify", guard.confirmed, async (ctx: Context) => {
    const { otp } = await readForm(ctx, codeForm);
    const email = await ownEmail(needs, ctx);
    const problem = await tryToVerify(needs, ctx, email, otp);
    if (problem === undefined) return done(ctx, "verified");
    const all = await emailsOf(reader(knex), email.userId);
    const field = `otp-${all.findIndex(({ id }) => id === email.id) + 1}`;
    return show(needs, ctx, { errors: [{ ...problem, field }], status: problem.status });
  });

  router.post("/emails/:id/primary", guard.confirmed, async (ctx: Context) => {
    await readForm(ctx, noForm);
    const { id: emailId } = await ownEmail(needs, ctx);
    const change = { ...whoAsks(ctx), emailId, context: placeOf(needs, ctx) };
    try {
      await changePrimary(await writer(knex), needs, change, new Date());
    } catch (error) {
      return refuse(needs, ctx, "primary", error);
    }
    return done(ctx, "promoted");
  });

  router.post("/emails/:id/remove", guard.confirmed, async (ctx: Context) => {
    await readForm(ctx, noForm);
    const { id: emailId } = await ownEmail(needs, ctx);
    const { userId, by } = whoAsks(ctx);
    const now = new Date();
    const db = await writer(knex);
    let removed: UserEmail | undefined;
    try {
      removed = await removeEmail(db, { userId, emailId, by }, now);
    } catch (error) {
      return refuse(needs, ctx, "remove", error);
    }
    if (removed !== undefined) {
      const gone = removed.verifiedAt === null ? undefined : removed.email;
      const change = { userId, what: "email_removed", other: masked(removed.email), gone } as const;
      await mailer.emailListed(db, { ...change, now });
    }
    return done(ctx, "removed");
  });
}

/** Shows at the button that was pressed that the address is one that people are held to. */
async function refuse(
  needs: EmailNeeds,
  ctx: Context,
  button: "primary" | "remove",
  error: unknown,
): Promise<void> {
  if (!(error instanceof AppError && error.code === "email_enforced")) throw error;
  const { id } = ctx["params"] as { id: string };
  const all = await emailsOf(reader(needs.knex), visitor(ctx).user.id);
  const at = all.findIndex((each) => each.id === id);
  const email = (button === "remove" ? all[at] : all[0])?.email ?? "";
  const field = `${button}-${at + 1}`;
  const message = "err.email.enforced";
  return show(needs, ctx, { errors: [{ field, message, values: { email } }], status: 409 });
}

async function sendCode(needs: EmailNeeds, ctx: Context, email: UserEmail): Promise<void> {
  const { knex, seal } = needs;
  const now = new Date();
  const { session } = visitor(ctx);
  const { ipPrefix = "" } = originOf(ctx);
  const throttled = await throttleMail(knex, seal, { address: email.email, ipPrefix, now });
  if (!throttled.allowed) throw appErrors.tooManyRequests(throttled.retryAfter);
  const { userId, id: emailId } = email;
  await askForLetter(
    await writer(knex),
    seal,
    {
      purpose: "verify_email",
      userId,
      emailId,
      askedBy: `${session.uid} ${emailId}`,
      context: { ...placeOf(needs, ctx), to: email.email },
    },
    now,
  );
  done(ctx, "added");
}

/** What is wrong with a code; undefined where it was right and the address is verified. */
async function tryToVerify(
  { knex, seal }: EmailNeeds,
  ctx: Context,
  { id: emailId, userId }: UserEmail,
  otp: string,
): Promise<{ message: FieldError["message"]; status: number } | undefined> {
  if (otp === "") return { message: "err.email_code.form", status: 422 };
  const now = new Date();
  const { ipPrefix = "" } = originOf(ctx);
  const throttled = await throttleMailedCode(knex, seal, { ipPrefix, now });
  if (!throttled.allowed) throw appErrors.tooManyRequests(throttled.retryAfter);
  const letter = await liveLetterOf(knex, emailId);
  if (letter === undefined) return { message: "err.email_code.expired", status: 410 };
  if (!(await tryCode(knex, seal, { id: letter.id, code: otp }, now)))
    return { message: "err.email_code.wrong", status: 401 };
  const db = await writer(knex);
  if (!(await OneTimeToken.spend(db, letter.id, now)))
    return { message: "err.email_code.expired", status: 410 };
  try {
    await verifyEmail(db, { userId, emailId, by: whoAsks(ctx).by }, now);
    return undefined;
  } catch (error) {
    if (!(error instanceof AppError && error.code === "email_taken")) throw error;
    return { message: "err.email.taken", status: 409 };
  }
}

async function liveLetterOf(knex: Knex, emailId: string): Promise<OneTimeToken | undefined> {
  return OneTimeToken.query(reader(knex))
    .where({ purpose: "verify_email", emailId, usedAt: null, revokedAt: null })
    .where("expiresAt", ">", new Date())
    .orderBy("createdAt", "desc")
    .first();
}

/** The address of the path, which is the person's own. @throws AppError `not_found` */
async function ownEmail({ knex }: EmailNeeds, ctx: Context): Promise<UserEmail> {
  const { id } = ctx["params"] as { id: string };
  const all = isUuid(id) ? await emailsOf(reader(knex), visitor(ctx).user.id) : [];
  const email = all.find((each) => each.id === id);
  if (email === undefined) throw appErrors.notFound();
  return email;
}

function whoAsks(ctx: Context) {
  const { user, session } = visitor(ctx);
  const actor = { type: "user", id: user.id } as const;
  return { userId: user.id, by: { ...originOf(ctx), actor, sessionUid: session.uid } };
}

function placeOf({ config }: EmailNeeds, ctx: Context) {
  return { locale: localeOf(ctx, config.locales), issuer: issuerFor(ctx)?.url ?? "" };
}

function done(ctx: Context, what: (typeof DONE)[number]): void {
  ctx.status = 303;
  ctx.redirect(`${issuerFor(ctx)?.path ?? ""}/account/emails?done=${what}`);
}

async function show(
  { knex, page }: EmailNeeds,
  ctx: Context,
  {
    errors = [],
    typed = "",
    status = 200,
  }: { errors?: FieldError[]; typed?: string; status?: number } = {},
): Promise<void> {
  const what = DONE.find((each) => each === ctx.query["done"]);
  const emails: Views["account-emails"]["emails"][number][] = [];
  for (const row of await emailsOf(reader(knex), visitor(ctx).user.id))
    emails.push({
      id: row.id,
      email: row.email,
      isPrimary: row.isPrimary,
      isVerified: row.verifiedAt !== null,
      isSent: row.verifiedAt === null && (await liveLetterOf(knex, row.id)) !== undefined,
    });
  await page(
    ctx,
    "account-emails",
    { emails, typed, ...(what === undefined ? {} : { done: what }), errors },
    status,
  );
}
