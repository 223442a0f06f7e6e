import { createHash } from "node:crypto";
import type { Knex } from "knex";
import { z } from "zod";
import { askForNewPasskey, checkNewPasskey } from "../authn/passkeys.ts";
import { writer } from "../database/transaction.ts";
import type { PasskeyView } from "../views.ts";
import type { Registration } from "./flow.ts";
import { refusal, type Refusal } from "./letter.ts";
import type { Visit } from "./visit.ts";

/** What the form brings along where scripts run. */
export const newPasskeyFields = {
  passkey_response: z.string().max(20_000).default(""),
  passkey_via: z.enum(["", "button"]).default(""),
};

/** What a page needs on which somebody makes the passkey of an account that is not there yet (WebAuthn §5.4). */
export async function newPasskeyQuestion(
  knex: Knex,
  visit: Visit,
  productName: string,
): Promise<{ passkey?: PasskeyView }> {
  const { relyingParty, interaction, progress } = visit;
  const { registration } = progress;
  if (relyingParty === undefined || registration === undefined) return {};
  const user = { webauthnUserHandle: userHandleOf(visit, registration) };
  const options = await askForNewPasskey(
    await writer(knex),
    relyingParty,
    occasionOf(visit),
    {
      owner: { user, name: registration.email, displayName: registration.email },
      productName,
    },
    { now: new Date(), until: new Date(interaction.exp * 1000) },
  );
  return { passkey: { options: JSON.stringify(options) } };
}

/** Keeps the passkey with the registration, until there is an account that it belongs to. */
export async function choosePasskey(
  knex: Knex,
  visit: Visit,
  registration: Registration,
  answer: string,
): Promise<Registration | Refusal> {
  const failed = refusal({ field: "passkey-create", message: "err.passkey.not_made" }, 422);
  const { relyingParty } = visit;
  if (relyingParty === undefined) return failed;
  const db = await writer(knex);
  const now = new Date();
  const made = await checkNewPasskey(db, relyingParty, occasionOf(visit), answer, { now });
  return "refused" in made ? failed : { ...registration, passkey: made.passkey };
}

/**
 * The user handle of the account to come: 64 bytes (WebAuthn §5.4.3) that are the same on every page of this
 * registration, of no other, and that nobody can guess who does not have its cookie.
 */
export function userHandleOf({ interaction }: Visit, { letter }: Registration): Buffer {
  return createHash("sha512").update(`user handle ${interaction.uid} ${letter}`).digest();
}

function occasionOf({ interaction }: Visit) {
  return { purpose: "register", of: interaction.uid } as const;
}
