import type { Router } from "@koa/router";
import type { Context } from "koa";
import type { Knex } from "knex";
import { z } from "zod";
import { defer, reader, writer } from "../database/transaction.ts";
import { shownAgent } from "../devices/agents.ts";
import { errors } from "../errors.ts";
import { readForm } from "../http/body.ts";
import { originOf } from "../http/origin.ts";
import type { Page } from "../http/page.ts";
import type { Issuer } from "../issuers.ts";
import { isUuid } from "../lib/uuid.ts";
import type { Mailer } from "../mail/mailer.ts";
import { UserDevice } from "../models/user-device.ts";
import { UserPassword } from "../models/user-password.ts";
import { WebauthnCredential } from "../models/webauthn-credential.ts";
import {
  askForPasskeyAlways,
  createPasskey,
  newPasskeyOptions,
  passkeySignals,
  removePasskey,
  renamePasskey,
} from "../users/passkeys.ts";
import type { FieldError } from "../views.ts";
import { visitor, type AccountGuard } from "./guard.ts";

/** How long the page waits on which a passkey is made, in milliseconds. */
const PATIENCE = 15 * 60_000;

export interface AccountPasskeysNeeds {
  readonly knex: Knex;
  readonly page: Page;
  readonly mailer: Mailer;
  readonly guard: AccountGuard;
  readonly issuer: Pick<Issuer, "url" | "path" | "relyingParty">;
  readonly productName: string;
}

const newForm = z.strictObject({
  passkey_response: z.string().max(20_000).default(""),
  passkey_via: z.enum(["", "button"]).default(""),
});
const nameForm = z.strictObject({ name: z.string().max(500).default("") });
const secondStepForm = z.strictObject({ always: z.enum(["yes", "no"]) });

/** A person's passkeys: which there are, another one, their names, and away with one. */
export function passkeysRoutes(router: Router, needs: AccountPasskeysNeeds): void {
  const { knex, page, guard, issuer } = needs;
  const { relyingParty } = issuer;
  // Browsers make none for a bare address.
  if (relyingParty === undefined) return;
  const here = `${issuer.path}/account/passkeys`;
  const holderOf = (ctx: Context) => ({ relyingParty, user: visitor(ctx).user });
  const circumstances = (ctx: Context) => ({
    ...originOf(ctx),
    sessionUid: visitor(ctx).session.uid,
  });

  const showList = async (ctx: Context, problems: FieldError[] = [], status = 200) => {
    const { user, session } = visitor(ctx);
    const db = reader(knex);
    const passkeys = await WebauthnCredential.of(db, user.id, relyingParty.id);
    const devices = await UserDevice.query(db).where({ userId: user.id });
    const view = {
      passkeys: passkeys.map((passkey) => ({
        ...viewOf(passkey, here),
        ...placeOf(passkey, devices, session.deviceId),
      })),
      newHref: `${here}/new`,
      secondStepAction: `${here}/second-step`,
      asksAlways: user.passkeyIsSecondStep,
      // Without a password there is nothing that a passkey could come after.
      hasPassword: (await UserPassword.query(db).findById(user.id)) !== undefined,
      passkey: { signal: passkeySignals(holderOf(ctx), passkeys) },
      errors: problems,
    };
    await page(ctx, "account-passkeys", view, status);
  };

  const showNew = async (ctx: Context, problems: FieldError[] = [], status = 200) => {
    const now = new Date();
    const options = await newPasskeyOptions(await writer(knex), holderOf(ctx), {
      of: visitor(ctx).session.uid,
      productName: needs.productName,
      now,
      until: new Date(now.getTime() + PATIENCE),
    });
    const view = { passkey: { options }, backHref: here, errors: problems };
    await page(ctx, "account-passkey-new", view, status);
  };

  const showOne = async (ctx: Context, problems: FieldError[] = [], status = 200) => {
    const passkey = await theirs(ctx);
    const isNew = ctx.query["new"] !== undefined;
    const view = { ...viewOf(passkey, here), isNew, backHref: here, errors: problems };
    await page(ctx, "account-passkey", view, status);
  };

  /** One of their own; whatever else is asked for is not there (T-78). */
  async function theirs(ctx: Context): Promise<WebauthnCredential> {
    const id = String(ctx["params"].id);
    const userId = visitor(ctx).user.id;
    const found = isUuid(id)
      ? await WebauthnCredential.query(reader(knex)).findOne({ id, userId })
      : undefined;
    if (found === undefined) throw errors.notFound();
    return found;
  }

  router.get("/passkeys", guard.signedIn, (ctx: Context) => showList(ctx));
  router.get("/passkeys/new", guard.confirmed, (ctx: Context) => showNew(ctx));
  router.get("/passkeys/:id", guard.signedIn, (ctx: Context) => showOne(ctx));

  router.post("/passkeys/new", guard.confirmed, async (ctx: Context) => {
    const { passkey_response: answer } = await readForm(ctx, newForm);
    const { user, session } = visitor(ctx);
    const now = new Date();
    const db = await writer(knex);
    const made = { of: session.uid, answer, via: "account", now } as const;
    const passkey = await createPasskey(db, holderOf(ctx), made, circumstances(ctx));
    if (passkey === undefined)
      return showNew(ctx, [{ field: "enroll-submit", message: "err.passkey.not_made" }], 422);
    const { id, isBuiltIn } = passkey;
    if (session.deviceId !== null)
      await defer(
        knex,
        WebauthnCredential.notingDevice({ id, deviceId: session.deviceId, isBuiltIn }),
      );
    await needs.mailer.passkeyAdded(db, {
      userId: user.id,
      name: passkey.name,
      url: `${issuer.url}/account/passkeys`,
      now,
    });
    return see(ctx, `${here}/${passkey.id}?new=1`);
  });

  router.post("/passkeys/second-step", guard.confirmed, async (ctx: Context) => {
    const { always } = await readForm(ctx, secondStepForm);
    const { user } = visitor(ctx);
    await askForPasskeyAlways(await writer(knex), user, always === "yes", circumstances(ctx));
    return see(ctx, here);
  });

  router.post("/passkeys/:id", guard.confirmed, async (ctx: Context) => {
    const { name } = await readForm(ctx, nameForm);
    const { id } = await theirs(ctx);
    const { user } = visitor(ctx);
    if (await renamePasskey(await writer(knex), user, { id, name }, circumstances(ctx)))
      return see(ctx, here);
    return showOne(ctx, [{ field: "name", message: "err.passkey.name" }], 422);
  });

  router.post("/passkeys/:id/remove", guard.confirmed, async (ctx: Context) => {
    const { id } = await theirs(ctx);
    const { user } = visitor(ctx);
    const db = await writer(knex);
    const removed = await removePasskey(db, user, id, circumstances(ctx));
    if (removed === undefined)
      return showOne(ctx, [{ field: "passkey-remove", message: "err.passkey.last" }], 409);
    await needs.mailer.passkeyRemoved(db, { userId: user.id, ...removed, now: new Date() });
    return see(ctx, here);
  });
}

function viewOf(passkey: WebauthnCredential, here: string) {
  return {
    name: passkey.name,
    href: `${here}/${passkey.id}`,
    createdAt: passkey.createdAt.getTime(),
    ...(passkey.lastUsedAt === null ? {} : { lastUsedAt: passkey.lastUsedAt.getTime() }),
    isSynced: passkey.backedUp,
    isSuspect: passkey.cloneWarningAt !== null,
  };
}

/** With which of their browsers somebody last made or used it, and whether it is in the device before them. */
function placeOf(
  { lastDeviceId, isBuiltIn }: WebauthnCredential,
  devices: readonly UserDevice[],
  here: string | null,
) {
  const device = devices.find(({ id }) => id === lastDeviceId);
  const agent = {
    browser: device?.browserFamily ?? undefined,
    os: device?.osFamily ?? undefined,
  };
  return {
    ...(device === undefined ? {} : { agent: shownAgent(agent) }),
    country: device?.lastCountry ?? "",
    isHere: device !== undefined && isBuiltIn && device.id === here,
  };
}

function see(ctx: Context, location: string): void {
  ctx.status = 303;
  ctx.redirect(location);
}
