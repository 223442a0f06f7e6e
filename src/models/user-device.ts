import type { TransactionOrKnex } from "objection";
import { lookUp } from "../database/look-up.ts";
import { uuidv7 } from "../lib/uuid.ts";
import { IdentifiedModel } from "./base.ts";

/** Milliseconds after which a browser that nobody used is a stranger again: thirteen months. */
export const DEVICE_LIFETIME = 395 * 24 * 60 * 60 * 1000;

/** A browser, as it was at a sign-in. */
interface DeviceSeen {
  readonly userId: string;
  readonly cookieHash: Buffer;
  readonly browserFamily: string | null;
  readonly osFamily: string | null;
  readonly country: string | null;
  readonly now: Date;
}

const MEMORY = lookUp(
  `SELECT bool_or(cookie_hash = k.cookieHash) AS is_known,
     array_agg(DISTINCT last_country) FILTER (WHERE last_country IS NOT NULL) AS countries
   FROM user_devices WHERE user_id = k.userId`,
  { userId: "uuid", cookieHash: "bytea" },
);

const NOTED = lookUp(
  `SELECT id FROM user_devices
   WHERE cookie_hash = k.cookieHash AND user_id = k.userId AND last_seen_on = k.today
     AND browser_family IS NOT DISTINCT FROM k.browserFamily AND os_family IS NOT DISTINCT FROM k.osFamily
     AND (k.country IS NULL OR last_country = k.country)`,
  {
    userId: "uuid",
    cookieHash: "bytea",
    browserFamily: "text",
    osFamily: "text",
    country: "text",
    today: "date",
  },
);

/** A browser that a person has signed in with; of its cookie only the hash is kept. */
export class UserDevice extends IdentifiedModel {
  static override tableName = "user_devices";
  declare userId: string;
  declare cookieHash: Buffer;
  declare browserFamily: string | null;
  declare osFamily: string | null;
  declare lastCountry: string | null;
  declare firstSeenAt: Date;
  declare lastSeenOn: string;

  /** Who has last used a browser before that day has never used it. */
  static oldestDay(now: Date): string {
    return dayOf(new Date(now.getTime() - DEVICE_LIFETIME));
  }

  /** What is known of the browsers of a person: whether this is one of them, and where they were last. */
  static async memory(
    db: TransactionOrKnex,
    of: { userId: string; cookieHash: Buffer | null },
  ): Promise<{ isKnown: boolean; countries: readonly string[] }> {
    const row = await UserDevice.lookUp<{ is_known: boolean; countries: string[] }>(db, MEMORY, of);
    return { isKnown: row?.is_known === true, countries: row?.countries ?? [] };
  }

  /** The browser of a sign-in, where all that {@link note} would write down is there already. */
  static async noted(db: TransactionOrKnex, seen: DeviceSeen): Promise<string | undefined> {
    const row = await UserDevice.lookUp<{ id: string }>(db, NOTED, {
      ...seen,
      today: dayOf(seen.now),
    });
    return row?.id;
  }

  /** Notes that a person has signed in with a browser; of two tabs one makes the row. `isNew` where there was none. */
  static async note(
    db: TransactionOrKnex,
    seen: DeviceSeen,
  ): Promise<{ id: string; isNew: boolean }> {
    const [row] = await UserDevice.statement<{ id: string; is_new: boolean }>(
      db,
      `INSERT INTO user_devices AS d
         (id, user_id, cookie_hash, browser_family, os_family, last_country, first_seen_at, last_seen_on)
       VALUES (:id, :userId, :cookieHash, :browserFamily, :osFamily, :country, :now, :today)
       ON CONFLICT (cookie_hash, user_id) DO UPDATE SET
         browser_family = EXCLUDED.browser_family,
         os_family = EXCLUDED.os_family,
         last_country = coalesce(EXCLUDED.last_country, d.last_country),
         last_seen_on = EXCLUDED.last_seen_on
       RETURNING id, xmax = 0 AS is_new`,
      { ...seen, id: uuidv7(seen.now.getTime()), today: dayOf(seen.now) },
    );
    if (row === undefined) throw new Error("a device is inserted or updated");
    return { id: row.id, isNew: row.is_new };
  }
}

function dayOf(moment: Date): string {
  return moment.toISOString().slice(0, 10);
}
