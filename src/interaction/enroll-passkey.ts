import type { Router } from "@koa/router";
import type { Context } from "koa";
import { z } from "zod";
import { clientView } from "../consents/client-view.ts";
import { recordedId } from "../consents/consents.ts";
import { writer } from "../database/transaction.ts";
import { readForm } from "../http/body.ts";
import { issuerFor } from "../http/host.ts";
import { originOf } from "../http/origin.ts";
import type { User } from "../models/user.ts";
import type { RelyingParty } from "../issuers.ts";
import { askForPasskeyAlways, createPasskey, newPasskeyOptions } from "../users/passkeys.ts";
import { codesToGoWith, keepCodes } from "../users/second-factors.ts";
import type { FieldError } from "../views.ts";
import type { EnrollNeeds } from "./enroll.ts";
import { madeHere } from "./passkey.ts";
import type { StepTools } from "./routes.ts";
import type { Visit } from "./visit.ts";

const passkeyForm = z.strictObject({
  passkey_response: z.string().max(20_000).default(""),
  passkey_via: z.enum(["", "button"]).default(""),
});

/** A passkey as the second step that a rule asks for (ux.md P7). From now on it is asked for after the password. */
export function enrollPasskeyRoutes(router: Router, tools: StepTools, needs: EnrollNeeds): void {
  const show = async (ctx: Context, problems: FieldError[] = [], status = 200) => {
    const visit = tools.visit(ctx);
    const { interaction, client, here } = visit;
    const holder = holderOf(visit);
    if (holder === undefined) return go(ctx, `${here}/enroll`);
    const options = await newPasskeyOptions(await writer(needs.knex), holder, {
      of: interaction.uid,
      productName: needs.config.productName,
      now: new Date(),
      until: new Date(interaction.exp * 1000),
    });
    const view = {
      client: clientView(client, interaction.params["redirect_uri"]),
      passkey: { options },
      here,
      cancelAction: `${here}/cancel`,
      errors: problems,
    };
    return needs.page(ctx, "enroll-passkey", view, status);
  };

  router.get("/enroll/passkey", tools.at("enroll"), (ctx: Context) => show(ctx));

  router.post("/enroll/passkey", tools.at("enroll"), async (ctx: Context) => {
    const { passkey_response: answer } = await readForm(ctx, passkeyForm);
    const visit = tools.visit(ctx);
    const holder = holderOf(visit);
    if (holder === undefined) return go(ctx, `${visit.here}/enroll`);
    const made = await enrol(needs, ctx, visit, holder, answer);
    if (made === undefined)
      return show(ctx, [{ field: "enroll-submit", message: "err.passkey.not_made" }], 422);
    const { shown = [], ...progress } = visit.progress;
    const { codes, passkey } = made;
    return tools.proceed(ctx, {
      ...progress,
      ...madeHere(passkey),
      hasEnrolled: true,
      shown: [...shown, { method: "webauthn", at: Date.now() / 1000 }],
      ...(codes.length === 0 ? {} : { newCodes: codes }),
    });
  });
}

/** @returns the passkey and the recovery codes that came with it, if any; undefined where none was made. */
async function enrol(
  needs: EnrollNeeds,
  ctx: Context,
  { interaction, client }: Visit,
  holder: { relyingParty: RelyingParty; user: User },
  answer: string,
): Promise<{ codes: readonly string[]; passkey: { id: string; isBuiltIn: boolean } } | undefined> {
  const { user } = holder;
  const origin = originOf(ctx);
  const made = await codesToGoWith(needs, user.id);
  const now = new Date();
  const db = await writer(needs.knex);
  const circumstances = { ...origin, clientId: recordedId(client) };
  const given = { of: interaction.uid, answer, via: "enrolment", now } as const;
  const passkey = await createPasskey(db, holder, given, circumstances);
  if (passkey === undefined) return undefined;
  await askForPasskeyAlways(db, user, true, circumstances);
  const url = `${issuerFor(ctx)?.url ?? ""}/account/passkeys`;
  await needs.mailer.passkeyAdded(db, { userId: user.id, name: passkey.name, url, now });
  return { codes: await keepCodes(needs, { userId: user.id, origin }, made, now), passkey };
}

function holderOf({ relyingParty, user }: Visit) {
  return relyingParty === undefined || user === undefined ? undefined : { relyingParty, user };
}

function go(ctx: Context, location: string): void {
  ctx.status = 303;
  ctx.redirect(location);
}
