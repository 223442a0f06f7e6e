import type { Context } from "koa";
import { record } from "../audit/record.ts";
import { throttleFactor, type CountedFactor } from "../authn/throttle.ts";
import type { Method } from "../authn/levels.ts";
import { recordedId } from "../consents/consents.ts";
import { writer } from "../database/transaction.ts";
import { originOf } from "../http/origin.ts";
import { refuse, waitOf, type PasswordNeeds, type Refusal } from "./password.ts";
import type { Visit } from "./visit.ts";

/** What is typed and counted: codes of six or eight digits, and those of the drawer. */
type CodeMethod = Extract<Method, "totp" | "recovery_code" | "email_code">;

/** The field in which each is typed. */
const FIELD = { totp: "otp", email_code: "otp", recovery_code: "recovery_code" } as const;

/**
 * Counts a code before it is looked at (T-72), or says why it is not looked at any more.
 *
 * @param code.who the id of the person, or a name that nobody has.
 */
export async function countCode(
  { knex, seal }: PasswordNeeds,
  ctx: Context,
  { interaction, client, user }: Visit,
  { method, who }: { method: CodeMethod; who: string },
): Promise<CountedFactor | Refusal> {
  const counted = { method, interaction: interaction.uid, who, now: new Date() };
  // Outside the unit of work: a try counts even if what follows is rolled back.
  const verdict = await throttleFactor(knex, seal, counted);
  if (verdict.allowed) return verdict;
  const { retryAfter, isOver } = verdict;
  await record(await writer(knex), {
    ...originOf(ctx),
    type: "factor.blocked",
    actor: { type: "anonymous" },
    userId: user?.id,
    clientId: recordedId(client),
    details: { method, retryAfter },
  });
  if (isOver === true) return refuse(FIELD[method], "err.code.over", 429);
  ctx.set("Retry-After", String(retryAfter));
  return refuse(FIELD[method], "err.throttled", 429, waitOf(retryAfter));
}

/** Keeps in the audit that a code was not right. */
export async function noteWrong(
  { knex }: PasswordNeeds,
  ctx: Context,
  { client }: Visit,
  {
    userId,
    ...details
  }: { method: CodeMethod; userId: string | undefined; reason: "wrong" | "used" },
): Promise<void> {
  await record(await writer(knex), {
    ...originOf(ctx),
    type: "factor.failed",
    actor: { type: "anonymous" },
    userId,
    clientId: recordedId(client),
    details,
  });
}
