import type { Context } from "koa";
import type { Knex } from "knex";
import type { Config } from "../config.ts";
import { recentFailures } from "../authn/throttle.ts";
import { defer, reader, writer } from "../database/transaction.ts";
import { readAgent, shownAgent } from "../devices/agents.ts";
import { makeReport } from "../devices/not-me.ts";
import type { FindPlace } from "../devices/places.ts";
import { weighSignIn } from "../devices/risk.ts";
import { keepDevice } from "../http/device.ts";
import { issuerFor } from "../http/host.ts";
import { originOf } from "../http/origin.ts";
import type { Seal } from "../keys/seal.ts";
import type { Mailer } from "../mail/mailer.ts";
import type { SignIn } from "../models/session.ts";
import { DEVICE_LIFETIME, UserDevice } from "../models/user-device.ts";
import { WebauthnCredential } from "../models/webauthn-credential.ts";
import { advance, type Visit } from "./visit.ts";

export interface ArrivalNeeds {
  config: Pick<Config, "riskSecondStep" | "smtpUrl" | "mode">;
  knex: Knex;
  seal: Seal;
  mailer: Mailer;
  findPlace: FindPlace;
}

/** Wrong passwords within an hour that are more than somebody types who has forgotten theirs. */
const MANY_FAILURES = 10;
/** Wrong passwords within an hour from which on a right one proves too little on an unknown browser (T-63). */
const UNDER_ATTACK = 20;

/** Weighs a sign-in as soon as its first factor was shown, and once. What is in doubt is asked for more. */
export async function weigh(
  { knex, seal, config, findPlace }: ArrivalNeeds,
  ctx: Context,
  visit: Visit,
): Promise<Visit> {
  const { progress, person } = visit;
  if (progress.userId === undefined || person === undefined || progress.risk !== undefined)
    return visit;
  const { user, devices } = person;
  const now = new Date();
  const db = reader(knex);
  const failures = await recentFailures(db, seal, user.id, now);
  const place = findPlace(originOf(ctx).ipPrefix);
  const hasManyFailures = failures >= MANY_FAILURES;
  const risk = await weighSignIn(db, { user, devices, place, hasManyFailures, now });
  const isKnownDevice = user.lastLoginAt !== null && !risk.reasons.includes("new_device");
  const isUnusual = config.riskSecondStep > 0 && risk.score >= config.riskSecondStep;
  const isInDoubt =
    (isUnusual || (failures >= UNDER_ATTACK && !isKnownDevice)) &&
    // Whom nobody can write to would be shut out.
    (config.smtpUrl !== undefined || config.mode !== "production");
  const weighed = { ...progress, risk: { ...risk, isInDoubt } };
  return isInDoubt ? advance(knex, visit, weighed) : { ...visit, progress: weighed };
}

/**
 * Notes with what and where a person has signed in, so that this browser is known from now on. Who has signed in
 * before is written to about a browser that they have not used.
 */
export async function arrive(
  { knex, seal, mailer, findPlace }: ArrivalNeeds,
  ctx: Context,
  { client, progress, person }: Visit,
  now: Date,
): Promise<SignIn & { readonly isNewDevice: boolean }> {
  if (person === undefined) throw new TypeError("somebody has signed in");
  const { user, devices } = person;
  const agent = readAgent(ctx.get("user-agent"));
  const { country, point: place } = findPlace(originOf(ctx).ipPrefix);
  const seen = {
    userId: user.id,
    cookieHash: keepDevice(ctx, DEVICE_LIFETIME),
    browserFamily: agent.browser ?? null,
    osFamily: agent.os ?? null,
    country: country ?? null,
    now,
  };
  const { here } = devices;
  const device =
    here !== null && UserDevice.isNoted(here, seen)
      ? { id: here.id, isNew: false }
      : await UserDevice.note(await writer(knex), seen);
  const { passkey } = progress;
  if (passkey !== undefined) {
    const isBuiltIn = passkey.reach === "built-in";
    const made = { id: passkey.id, deviceId: device.id, isBuiltIn };
    await defer(knex, WebauthnCredential.notingDevice(made));
  }
  if (device.isNew && user.lastLoginAt !== null) {
    const report = makeReport(seal, { userId: user.id, deviceId: device.id }, now);
    await mailer.newDevice(await writer(knex), {
      userId: user.id,
      agent: shownAgent(agent),
      country: country ?? "",
      clientName: client.clientName ?? client.clientId,
      url: `${issuerFor(ctx)?.url ?? ""}/not-me?t=${report}`,
      now,
    });
  }
  return {
    deviceId: device.id,
    isNewDevice: device.isNew,
    method: progress.shown?.[0]?.method,
    country,
    place,
    riskScore: progress.risk?.score ?? 0,
    riskReasons: progress.risk?.reasons ?? [],
  };
}
