import type { Router } from "@koa/router";
import type { Context } from "koa";
import type { Knex } from "knex";
import { z } from "zod";
import { record } from "../audit/record.ts";
import { clientView } from "../consents/client-view.ts";
import { recordedId } from "../consents/consents.ts";
import { writer } from "../database/transaction.ts";
import { readForm } from "../http/body.ts";
import { originOf } from "../http/origin.ts";
import type { Page } from "../http/page.ts";
import { isAskedClaim, readClaim, saveClaims, type AskedClaim } from "../users/requirements.ts";
import type { FieldError } from "../views.ts";
import type { StepTools } from "./routes.ts";
import type { Visit } from "./visit.ts";

export interface ProfileNeeds {
  knex: Knex;
  page: Page;
}

const typed = z.string().max(400).default("");
const profileForm = z.strictObject({
  decision: z.enum(["save", "skip"]).default("save"),
  name: typed,
  given_name: typed,
  family_name: typed,
  nickname: typed,
  birthdate: typed,
  phone_number: typed,
});
type ProfileForm = z.output<typeof profileForm>;

/** What the client needs to be told and nobody knows yet; nothing more is asked. */
export function profileRoutes(router: Router, tools: StepTools, needs: ProfileNeeds): void {
  const { knex } = needs;
  router.get("/profile", tools.at("profile"), (ctx: Context) => show(needs, ctx, tools.visit(ctx)));

  router.post("/profile", tools.at("profile"), async (ctx: Context) => {
    const form = await readForm(ctx, profileForm);
    const visit = tools.visit(ctx);
    const { user, client, progress } = visit;
    const { required } = visit.demand.missing;
    const skipped = { ...progress, hasSkippedProfile: true } as const;
    if (user === undefined || (form.decision === "skip" && required.length === 0))
      return tools.proceed(ctx, skipped);
    const { claims, errors } = readClaims(visit, form);
    if (errors.length > 0) return show(needs, ctx, visit, form, errors, 422);
    const db = await writer(knex);
    const now = new Date();
    await saveClaims(db, user.id, claims, now);
    await record(db, {
      ...originOf(ctx),
      type: "profile.completed",
      actor: { type: "user", id: user.id },
      userId: user.id,
      clientId: recordedId(client),
      details: { claims: Object.keys(claims) },
    });
    // What was left empty and may be is not asked for again.
    return tools.proceed(ctx, skipped);
  });
}

function readClaims({ demand: { missing } }: Visit, form: ProfileForm) {
  const claims: Partial<Record<AskedClaim, string>> = {};
  const errors: FieldError[] = [];
  for (const field of [...missing.required, ...missing.essential].filter(isAskedClaim)) {
    const isRequired = missing.required.includes(field);
    if (form[field].trim() === "") {
      if (isRequired) errors.push({ field, message: "err.profile.empty" });
      continue;
    }
    const value = readClaim(field, form[field]);
    if (value === undefined) errors.push({ field, message: "err.profile.invalid" });
    else claims[field] = value;
  }
  return { claims, errors };
}

async function show(
  { page }: ProfileNeeds,
  ctx: Context,
  { interaction, here, client, demand: { missing } }: Visit,
  form?: ProfileForm,
  errors: FieldError[] = [],
  status = 200,
): Promise<void> {
  const claims = [...missing.required, ...missing.essential].filter(isAskedClaim);
  await page(
    ctx,
    "profile",
    {
      client: clientView(client, interaction.params["redirect_uri"]),
      fields: claims.map((claim) => ({
        claim,
        isRequired: missing.required.includes(claim),
        value: form?.[claim] ?? "",
      })),
      cancelAction: `${here}/cancel`,
      errors,
    },
    status,
  );
}
