import type { TransactionOrKnex } from "objection";
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

/** What is known of the browsers of a person: the one that asks, if it is one of them, and where they were last. */
export interface KnownDevices {
  readonly here: {
    readonly id: string;
    readonly browser_family: string | null;
    readonly os_family: string | null;
    readonly last_country: string | null;
    readonly last_seen_on: string;
  } | null;
  readonly countries: readonly string[] | null;
}

/** Selects {@link KnownDevices} of somebody, `k.userId`, and the browser with a cookie, `k.device`, as JSON. */
export const SELECT_DEVICES = `(SELECT json_build_object(
    'here', (array_agg(to_json(d)) FILTER (WHERE d.cookie_hash = k.device))[1],
    'countries', array_agg(DISTINCT d.last_country) FILTER (WHERE d.last_country IS NOT NULL))
  FROM user_devices d WHERE d.user_id = k.userId)`;

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

  /** Whether all that {@link note} would write down of a browser is there already. */
  static isNoted(here: NonNullable<KnownDevices["here"]>, seen: DeviceSeen): boolean {
    return (
      here.last_seen_on === dayOf(seen.now) &&
      here.browser_family === seen.browserFamily &&
      here.os_family === seen.osFamily &&
      (seen.country === null || here.last_country === seen.country)
    );
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
