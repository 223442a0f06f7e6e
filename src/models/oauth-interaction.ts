import type { TransactionOrKnex } from "objection";
import { lookUp } from "../database/look-up.ts";
import type { Statement } from "../database/statement.ts";
import { BaseModel } from "./base.ts";
import { selectConsent, type ConsentJson } from "./oauth-consent.ts";
import { selectUser, type UserJson } from "./user.ts";

/** With whoever is about to be signed in by it, or is signed in already, and what they have decided about the client. */
const FIND = lookUp(
  `SELECT i.payload_enc AS payload, i.browser_hash AS browser, i.as_of, ${selectUser("i.user_id")} AS account,
     ${selectConsent("i.user_id", "(SELECT o.id FROM oauth_clients o WHERE o.client_id = i.client_id)")} AS consent
   FROM oauth_interactions i WHERE i.uid_hash = k.uidHash`,
  { uidHash: "bytea" },
);

interface InteractionRow {
  readonly payload: Buffer | null;
  readonly browser: Buffer | null;
  readonly as_of: Date | null;
  readonly account: UserJson | null;
  readonly consent: ConsentJson | null;
}

/**
 * A sign-in in progress. What it holds is sealed, because its id is the value of a cookie and its parameters are
 * personal. When it ends the content goes and the row stays for 30 days, so that its address can still be explained.
 */
export class OAuthInteraction extends BaseModel {
  static override tableName = "oauth_interactions";
  static override idColumn = "uidHash";
  declare uidHash: Buffer;
  /** The client's public identifier. */
  declare clientId: string | null;
  declare userId: string | null;
  /** Where it ended with a sign-in: {@link User.overtakenAt} as it was then, so that nothing changed unnoticed since. */
  declare asOf: Date | null;
  /** Of the cookie by which its browser is known again. */
  declare browserHash: Buffer | null;
  declare payloadEnc: Buffer | null;
  declare createdAt: Date;
  declare expiresAt: Date;
  declare finishedAt: Date | null;
  declare gcAt: Date;

  /**
   * The write that begins an interaction, or keeps what it has come to; one that has ended stays as it is. Of several
   * that are written together, two tabs' for example, the last one is kept.
   */
  static saving(interaction: {
    uidHash: Buffer;
    clientId: string | null;
    userId: string | null;
    asOf: Date | null;
    browserHash: Buffer | null;
    payloadEnc: Buffer;
    expiresAt: Date;
  }): Statement {
    return {
      sql: `INSERT INTO oauth_interactions AS i (uid_hash, client_id, user_id, as_of, browser_hash, payload_enc, expires_at, gc_at)
       SELECT DISTINCT ON (k.uidHash)
         k.uidHash, k.clientId, k.userId, k.asOf, k.browserHash, k.payloadEnc, k.expiresAt, k.expiresAt + interval '30 days'
       FROM :each ORDER BY k.uidHash, k.n DESC
       ON CONFLICT (uid_hash) DO UPDATE SET payload_enc = EXCLUDED.payload_enc, user_id = EXCLUDED.user_id,
         as_of = EXCLUDED.as_of, expires_at = EXCLUDED.expires_at, gc_at = EXCLUDED.gc_at
       WHERE i.finished_at IS NULL`,
      each: {
        uidHash: "bytea",
        clientId: "text",
        userId: "uuid",
        asOf: "timestamptz",
        browserHash: "bytea",
        payloadEnc: "bytea",
        expiresAt: "timestamptz",
      },
      bindings: interaction,
    };
  }

  /** What an interaction holds, which browser has it, and whom it is about. */
  static async find(db: TransactionOrKnex, uidHash: Buffer): Promise<InteractionRow | undefined> {
    return OAuthInteraction.lookUp(db, FIND, { uidHash });
  }

  /**
   * The write that ends an interaction, and answers `k.n` for exactly one of any number; for nobody where the sign-in that
   * it ends with counts no more. Whoever is about to make it so waits until the session that it begins is there to be
   * ended.
   */
  static finishing(uidHash: Buffer, now: Date): Statement {
    return {
      sql: `UPDATE oauth_interactions i SET finished_at = k.now, payload_enc = NULL
       FROM :each WHERE i.uid_hash = k.uidHash AND i.uid_hash = ANY(:uidHash) AND i.finished_at IS NULL
         AND (i.as_of IS NULL OR EXISTS (SELECT FROM users u WHERE u.id = i.user_id AND i.as_of = coalesce(
           date_trunc('milliseconds', greatest(u.credentials_changed_at, u.sessions_valid_after)), to_timestamp(0)) FOR SHARE))
       RETURNING k.n::int`,
      each: { uidHash: "bytea", now: "timestamptz" },
      bindings: { uidHash, now },
    };
  }

  /**
   * The write that ends everything that a browser has begun and not finished, except one interaction: whoever signs out leaves
   * nothing half done behind.
   */
  static finishingOfBrowser(browserHash: Buffer, except: Buffer, now: Date): Statement {
    return {
      sql: `UPDATE oauth_interactions SET finished_at = :now, payload_enc = NULL
       WHERE browser_hash = :browserHash AND uid_hash <> :except AND finished_at IS NULL`,
      bindings: { browserHash, except, now },
    };
  }
}
