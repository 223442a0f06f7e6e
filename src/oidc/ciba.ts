import {
  errors,
  type CIBAConfiguration,
  type Client,
  type KoaContextWithOIDC,
} from "oidc-provider";
import type { Knex } from "knex";
import { record } from "../audit/record.ts";
import { findByIdentifier, readIdentifier, type Identifier } from "../authn/identifier.ts";
import { throttleHint, throttleRequest } from "../authn/throttle.ts";
import { internalId } from "../consents/consents.ts";
import { reader, writer } from "../database/transaction.ts";
import type { Issuer } from "../issuers.ts";
import type { Seal } from "../keys/seal.ts";
import { sha256 } from "../lib/secret.ts";
import { isUuid } from "../lib/uuid.ts";
import type { Mailer } from "../mail/mailer.ts";
import { DecoupledAuthorization } from "../models/decoupled-authorization.ts";
import { UserEmail } from "../models/user-email.ts";
import { scopesAskedFor } from "../users/claims.ts";

export interface CibaNeeds {
  knex: Knex;
  seal: Seal;
  issuer: Issuer;
  mailer: Mailer;
}

/** How many requests of one client may wait for one person. */
const MOST_WAITING = 5;
/** Longest message that a person compares, in characters. */
const LONGEST_MESSAGE = 100;
/** Seconds between the beginning and the end of a signed request (FAPI-CIBA §5.2.2). */
const LONGEST_REQUEST = 3600;
/** Controls, and characters that are invisible or change the direction of others. */
const DECEPTIVE = /[\p{Cc}\p{Cf}\p{Co}\p{Cs}\p{Zl}\p{Zp}\p{Default_Ignorable_Code_Point}]/u;

/**
 * Requests that a person approves elsewhere (OpenID Connect CIBA Core 1.0), by polling or after a ping. `push` is not
 * offered: it hands tokens to whoever answers at an address.
 */
export function ciba(needs: CibaNeeds): CIBAConfiguration {
  const { issuer } = needs;
  return {
    enabled: issuer.preset.decoupled.includes("ciba"),
    deliveryModes: ["poll", "ping"],
    processLoginHint: (ctx, hint) => userOfHint(needs, ctx, hint ?? ""),
    processLoginHintToken() {
      throw new errors.InvalidRequest("login_hint_token is not supported, so send login_hint");
    },
    validateBindingMessage: (_ctx, message) => assertReadable(issuer, message),
    // Nothing here is decided by a context, so there is none that would be wrong.
    validateRequestContext: () => {},
    // The one hook between knowing the person and asking them.
    verifyUserCode: (ctx, account) => assertNotFlooded(needs, ctx, account.accountId),
    triggerAuthenticationDevice: (ctx, request, account, client) =>
      ask(needs, ctx, { jti: request.jti, userId: account.accountId, client }),
  };
}

/**
 * Whom a hint means: a verified address, a username or, for clients that know people by it, a subject. Nobody, somebody
 * disabled and somebody unknown look the same, and a client that names many of them is stopped (CIBA Core §13).
 */
async function userOfHint(
  { knex, seal }: CibaNeeds,
  { oidc: { client } }: KoaContextWithOIDC,
  hint: string,
): Promise<string | undefined> {
  if (client === undefined) return undefined;
  const isSubject = isUuid(hint) && client.subjectType === "public";
  const identifier = readIdentifier(hint);
  const found = await findByIdentifier(reader(knex), identifier);
  if (found?.user.isActive === true && (await isTheirs(knex, found.user.id, identifier)))
    return found.user.id;
  if (isSubject) return hint;
  if (await throttleHint(await writer(knex), seal, { clientId: client.clientId, now: new Date() }))
    return undefined;
  throw denied(429, "too many login hints named nobody, so wait");
}

/** Whether nobody else could have claimed it: an address counts once its owner has verified it. */
async function isTheirs(
  knex: Knex,
  userId: string,
  identifier: Identifier | undefined,
): Promise<boolean> {
  if (identifier?.kind !== "email") return true;
  const email = await UserEmail.query(reader(knex))
    .findOne({ userId, emailNorm: identifier.value })
    .whereNotNull("verifiedAt");
  return email !== undefined;
}

/** CIBA Core §7.1: short plain text; FAPI-CIBA §5.2.2 wants one in every request. */
function assertReadable({ preset }: Issuer, message: string | undefined): void {
  if (message === undefined) {
    if (preset.fapi === undefined) return;
    throw new errors.InvalidBindingMessage("binding_message is needed at this issuer");
  }
  if (message.trim() === "" || DECEPTIVE.test(message) || [...message].length > LONGEST_MESSAGE)
    throw new errors.InvalidBindingMessage(
      `binding_message must be plain text of at most ${LONGEST_MESSAGE} characters`,
    );
}

/** Nobody is worn down with requests until they approve one. */
async function assertNotFlooded(
  { knex, seal }: CibaNeeds,
  { oidc: { client } }: KoaContextWithOIDC,
  userId: string,
): Promise<void> {
  if (client === undefined) return;
  // In the unit of work, whose connection may be held: waiting for another would be waiting for each other.
  const clientId = internalId(client);
  if (!(await throttleRequest(await writer(knex), seal, { clientId, userId, now: new Date() })))
    throw denied(429, "this person was asked too often, so wait");
  const waiting = await DecoupledAuthorization.pendingOf(reader(knex), userId, new Date())
    .where({ clientId })
    .resultSize();
  if (waiting >= MOST_WAITING) throw denied(403, "too many requests wait for this person");
}

/** Tells the person by mail; the request is on their home page as well. */
async function ask(
  { knex, issuer, mailer }: CibaNeeds,
  ctx: KoaContextWithOIDC,
  { jti, userId, client }: { jti: string; userId: string; client: Client },
): Promise<void> {
  const db = await writer(knex);
  const row = await DecoupledAuthorization.query(db).findOne({ codeHash: sha256(jti) });
  if (row === undefined) throw new Error("a request is stored before anybody is asked");
  const params = ctx.oidc.params ?? {};
  const { binding_message: message } = params;
  await mailer.cibaRequest(db, {
    userId,
    clientName: client.clientName ?? client.clientId,
    bindingMessage: typeof message === "string" ? message : "",
    url: `${issuer.url}/approve/${row.id}`,
    expiresAt: row.expiresAt,
  });
  await record(db, {
    type: "ciba.requested",
    actor: { type: "client", id: row.clientId },
    userId,
    clientId: row.clientId,
    target: { type: "decoupled_authorization", id: row.id },
    requestId: ctx.state["correlationId"] as string | undefined,
    ipPrefix: ctx.state["ipPrefix"] as string | undefined,
    details: { scopes: scopesAskedFor(params) },
  });
}

function denied(status: 403 | 429, description: string): errors.OIDCProviderError {
  return Object.assign(new errors.AccessDenied(description), { status, statusCode: status });
}

/**
 * A signed authentication request says who made it, for whom, from when to when, and is used once (CIBA Core §7.1.1,
 * FAPI-CIBA §5.2.2). The engine has checked the signature's key and whatever of these claims there is.
 */
export async function assertSignedRequest(
  ctx: KoaContextWithOIDC,
  claims: Readonly<Record<string, unknown>>,
  client: Client,
): Promise<void> {
  if (ctx.oidc.route !== "backchannel_authentication") return;
  for (const name of ["iss", "aud", "exp", "iat", "nbf", "jti"])
    if (claims[name] === undefined)
      throw new errors.InvalidRequest(`the signed request must have ${name}`);
  const [exp, nbf] = [Number(claims["exp"]), Number(claims["nbf"])];
  if (exp - nbf > LONGEST_REQUEST)
    throw new errors.InvalidRequest(
      `the signed request must end ${LONGEST_REQUEST} seconds after nbf at the latest`,
    );
  const isNew = await ctx.oidc.provider.ReplayDetection.unique(
    client.clientId,
    `ciba:${String(claims["jti"])}`,
    exp,
  );
  if (!isNew) throw new errors.InvalidRequest("the signed request was already used");
}
