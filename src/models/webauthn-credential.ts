import type { TransactionOrKnex } from "objection";
import { lookUp } from "../database/look-up.ts";
import type { Statement } from "../database/statement.ts";
import { uuidv7 } from "../lib/uuid.ts";
import { IdentifiedModel } from "./base.ts";
import { selectUser, User, type UserJson } from "./user.ts";

/** The most passkeys that a person may have. */
const MOST = 20;

const FIND_WITH_USER = lookUp(
  `SELECT w.id, w.user_id, w.credential_id, w.public_key, w.rp_id, w.sign_count, w.aaguid, w.transports,
     w.backup_eligible, w.backed_up, w.name, w.clone_warning_at, w.last_used_at, w.last_device_id, w.is_built_in,
     w.created_at, ${selectUser("w.user_id")} AS account
   FROM webauthn_credentials w WHERE w.credential_id = k.credentialId AND w.rp_id = k.rpId`,
  { credentialId: "bytea", rpId: "text" },
);

/** A passkey: the public half of a key pair that an authenticator made for one user (WebAuthn §4, credential record). */
export class WebauthnCredential extends IdentifiedModel {
  static override tableName = "webauthn_credentials";
  declare userId: string;
  /** As the authenticator names it; unique among all users. */
  declare credentialId: Buffer;
  /** A COSE_Key (RFC 9052 §7). */
  declare publicKey: Buffer;
  /** The relying party that it is scoped to; no browser offers it to another. */
  declare rpId: string;
  /** As text, because it is a bigint; zero for those that do not count. */
  declare signCount: string;
  declare aaguid: string | null;
  declare transports: string[];
  declare backupEligible: boolean;
  declare backedUp: boolean;
  declare name: string;
  /** When its counter last went backwards. */
  declare cloneWarningAt: Date | null;
  declare lastUsedAt: Date | null;
  /** The browser with which it was last made or used, of those that the user has signed in with. */
  declare lastDeviceId: string | null;
  /** Whether it was in the device that the browser is on, and not in another or in somebody's hand. */
  declare isBuiltIn: boolean;
  declare createdAt: Date;

  /** A user's passkeys for a relying party, the oldest first. */
  static of(db: TransactionOrKnex, userId: string, rpId: string) {
    return WebauthnCredential.query(db).where({ userId, rpId }).orderBy(["createdAt", "id"]);
  }

  /** The passkey that an authenticator names, and whose it is. */
  static async findWithUser(
    db: TransactionOrKnex,
    named: { credentialId: Buffer; rpId: string },
  ): Promise<{ passkey: WebauthnCredential; user: User } | undefined> {
    const row = await WebauthnCredential.lookUp<{ account: UserJson }>(db, FIND_WITH_USER, named);
    if (row === undefined) return undefined;
    const { account, ...columns } = row;
    return { passkey: WebauthnCredential.fromRow(columns), user: User.withClaims(account) };
  }

  /**
   * Adds a passkey.
   *
   * @returns its id, or `undefined` where somebody has a passkey with this credential id or the user has too many.
   */
  static async add(
    db: TransactionOrKnex,
    passkey: Pick<
      WebauthnCredential,
      | "userId"
      | "credentialId"
      | "publicKey"
      | "rpId"
      | "aaguid"
      | "transports"
      | "backupEligible"
      | "backedUp"
      | "name"
      | "createdAt"
      | "isBuiltIn"
    > & { signCount: number },
  ): Promise<string | undefined> {
    const rows = await WebauthnCredential.statement<{ id: string }>(
      db,
      `INSERT INTO webauthn_credentials (id, user_id, credential_id, public_key, rp_id, sign_count, aaguid, transports,
         backup_eligible, backed_up, is_built_in, name, created_at)
       SELECT :id, :userId, :credentialId, :publicKey, :rpId, :signCount, :aaguid, :transports,
         :backupEligible, :backedUp, :isBuiltIn, :name, :createdAt
       WHERE (SELECT count(*) FROM webauthn_credentials WHERE user_id = :userId) < ${MOST}
       ON CONFLICT (credential_id) DO NOTHING RETURNING id`,
      { ...passkey, id: uuidv7() },
    );
    return rows[0]?.id;
  }

  /**
   * Takes note of a use whose signature was right. Parallel uses of a counting authenticator are one after the other.
   *
   * @returns `false` where the counter did not go up although it counts: somebody may have a copy (WebAuthn §6.1.1).
   */
  static async use(
    db: TransactionOrKnex,
    use: { id: string; signCount: number; backedUp: boolean; now: Date },
  ): Promise<boolean> {
    const rows = await WebauthnCredential.statement(
      db,
      `UPDATE webauthn_credentials SET sign_count = :signCount, backed_up = :backedUp, last_used_at = :now
       WHERE id = :id AND (sign_count < :signCount OR (sign_count = 0 AND CAST(:signCount AS bigint) = 0)) RETURNING 1`,
      use,
    );
    if (rows.length === 1) return true;
    await WebauthnCredential.query(db).findById(use.id).patch({ cloneWarningAt: use.now });
    return false;
  }

  /** The write that notes with which of the user's browsers it was made or used, where that is not known already. */
  static notingDevice(made: { id: string; deviceId: string; isBuiltIn: boolean }): Statement {
    return {
      sql: `UPDATE webauthn_credentials w SET last_device_id = k.deviceId, is_built_in = k.isBuiltIn
       FROM :each WHERE w.id = k.id AND w.id = ANY(:id)
         AND (w.last_device_id, w.is_built_in) IS DISTINCT FROM (k.deviceId, k.isBuiltIn)`,
      each: { id: "uuid", deviceId: "uuid", isBuiltIn: "boolean" },
      bindings: made,
    };
  }

  /**
   * Removes a user's passkey unless the user could not sign in any more.
   *
   * @returns what it was, or `undefined` where it is not theirs or their last way in. Call it in a transaction.
   */
  static async remove(
    db: TransactionOrKnex,
    { id, userId }: { id: string; userId: string },
  ): Promise<{ name: string } | undefined> {
    // Of two who remove the last two passkeys at once, the second sees what the first one did.
    await WebauthnCredential.statement(db, "SELECT FROM users WHERE id = :userId FOR UPDATE", {
      userId,
    });
    const rows = await WebauthnCredential.statement<{ name: string }>(
      db,
      `DELETE FROM webauthn_credentials c WHERE id = :id AND user_id = :userId
         AND (EXISTS (SELECT FROM user_passwords p WHERE p.user_id = c.user_id)
           OR EXISTS (SELECT FROM webauthn_credentials o WHERE o.user_id = c.user_id AND o.id <> c.id)
           OR EXISTS (SELECT FROM identities i JOIN identity_providers p ON p.id = i.provider_id
                WHERE i.user_id = c.user_id AND p.enabled))
       RETURNING name`,
      { id, userId },
    );
    return rows[0];
  }
}
