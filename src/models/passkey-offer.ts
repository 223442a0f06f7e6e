import type { TransactionOrKnex } from "objection";
import { BaseModel } from "./base.ts";

/** How often somebody is asked to create a passkey, and how long they are left alone in between. */
const MOST = 3;
const PAUSE = "interval '90 days'";

/** How often a user was asked to create a passkey, and whether they said to stop. */
export class PasskeyOffer extends BaseModel {
  static override tableName = "passkey_offers";
  static override idColumn = "userId";
  declare userId: string;
  declare times: number;
  declare lastAt: Date;
  declare declinedAt: Date | null;

  /**
   * Whether a user may be asked now who has no passkey for this relying party; where they used one that is in another
   * device, whether they have none in this one.
   *
   * @param asked.device the hash of the cookie of the browser.
   */
  static async isDue(
    db: TransactionOrKnex,
    asked: {
      userId: string;
      rpId: string;
      isByOtherDevice: boolean;
      device: Buffer | undefined;
      now: Date;
    },
  ): Promise<boolean> {
    const rows = await PasskeyOffer.statement(
      db,
      `SELECT FROM users u LEFT JOIN passkey_offers o ON o.user_id = u.id
       WHERE u.id = :userId AND (o.user_id IS NULL OR (${ALLOWED}))
         AND NOT EXISTS (SELECT FROM webauthn_credentials c LEFT JOIN user_devices d ON d.id = c.last_device_id
           WHERE c.user_id = u.id AND c.rp_id = :rpId
             AND (NOT :isByOtherDevice OR (c.is_built_in AND d.cookie_hash = CAST(:device AS bytea))))`,
      { ...asked, device: asked.device ?? null },
    );
    return rows.length === 1;
  }

  /** Counts that a user is asked now. Of any number of callers exactly one gets `true`. */
  static async claim(db: TransactionOrKnex, userId: string, now: Date): Promise<boolean> {
    const rows = await PasskeyOffer.statement(
      db,
      `INSERT INTO passkey_offers AS o (user_id, times, last_at) VALUES (:userId, 1, :now)
       ON CONFLICT (user_id) DO UPDATE SET times = o.times + 1, last_at = :now WHERE ${ALLOWED} RETURNING 1`,
      { userId, now },
    );
    return rows.length === 1;
  }
}

const ALLOWED = `o.declined_at IS NULL AND o.times < ${MOST}
  AND o.last_at < CAST(:now AS timestamptz) - ${PAUSE}`;
