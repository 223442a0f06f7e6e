import type { Context } from "koa";
import type { Knex } from "knex";
import { z } from "zod";
import { record, recordAtEnd } from "../audit/record.ts";
import type { Method } from "../authn/levels.ts";
import {
  askForPasskey,
  signInWithPasskey,
  type Occasion,
  type PasskeySignIn,
} from "../authn/passkeys.ts";
import { recordedId } from "../consents/consents.ts";
import { reader, writer } from "../database/transaction.ts";
import { originOf } from "../http/origin.ts";
import type { User } from "../models/user.ts";
import type { FieldError, PasskeyView } from "../views.ts";
import type { Progress } from "./flow.ts";
import type { Visit } from "./visit.ts";

/** What a form brings along where scripts run: an answer, how it was given, and whether a passkey could be made. */
export const passkeyFields = {
  passkey_response: z.string().max(20_000).default(""),
  passkey_via: z.enum(["", "autofill", "button"]).default(""),
  passkey_can: z.enum(["", "1"]).default(""),
};

/** An answer that somebody sent, and what it was the answer to. */
export interface PasskeyAnswer {
  readonly answer: string;
  readonly via: z.output<typeof passkeyFields.passkey_via>;
  readonly purpose: "sign_in" | "second_factor";
  /** Who was asked, where the question said so. */
  readonly userId?: string | undefined;
}

export type PasskeyOutcome =
  | {
      readonly user: User;
      readonly shown: { readonly method: Method; readonly at: number };
      readonly passkey: NonNullable<Progress["passkey"]>;
    }
  | {
      readonly errors: FieldError[];
      readonly status: number;
      /** What the browser is to tell its password manager. */
      readonly signal?: string;
    };

/** What a page needs for a passkey to be used on it; nothing where browsers have none for this issuer. */
export async function passkeyQuestion(
  knex: Knex,
  { interaction, relyingParty }: Visit,
  occasion: Pick<Occasion, "purpose" | "userId">,
  signal?: string,
): Promise<{ passkey?: PasskeyView }> {
  if (relyingParty === undefined) return {};
  const options = await askForPasskey(
    // Kept at once, where nothing of this request is open: one that nobody comes to answer does no harm.
    reader(knex),
    relyingParty,
    { ...occasion, of: interaction.uid },
    // The page may be answered as long as it is good for anything (ux.md P1).
    { now: new Date(), until: new Date(interaction.exp * 1000) },
  );
  return {
    passkey: { options: JSON.stringify(options), ...(signal === undefined ? {} : { signal }) },
  };
}

/** Checks the answer of an authenticator and records what came of it. */
export async function provePasskey(
  knex: Knex,
  ctx: Context,
  { interaction, client, relyingParty }: Visit,
  { answer, via, purpose, userId }: PasskeyAnswer,
): Promise<PasskeyOutcome> {
  if (relyingParty === undefined) return refuse("err.passkey.failed");
  const now = new Date();
  const occasion = { purpose, of: interaction.uid, userId };
  const outcome = await signInWithPasskey(knex, relyingParty, occasion, answer, now);
  const db = await writer(knex);
  const method = purpose === "sign_in" ? "passkey" : "webauthn";
  const about = { ...originOf(ctx), clientId: recordedId(client) };
  if ("refused" in outcome) {
    await recordRefusal(db, about, method, outcome);
    if (outcome.refused !== "unknown") return refuse("err.passkey.failed");
    const unknown = { rpId: relyingParty.id, credentialId: outcome.credentialId };
    return {
      ...refuse("err.passkey.unknown"),
      signal: JSON.stringify({ signalUnknownCredential: unknown }),
    };
  }
  const { user, passkeyId, reach } = outcome;
  const whose = { ...about, actor: { type: "user", id: user.id }, userId: user.id } as const;
  if (!user.isActive) {
    await record(db, { ...whose, type: "login.failed", details: { method, reason: "disabled" } });
    return { ...refuse("err.account.disabled"), status: 403 };
  }
  const target = { type: "webauthn_credential", id: passkeyId };
  await recordAtEnd(knex, { ...whose, type: "passkey.used", target, details: { via } });
  const passkey = { id: passkeyId, reach };
  return { user, shown: { method, at: now.getTime() / 1000 }, passkey };
}

/** Where a passkey is that was made here just now. */
export function madeHere({ id, isBuiltIn }: { id: string; isBuiltIn: boolean }) {
  return { passkey: { id, reach: isBuiltIn ? "built-in" : "elsewhere" } } as const;
}

/** An error of a passkey belongs to the button by which it is tried again. */
export function refuse(message: FieldError["message"]): { errors: FieldError[]; status: number } {
  return { errors: [{ field: "passkey-button", message }], status: 401 };
}

async function recordRefusal(
  db: Awaited<ReturnType<typeof writer>>,
  about: { clientId: string | undefined },
  method: Method,
  { refused, userId, passkeyId }: Extract<PasskeySignIn, { refused: unknown }>,
): Promise<void> {
  const whose = { ...about, actor: { type: "anonymous" }, userId } as const;
  await record(db, { ...whose, type: "login.failed", details: { method, reason: refused } });
  if (refused !== "cloned" || passkeyId === undefined) return;
  const target = { type: "webauthn_credential", id: passkeyId };
  await record(db, { ...whose, type: "passkey.clone_suspected", target });
}
