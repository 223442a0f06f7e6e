import type { Knex } from "knex";
import type { TransactionOrKnex } from "objection";
import { errors, Provider } from "oidc-provider";
import { throttleNewClient } from "../authn/throttle.ts";
import { isHostAllowed } from "../clients/document.ts";
import { writer } from "../database/transaction.ts";
import { DECOUPLED_GRANTS, type Issuer } from "../issuers.ts";
import type { Seal } from "../keys/seal.ts";
import { OAuthClient } from "../models/oauth-client.ts";

const DAY = 86_400_000;

/** What an operator says of clients that register themselves. */
export type RegistrationPolicy = Pick<
  Issuer,
  "name" | "registration" | "registrationQuota" | "registrationHosts" | "registrationTypes"
>;

/**
 * Keeps those without an initial access token from registering clients without end (RFC 7591 §5): so many an hour
 * from one network, and so many a day altogether. A token counts its uses itself.
 *
 * @throws the engine's TemporarilyUnavailable, with status 429.
 */
export async function assertQuota(
  { knex, seal }: { knex: Knex; seal: Seal },
  { name, registrationQuota: quota }: RegistrationPolicy,
): Promise<void> {
  const { ctx } = Provider;
  if (quota === undefined || ctx?.oidc.entities.InitialAccessToken !== undefined) return;
  const now = new Date();
  const ipPrefix = String(ctx?.state["ipPrefix"] ?? "");
  // In the unit of work, whose connection is already held: waiting for another would be waiting for each other.
  const db = await writer(knex);
  const isFine = await throttleNewClient(db, seal, { scope: "registration", ipPrefix, now });
  const today = await newToday(db, { issuer: name, isDynamic: true }, now);
  if (!isFine || today >= quota) throw tooMany();
}

/**
 * Keeps whoever names one unknown document after another from having us fetch and keep them all (Client ID Metadata
 * Document §8.7): so many an hour from one network, and so many that are kept a day.
 *
 * @throws the engine's TemporarilyUnavailable, with status 429.
 */
export async function assertDocumentQuota(
  { knex, seal }: { knex: Knex; seal: Seal },
  { name, registrationQuota: quota = Infinity }: Pick<Issuer, "name" | "registrationQuota">,
): Promise<void> {
  const now = new Date();
  const ipPrefix = String(Provider.ctx?.state["ipPrefix"] ?? "");
  if (!(await throttleNewClient(knex, seal, { scope: "document", ipPrefix, now }))) throw tooMany();
  if ((await newToday(knex, { issuer: name, fromDocument: true }, now)) >= quota) throw tooMany();
}

async function newToday(
  db: TransactionOrKnex,
  which: { issuer: string; isDynamic?: true; fromDocument?: true },
  now: Date,
): Promise<number> {
  const dayAgo = new Date(now.getTime() - DAY);
  return OAuthClient.query(db).where(which).where("createdAt", ">", dayAgo).resultSize();
}

function tooMany(): Error {
  const error = new errors.TemporarilyUnavailable("too many clients are new");
  return Object.assign(error, { status: 429, statusCode: 429 });
}

/**
 * Holds clients that nobody else registered to what the operator lets them ask people for in their own words (RFC 9396
 * §10); what one has already, an operator gave it.
 *
 * @throws the engine's InvalidClientMetadata
 */
export function assertTypes(
  { registrationTypes: allowed }: RegistrationPolicy,
  { authorization_details_types: types }: Readonly<Record<string, unknown>>,
  had: readonly string[],
): void {
  const asked: unknown[] = Array.isArray(types) ? types : [];
  const wrong = asked.filter((type) => ![...allowed, ...had].includes(String(type)));
  if (wrong.length > 0)
    throw new errors.InvalidClientMetadata(
      `authorization_details_types must not have ${wrong.join(", ")}, unless an operator adds it`,
    );
}

/**
 * Keeps strangers from reaching people who never heard of them: where anybody may register, nobody registers for
 * requests that a mail is sent about (CIBA Core §13).
 *
 * @throws the engine's InvalidClientMetadata
 */
export function assertGrants(
  { registration, registrationQuota }: RegistrationPolicy,
  { grant_types: grants }: Readonly<Record<string, unknown>>,
): void {
  const isOpen = registration === "open" && registrationQuota !== undefined;
  if (isOpen && Array.isArray(grants) && grants.includes(DECOUPLED_GRANTS.ciba))
    throw new errors.InvalidClientMetadata(
      `grant_types must not have ${DECOUPLED_GRANTS.ciba} where anybody may register`,
    );
}

/**
 * Holds a client to the hosts that may register here.
 *
 * @throws the engine's InvalidClientMetadata, as `invalid_redirect_uri` (RFC 7591 §3.2.2).
 */
export function assertHosts(
  { registrationHosts: hosts }: RegistrationPolicy,
  { redirect_uris: redirects }: Readonly<Record<string, unknown>>,
): void {
  if (hosts.length === 0 || !Array.isArray(redirects)) return;
  for (const address of redirects)
    if (!isHostAllowed(String(address), hosts))
      throw new errors.InvalidClientMetadata(
        "redirect_uris must be on hosts that may register here",
      );
}
