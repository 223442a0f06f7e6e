import type { TransactionOrKnex } from "objection";
import { Session } from "../models/session.ts";
import type { KnownDevices } from "../models/user-device.ts";
import type { Place, Point } from "./places.ts";

/** Why a sign-in is unusual, and how much each reason weighs. */
const RISKS = {
  new_device: 25,
  new_country: 25,
  impossible_travel: 30,
  many_failures: 20,
  dormant_user: 15,
} as const;

type RiskReason = keyof typeof RISKS;

/** How unusual a sign-in is, from 0 to 100, and why. */
export interface Risk {
  readonly score: number;
  readonly reasons: readonly RiskReason[];
}

/** A sign-in as it is weighed: after its first factor, before anything of it is noted. */
export interface SignInSeen {
  readonly user: { readonly id: string; readonly lastLoginAt: Date | null };
  readonly devices: KnownDevices;
  readonly place: Place;
  /** Whether wrong passwords were tried on the account within the hour, more than a person types. */
  readonly hasManyFailures: boolean;
  readonly now: Date;
}

const DAY = 24 * 60 * 60 * 1000;
/** Milliseconds without a sign-in after which the next one is unusual. */
const DORMANT = 180 * DAY;
/** Kilometres an hour that no passenger travels. */
const FASTEST = 1000;
/** Kilometres within which places may be one: networks are not placed more exactly. */
const NEAR = 500;

/**
 * Weighs a sign-in, by what the database knows of earlier ones and nothing else. The first sign-in of all is not
 * unusual: there is nothing to compare it with.
 */
export async function weighSignIn(db: TransactionOrKnex, seen: SignInSeen): Promise<Risk> {
  const { user, place, now } = seen;
  const reasons: RiskReason[] = [];
  if (user.lastLoginAt !== null) {
    const { here, countries } = seen.devices;
    if (here === null) reasons.push("new_device");
    if (place.country !== undefined && countries !== null && !countries.includes(place.country))
      reasons.push("new_country");
    if (await hasTravelledTooFast(db, seen)) reasons.push("impossible_travel");
    if (now.getTime() - user.lastLoginAt.getTime() > DORMANT) reasons.push("dormant_user");
  }
  if (seen.hasManyFailures) reasons.push("many_failures");
  const sum = reasons.reduce((total, reason) => total + RISKS[reason], 0);
  return { score: Math.min(100, sum), reasons };
}

/** Whether nobody can have come here from where this person signed in last. */
async function hasTravelledTooFast(
  db: TransactionOrKnex,
  { user, place, now }: SignInSeen,
): Promise<boolean> {
  if (place.point === undefined) return false;
  const last = await Session.query(db)
    .select("place", "loggedInAt")
    .where({ userId: user.id })
    .whereNotNull("place")
    .orderBy("loggedInAt", "desc")
    .first();
  if (last?.place == null || last.loggedInAt === null) return false;
  const hours = Math.max(0, now.getTime() - last.loggedInAt.getTime()) / 3_600_000;
  const distance = kilometresBetween(last.place, place.point);
  return distance > NEAR && distance > FASTEST * hours;
}

/** Along a great circle (the haversine formula). */
function kilometresBetween(a: Point, b: Point): number {
  const radians = (degrees: number) => (degrees * Math.PI) / 180;
  const half = (from: number, to: number) => Math.sin(radians(to - from) / 2) ** 2;
  const h = half(a.y, b.y) + Math.cos(radians(a.y)) * Math.cos(radians(b.y)) * half(a.x, b.x);
  return 2 * 6371 * Math.asin(Math.sqrt(h));
}
