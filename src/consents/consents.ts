import type { Client } from "oidc-provider";
import type { TransactionOrKnex } from "objection";
import type { Statement } from "../database/statement.ts";
import { uuidv7 } from "../lib/uuid.ts";
import { OAuthConsent } from "../models/oauth-consent.ts";

/** What a person has decided about a client so far. */
export async function findConsent(
  db: TransactionOrKnex,
  userId: string,
  client: Client,
): Promise<OAuthConsent | undefined> {
  return OAuthConsent.find(db, { userId, clientId: internalId(client) });
}

/**
 * Which of the requested scopes a person has not yet decided about. A first-party client is the operator's own:
 * nothing is asked.
 */
export function undecidedScopes(
  requested: readonly string[],
  client: Client,
  consent: Pick<OAuthConsent, "scopes" | "rejectedScopes"> | undefined,
): string[] {
  if (isFirstParty(client)) return [];
  const decided = new Set([...(consent?.scopes ?? []), ...(consent?.rejectedScopes ?? [])]);
  return requested.filter((scope) => !decided.has(scope));
}

/**
 * Whether a person is asked although everything was decided before: the client asked for it (`prompt=consent`), or
 * nobody but its own address vouches for it, or it cannot prove who it is and lives on the person's device, under an address that any other program could claim too
 * (RFC 8252 §8.6).
 */
export function isAlwaysAsked(
  client: Client,
  prompts: ReadonlySet<string>,
  redirectUri: string | undefined,
): boolean {
  if (prompts.has("consent")) return true;
  if (isFirstParty(client)) return false;
  if (isKnownByAddress(client)) return true;
  const provesNothing = client.applicationType === "native" || client.clientAuthMethod === "none";
  return provesNothing && redirectUri?.startsWith("https:") !== true;
}

/** The write that adds a decision to what was decided before. Two tabs may answer at once; both answers count. */
export function savingConsent(decision: {
  userId: string;
  client: Client;
  scopes: readonly string[];
  rejectedScopes: readonly string[];
  now: Date;
}): Statement {
  return {
    sql: `INSERT INTO oauth_consents AS c (id, user_id, client_id, scopes, rejected_scopes, granted_at, updated_at)
     VALUES (:id, :userId, :clientId, :scopes, :rejectedScopes, :now, :now)
     ON CONFLICT (user_id, client_id) WHERE revoked_at IS NULL DO UPDATE SET
       scopes = ARRAY(SELECT DISTINCT unnest(c.scopes || EXCLUDED.scopes)
                      EXCEPT SELECT unnest(EXCLUDED.rejected_scopes)),
       rejected_scopes = ARRAY(SELECT DISTINCT unnest(c.rejected_scopes || EXCLUDED.rejected_scopes)
                               EXCEPT SELECT unnest(EXCLUDED.scopes)),
       updated_at = EXCLUDED.updated_at`,
    bindings: {
      id: uuidv7(),
      userId: decision.userId,
      clientId: internalId(decision.client),
      scopes: [...decision.scopes],
      rejectedScopes: [...decision.rejectedScopes],
      now: decision.now,
    },
  };
}

/** Whether the client is the operator's own, so that nobody is asked for consent. */
export function isFirstParty(client: Client): boolean {
  return client["first_party"] === true;
}

/** Whether the client is one that nobody registered: its identifier is the address of a document about it. */
export function isKnownByAddress(client: Client): boolean {
  return client["from_document"] === true;
}

/** The key of the client's row; its public identifier is `clientId`. */
export function internalId(client: Client): string {
  const id = client["internal_id"];
  if (typeof id !== "string") throw new TypeError(`client ${client.clientId} has no row`);
  return id;
}

/** The same for what is written down about a client; our own pages have no row. */
export function recordedId(client: Client): string | undefined {
  const id = client["internal_id"];
  return typeof id === "string" ? id : undefined;
}
