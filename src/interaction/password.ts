import type { Router } from "@koa/router";
import type { Context } from "koa";
import type { Knex } from "knex";
import { z } from "zod";
import { record } from "../audit/record.ts";
import { findByIdentifier, readIdentifier } from "../authn/identifier.ts";
import type { Passwords } from "../authn/password.ts";
import { signInWithPassword } from "../authn/sign-in.ts";
import { throttleAttempt, throttleSuccess } from "../authn/throttle.ts";
import { recordedId } from "../consents/consents.ts";
import { writer } from "../database/transaction.ts";
import { readForm } from "../http/body.ts";
import { deviceOf } from "../http/device.ts";
import type { Page } from "../http/page.ts";
import type { Seal } from "../keys/seal.ts";
import type { Mailer } from "../mail/mailer.ts";
import type { User } from "../models/user.ts";
import type { FieldError } from "../views.ts";
import { clientView } from "../consents/client-view.ts";
import { signedInBy, type Progress } from "./flow.ts";
import {
  passkeyFields,
  passkeyQuestion,
  provePasskey,
  refuse as refusePasskey,
} from "./passkey.ts";
import { originOf } from "../http/origin.ts";
import { issuerFor } from "../http/host.ts";
import type { StepTools } from "./routes.ts";
import type { Visit } from "./visit.ts";

export interface PasswordNeeds {
  knex: Knex;
  seal: Seal;
  passwords: Passwords;
  mailer: Mailer;
  page: Page;
}

const passwordForm = z.strictObject({
  username: z.string().max(320).optional(),
  password: z.string().max(1024).default(""),
  remember: z.literal("1").optional(),
  ...passkeyFields,
});

/** The second step: the password of whoever was named. */
export function passwordRoutes(router: Router, tools: StepTools, needs: PasswordNeeds): void {
  router.get("/password", tools.at("password"), (ctx: Context) =>
    showPassword(needs, ctx, tools.visit(ctx), []),
  );

  router.post("/password", tools.at("password"), async (ctx: Context) => {
    const form = await readForm(ctx, passwordForm);
    const visit = tools.visit(ctx);
    const remember = form.remember !== undefined;
    const answer = { answer: form.passkey_response, via: form.passkey_via };
    const outcome =
      answer.answer === ""
        ? await provePassword(needs, ctx, visit, {
            identifier: identifierOf(visit),
            password: form.password,
            remember,
          })
        : await provePasskeyOf(needs, ctx, visit, { ...answer, remember });
    if ("progress" in outcome) {
      const canMakePasskey = form.passkey_can === "1";
      return tools.proceed(ctx, { ...outcome.progress, canMakePasskey });
    }
    return showPassword(needs, ctx, visit, outcome.errors, { ...outcome, remember });
  });
}

async function showPassword(
  { page, knex }: PasswordNeeds,
  ctx: Context,
  visit: Visit,
  errors: FieldError[],
  { status = 200, signal, remember }: { status?: number; signal?: string; remember?: boolean } = {},
): Promise<void> {
  const { interaction, here, client } = visit;
  const reauthenticate = isAskedAgain(visit);
  const isMore = hasBegunByMailbox(visit);
  await page(
    ctx,
    "password",
    {
      client: clientView(client, interaction.params["redirect_uri"]),
      identifier: identifierOf(visit),
      ...(hasOtherMethods(ctx) && !isMore ? { methodsHref: `${here}/methods` } : {}),
      reauthenticate,
      isMore,
      remember: remember ?? visit.progress.remember === true,
      changeHref: `${here}?change=1`,
      forgotHref: `${here}/forgot`,
      cancelAction: `${here}/cancel`,
      ...(await passkeyQuestion(knex, visit, askedOf(visit), signal)),
      errors,
    },
    status,
  );
}

/** Whether a code from the mailbox was shown, here or for the session, and proves too little (NIST SP 800-63B-4 §3.1.3.1). */
function hasBegunByMailbox({ progress, demand }: Visit): boolean {
  const isHere = progress.shown?.some(({ method }) => method === "email_code") === true;
  return isHere || demand.held?.amr.includes("email") === true;
}

/** Whether there is another way to begin than the password. */
export function hasOtherMethods(ctx: Context): boolean {
  return issuerFor(ctx)?.emailSignIn === true;
}

/** Whether it is the person of this browser's session who is asked. */
function isAskedAgain({ demand, progress }: Visit): boolean {
  return demand.sessionUserId !== undefined && progress.account !== "another";
}

/** Somebody who only typed a name is told nothing of whose it is; whoever has a session is asked by their passkeys. */
function askedOf(visit: Visit): { purpose: "sign_in"; userId?: string | undefined } {
  const isNamed = isAskedAgain(visit) && visit.progress.identifier === undefined;
  return { purpose: "sign_in", userId: isNamed ? visit.demand.sessionUserId : undefined };
}

/** Checks a passkey in the place of the password: it must be of whoever was named (T-82). */
async function provePasskeyOf(
  { knex }: PasswordNeeds,
  ctx: Context,
  visit: Visit,
  { answer, via, remember }: { answer: string; via: "" | "autofill" | "button"; remember: boolean },
): Promise<PasswordOutcome> {
  const identifier = identifierOf(visit);
  const outcome = await provePasskey(knex, ctx, visit, { answer, via, ...askedOf(visit) });
  if ("errors" in outcome) return outcome;
  const named = await findByIdentifier(await writer(knex), readIdentifier(identifier));
  if (named?.user.id !== outcome.user.id) return refusePasskey("err.passkey.failed");
  const { user, shown, passkey } = outcome;
  return {
    progress: {
      ...signedInBy(visit.progress, { userId: user.id, ...shown }),
      passkey,
      identifier,
      remember,
    },
  };
}

/** Whose password is asked for: what was typed, or the address of whoever has the session. */
export function identifierOf({ progress, user }: Visit): string {
  return progress.identifier ?? user?.primaryEmail?.email ?? user?.username ?? "";
}

export interface Refusal {
  readonly errors: FieldError[];
  readonly status: number;
  /** What the browser is to tell its password manager. */
  readonly signal?: string;
}

export type PasswordOutcome = { readonly progress: Progress } | Refusal;

/** Checks a password and says how far the person has come. */
export async function provePassword(
  needs: PasswordNeeds,
  ctx: Context,
  visit: Visit,
  attempt: { identifier: string; password: string; remember: boolean },
): Promise<PasswordOutcome> {
  const { identifier, password, remember } = attempt;
  const now = new Date();
  const clientId = recordedId(visit.client);
  const outcome = await checkPassword(needs, ctx, { identifier, password, clientId });
  if ("errors" in outcome) return outcome;
  return {
    progress: {
      ...signedInBy(visit.progress, {
        userId: outcome.user.id,
        method: "pwd",
        at: now.getTime() / 1000,
      }),
      identifier,
      remember,
    },
  };
}

/**
 * Checks a password. The attempt is counted before it is checked, and an unknown address, a wrong password and a
 * disabled user cost the same and look the same; that a user is disabled is said only to somebody who knows the
 * password.
 *
 * @param attempt.clientId the key of the row of the client that it is for, if there is one.
 */
async function checkPassword(
  needs: PasswordNeeds,
  ctx: Context,
  attempt: { identifier: string; password: string; clientId: string | undefined },
): Promise<{ readonly user: User } | Refusal> {
  const { knex, seal, passwords, mailer } = needs;
  const { identifier, password, clientId } = attempt;
  if (password === "") return refuse("password", "err.password.empty", 422);

  const now = new Date();
  const origin = originOf(ctx);
  // Outside the unit of work: a try counts even if what follows is rolled back.
  const ipPrefix = origin.ipPrefix ?? "";
  const device = deviceOf(ctx);
  const found = await findByIdentifier(knex, readIdentifier(identifier), { device, now });
  const verdict = await throttleAttempt(knex, seal, { identifier, found, ipPrefix, device, now });
  const outcome = verdict.allowed
    ? await signInWithPassword(knex, { passwords }, { found, password })
    : { refused: "throttled" as const };

  if ("refused" in outcome) {
    const db = await writer(knex);
    const about = {
      ...origin,
      actor: { type: "anonymous" },
      userId: found?.user.id,
      clientId,
    } as const;
    await (verdict.allowed
      ? record(db, {
          ...about,
          type: "login.failed",
          details: { method: "pwd", reason: outcome.refused },
        })
      : record(db, {
          ...about,
          type: "login.blocked",
          details: { retryAfter: verdict.retryAfter },
        }));
    if (verdict.allowed && verdict.ownerShouldBeTold && found !== undefined) {
      await mailer.signinBlocked(db, { userId: found.user.id, now });
    }
    if (!verdict.allowed) {
      ctx.set("Retry-After", String(verdict.retryAfter));
      return refuse("password", "err.throttled", 429, waitOf(verdict.retryAfter));
    }
    return outcome.refused === "disabled"
      ? refuse("password", "err.account.disabled", 403)
      : refuse("password", "err.password.wrong", 401);
  }

  // Outside of it too: it was no failure, whatever follows.
  if (verdict.allowed) await throttleSuccess(knex, verdict);
  return { user: outcome.user };
}

export function refuse(
  field: string,
  message: FieldError["message"],
  status: number,
  values?: FieldError["values"],
): Refusal {
  return {
    status,
    errors: [values === undefined ? { field, message } : { field, message, values }],
  };
}

/** How long to wait, as messages say it: in minutes from the first one on. */
export function waitOf(seconds: number): { minutes: number; seconds: number } {
  return { minutes: seconds < 60 ? 0 : Math.ceil(seconds / 60), seconds };
}
