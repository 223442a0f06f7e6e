import { createHmac } from "node:crypto";
import { errors, Provider } from "oidc-provider";
import type { Knex } from "knex";
import { throttleCode, throttleCodeSuccess } from "../authn/throttle.ts";
import { writer } from "../database/transaction.ts";
import type { Seal } from "../keys/seal.ts";

/** Why a user code leads nowhere, beside the reasons that the engine has names for. */
export class UserCodeError extends errors.OIDCProviderError {
  readonly reason: "used" | "throttled" | "not_shown";
  /** Seconds after which trying again makes sense. */
  readonly retryAfter: number | undefined;

  constructor(reason: UserCodeError["reason"], retryAfter?: number) {
    super(reason === "throttled" ? 429 : 422, "invalid_request");
    this.reason = reason;
    this.retryAfter = retryAfter;
    this.error_description = `the user code is ${reason.replace("_", " ")}`;
  }
}

/**
 * What is stored of a user code: it is short enough to be guessed from a plain hash, so the hash is keyed.
 *
 * @param userCode in the engine's spelling: capitals, and nothing between them (RFC 8628 §6.1).
 */
export function hashUserCode(seal: Seal, userCode: string): Buffer {
  return createHmac("sha256", seal.derive("user-code")).update(userCode).digest();
}

/** Notes that this browser was shown what a code is for. */
export function rememberShown(seal: Seal, userCode: string): void {
  const session = Provider.ctx?.oidc.session;
  if (session === undefined) return;
  session.state = { ...session.state, shown: hashUserCode(seal, userCode).toString("hex") };
}

/**
 * Looks a typed code up, with guesses counted first (RFC 8628 §5.1). Nobody decides about a code whose page this
 * browser has not seen: neither a form that skips the page nor another browser (RFC 8628 §5.4).
 *
 * @throws UserCodeError
 */
export async function lookUpUserCode<Found>(
  { knex, seal }: { knex: Knex; seal: Seal },
  userCode: string,
  find: (hash: Buffer) => Promise<Found | undefined>,
): Promise<Found | undefined> {
  const ctx = Provider.ctx;
  const session = ctx?.oidc.session;
  if (ctx === undefined || session === undefined) throw new TypeError("a person types a user code");
  const hash = hashUserCode(seal, userCode);
  const { confirm, abort } = ctx.oidc.params ?? {};
  if (confirm !== undefined || abort !== undefined) {
    if (session.state?.["shown"] !== hash.toString("hex")) throw new UserCodeError("not_shown");
    return find(hash);
  }
  const ipPrefix = String(ctx.state["ipPrefix"] ?? "");
  // Outside the unit of work: a guess counts even if what follows is rolled back.
  const verdict = await throttleCode(knex, seal, {
    sessionUid: session.uid,
    ipPrefix,
    now: new Date(),
  });
  if (!verdict.allowed) throw new UserCodeError("throttled", verdict.retryAfter);
  const found = await find(hash);
  if (found !== undefined) await throttleCodeSuccess(await writer(knex), verdict);
  return found;
}
