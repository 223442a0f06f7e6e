import type { Router } from "@koa/router";
import type { Context } from "koa";
import type { Knex } from "knex";
import { z } from "zod";
import type { Config } from "../config.ts";
import { clientView } from "../consents/client-view.ts";
import { writer } from "../database/transaction.ts";
import { readForm } from "../http/body.ts";
import { localeOf } from "../http/locale.ts";
import type { Page } from "../http/page.ts";
import { decideTerms, inLanguage } from "../terms/terms.ts";
import type { FieldError } from "../views.ts";
import { termsRequired } from "./register.ts";
import type { StepTools } from "./routes.ts";
import type { Visit } from "./visit.ts";

export interface TermsNeeds {
  config: Pick<Config, "locales">;
  knex: Knex;
  page: Page;
}

const termsForm = z.strictObject({
  decision: z.enum(["accept", "decline"]),
  terms: z.array(z.uuid()).max(50).default([]),
});

/** What people must agree to before they go on, in the version and the language that they read. */
export function termsRoutes(router: Router, tools: StepTools, needs: TermsNeeds): void {
  const { config, knex } = needs;
  router.get("/terms", tools.at("terms"), (ctx: Context) => show(needs, ctx, tools.visit(ctx)));

  router.post("/terms", tools.at("terms"), async (ctx: Context) => {
    const form = await readForm(ctx, termsForm);
    const visit = tools.visit(ctx);
    const { undecided, user, progress } = visit;
    if (user === undefined) return tools.proceed(ctx, progress);
    const locale = localeOf(ctx, config.locales);
    const decisions = undecided.map((version) => ({
      versionId: version.id,
      accepted: form.decision === "accept" && form.terms.includes(version.id),
      locale: inLanguage(version, locale).locale,
    }));
    if (form.decision === "decline") {
      await decideTerms(await writer(knex), user.id, decisions, new Date());
      return tools.cancel(ctx);
    }
    const refused = undecided.find(
      ({ id, isMandatory }) => isMandatory && !form.terms.includes(id),
    );
    if (refused !== undefined)
      return show(needs, ctx, visit, [termsRequired(refused.document)], 422);
    await decideTerms(await writer(knex), user.id, decisions, new Date());
    return tools.proceed(ctx, progress);
  });
}

async function show(
  { config, page }: TermsNeeds,
  ctx: Context,
  { interaction, client, undecided }: Visit,
  errors: FieldError[] = [],
  status = 200,
): Promise<void> {
  const locale = localeOf(ctx, config.locales);
  await page(
    ctx,
    "terms",
    {
      client: clientView(client, interaction.params["redirect_uri"]),
      terms: undecided.map((version) => inLanguage(version, locale)),
      errors,
    },
    status,
  );
}
