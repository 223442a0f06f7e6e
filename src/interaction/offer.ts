import type { Router } from "@koa/router";
import type { Context } from "koa";
import type { Knex } from "knex";
import { z } from "zod";
import type { Config } from "../config.ts";
import { clientView } from "../consents/client-view.ts";
import { recordedId } from "../consents/consents.ts";
import { writer } from "../database/transaction.ts";
import { readForm } from "../http/body.ts";
import { issuerFor } from "../http/host.ts";
import { originOf } from "../http/origin.ts";
import type { Page } from "../http/page.ts";
import type { Mailer } from "../mail/mailer.ts";
import { PasskeyOffer } from "../models/passkey-offer.ts";
import { createPasskey, newPasskeyOptions, type PasskeyVia } from "../users/passkeys.ts";
import type { FieldError } from "../views.ts";
import type { Progress } from "./flow.ts";
import { madeHere } from "./passkey.ts";
import type { StepTools } from "./routes.ts";
import { saveProgress, type Visit } from "./visit.ts";

export interface OfferNeeds {
  config: Pick<Config, "productName">;
  knex: Knex;
  mailer: Mailer;
  page: Page;
}

const offerForm = z.strictObject({
  decision: z.enum(["later", "never"]).default("later"),
  passkey_response: z.string().max(20_000).default(""),
  passkey_via: z.enum(["", "button", "upgrade"]).default(""),
});

/**
 * A passkey for whoever has just shown a password and has none (ux.md P19). A browser that can make one by itself
 * does; otherwise the person is asked, and what they say is kept before they go on.
 */
export function offerRoutes(router: Router, tools: StepTools, needs: OfferNeeds): void {
  const { knex, page } = needs;

  const show = async (ctx: Context, problems: FieldError[], status = 200) => {
    const visit = tools.visit(ctx);
    const { interaction, client } = visit;
    const holder = holderOf(visit);
    if (holder === undefined) return goOn(ctx);
    const options = await newPasskeyOptions(await writer(knex), holder, {
      of: interaction.uid,
      productName: needs.config.productName,
      now: new Date(),
      until: new Date(interaction.exp * 1000),
    });
    const view = {
      client: clientView(client, interaction.params["redirect_uri"]),
      passkey: { options },
      errors: problems,
    };
    return page(ctx, "offer", view, status);
  };

  const goOn = (ctx: Context, more: Pick<Progress, "passkey"> = {}) =>
    tools.proceed(ctx, { ...tools.visit(ctx).progress, ...more, offer: "answered" });

  router.get("/offer", tools.at("offer"), async (ctx: Context) => {
    const { interaction, progress, user } = tools.visit(ctx);
    if (progress.offer === undefined) {
      const isFirst = await PasskeyOffer.claim(await writer(knex), user?.id ?? "", new Date());
      if (!isFirst) return goOn(ctx);
      await saveProgress(interaction, { ...progress, offer: "shown" });
    }
    return show(ctx, []);
  });

  router.post("/offer", tools.at("offer"), async (ctx: Context) => {
    const form = await readForm(ctx, offerForm);
    const visit = tools.visit(ctx);
    const { passkey_response: answer, passkey_via: via } = form;
    if (answer !== "") {
      const made = { answer, via: via === "upgrade" ? via : "offer" } as const;
      const passkey = await create(needs, ctx, visit, made);
      if (passkey !== undefined) return goOn(ctx, madeHere(passkey));
      return show(ctx, [{ field: "offer-create", message: "err.passkey.not_made" }], 422);
    }
    if (form.decision === "never")
      await PasskeyOffer.query(await writer(knex))
        .findById(visit.user?.id ?? "")
        .patch({ declinedAt: new Date() });
    return goOn(ctx);
  });
}

async function create(
  { knex, mailer }: OfferNeeds,
  ctx: Context,
  visit: Visit,
  { answer, via }: { answer: string; via: PasskeyVia },
): Promise<{ id: string; isBuiltIn: boolean } | undefined> {
  const holder = holderOf(visit);
  if (holder === undefined) return undefined;
  const now = new Date();
  const db = await writer(knex);
  const circumstances = { ...originOf(ctx), clientId: recordedId(visit.client) };
  const made = { of: visit.interaction.uid, answer, via, now };
  const passkey = await createPasskey(db, holder, made, circumstances);
  if (passkey === undefined) return undefined;
  const url = `${issuerFor(ctx)?.url ?? ""}/account/passkeys`;
  await mailer.passkeyAdded(db, { userId: holder.user.id, name: passkey.name, url, now });
  return passkey;
}

function holderOf({ relyingParty, user }: Visit) {
  return relyingParty === undefined || user === undefined ? undefined : { relyingParty, user };
}
