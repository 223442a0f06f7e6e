import type { Context } from "koa";
import type { Knex } from "knex";
import { askForLetter, pretendLetter, tryCode, type NewLetter } from "../authn/letters.ts";
import { throttleMail, throttleMailedCode } from "../authn/throttle.ts";
import type { Config } from "../config.ts";
import { writer } from "../database/transaction.ts";
import { localeOf } from "../http/locale.ts";
import { originOf } from "../http/origin.ts";
import type { Seal } from "../keys/seal.ts";
import type { FieldError } from "../views.ts";
import type { Visit } from "./visit.ts";

export interface LetterNeeds {
  config: Pick<Config, "locales">;
  knex: Knex;
  seal: Seal;
}

/** What is wrong, and the status that says so. */
export interface Refusal {
  readonly errors: FieldError[];
  readonly status: number;
}

/** What is asked for in an interaction; only there its code is taken. */
export interface Wanted extends Pick<NewLetter, "purpose" | "userId" | "emailId"> {
  readonly to: string;
  /** Whether nothing is to be written: the answer is the same. */
  readonly isPretended?: boolean;
}

/**
 * Has a letter written from within an interaction, and answers with its id. The answer, what is stored and the time it
 * takes are the same whoever has the address (T-62).
 *
 * @param field what the form calls the address.
 */
export async function sendLetter(
  { config, knex, seal }: LetterNeeds,
  ctx: Context,
  { interaction, here, client, issuer }: Visit,
  wanted: Wanted,
  field: string,
): Promise<{ readonly letter: string; readonly wait?: number } | Refusal> {
  const { purpose, to, isPretended, ...whose } = wanted;
  const now = new Date();
  // Outside the unit of work: a mail counts even if what follows is rolled back.
  const { ipPrefix = "" } = originOf(ctx);
  const throttled = await throttleMail(knex, seal, { address: to, ipPrefix, now });
  if (!throttled.allowed) return tooMany(ctx, throttled.retryAfter, field);
  const letter: NewLetter = {
    ...whose,
    purpose,
    askedBy: interaction.uid,
    context: {
      to,
      locale: localeOf(ctx, config.locales),
      issuer: issuer?.url ?? "",
      here,
      ...(client.clientName === undefined ? {} : { clientName: client.clientName }),
    },
  };
  const db = await writer(knex);
  const asked = await (isPretended === true ? pretendLetter : askForLetter)(db, seal, letter, now);
  return { letter: asked.id, ...("wait" in asked ? { wait: Number(asked.wait) } : {}) };
}

/** Tries a code that somebody typed; undefined where it is right. The letter is not used up by it. */
export async function refuseCode(
  { knex, seal }: LetterNeeds,
  ctx: Context,
  letter: string,
  typed: string,
): Promise<Refusal | undefined> {
  if (typed === "") return refusal({ field: "otp", message: "err.email_code.form" }, 422);
  const now = new Date();
  const { ipPrefix = "" } = originOf(ctx);
  const throttled = await throttleMailedCode(knex, seal, { ipPrefix, now });
  if (!throttled.allowed) return tooMany(ctx, throttled.retryAfter, "otp");
  if (await tryCode(knex, seal, { id: letter, code: typed }, now)) return undefined;
  return refusal({ field: "otp", message: "err.email_code.wrong" }, 401);
}

/** Says how long to wait before another letter. */
export function waitFor(seconds: number): Refusal {
  return refusal({ field: "resend", message: "err.email_code.wait", values: { seconds } }, 429);
}

export function refusal(error: FieldError, status: number): Refusal {
  return { errors: [error], status };
}

function tooMany(ctx: Context, seconds: number, field: string): Refusal {
  ctx.set("Retry-After", String(seconds));
  const minutes = seconds < 60 ? 0 : Math.ceil(seconds / 60);
  return refusal({ field, message: "err.throttled", values: { minutes, seconds } }, 429);
}
