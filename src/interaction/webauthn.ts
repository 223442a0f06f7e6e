import type { Router } from "@koa/router";
import type { Context, Middleware } from "koa";
import type { Knex } from "knex";
import { z } from "zod";
import { clientView } from "../consents/client-view.ts";
import { errors } from "../errors.ts";
import { readForm } from "../http/body.ts";
import type { Page } from "../http/page.ts";
import type { FieldError } from "../views.ts";
import type { Mailer } from "../mail/mailer.ts";
import { canTrust, offeredFactors } from "./flow.ts";
import { passkeyQuestion, provePasskey } from "./passkey.ts";
import type { StepTools } from "./routes.ts";
import { trustThisBrowser } from "./trust.ts";

export interface WebauthnNeeds {
  readonly knex: Knex;
  readonly page: Page;
  readonly mailer: Mailer;
}

const webauthnForm = z.strictObject({
  passkey_response: z.string().max(20_000).default(""),
  passkey_via: z.enum(["", "button"]).default(""),
  passkey_error: z.enum(["", "cancelled", "failed"]).default(""),
  trust_device: z.literal("1").optional(),
});

/** A passkey as the second step: one of those that the person has, asked for by name. */
export function webauthnRoutes(router: Router, tools: StepTools, needs: WebauthnNeeds): void {
  const { knex, page } = needs;

  const show = async (
    ctx: Context,
    problems: FieldError[],
    { status = 200, signal }: { status?: number; signal?: string } = {},
  ) => {
    const visit = tools.visit(ctx);
    const asked = { purpose: "second_factor", userId: visit.user?.id } as const;
    const view = {
      client: clientView(visit.client, visit.interaction.params["redirect_uri"]),
      ...(await passkeyQuestion(knex, visit, asked, signal)),
      hasOthers: offeredFactors(visit.progress, visit.demand).length > 1,
      canTrust: canTrust(visit.progress, visit.demand),
      here: visit.here,
      cancelAction: `${visit.here}/cancel`,
      errors: problems,
    };
    await page(ctx, "mfa-webauthn", view, status);
  };

  /** What is not offered is refused, whoever posts it (T-76). */
  const offered: Middleware = (ctx, next) => {
    const { here, progress, demand } = tools.visit(ctx);
    if (offeredFactors(progress, demand).includes("webauthn")) return next();
    if (ctx.method !== "GET") throw errors.factorNotOffered();
    ctx.status = 303;
    ctx.redirect(`${here}/mfa`);
    return undefined;
  };

  router.get("/mfa/webauthn", tools.at("mfa"), offered, (ctx: Context) => show(ctx, []));

  router.post("/mfa/webauthn", tools.at("mfa"), offered, async (ctx: Context) => {
    const form = await readForm(ctx, webauthnForm);
    const { passkey_response: answer, passkey_via: via, passkey_error: problem } = form;
    if (answer === "") {
      const message = problem === "cancelled" ? "err.passkey.cancelled" : "err.passkey.failed";
      return show(ctx, [{ field: "webauthn-start", message }], { status: 422 });
    }
    const visit = tools.visit(ctx);
    const asked = { purpose: "second_factor", userId: visit.user?.id } as const;
    const outcome = await provePasskey(knex, ctx, visit, { answer, via, ...asked });
    if ("errors" in outcome) {
      const problems = outcome.errors.map((error) => ({ ...error, field: "webauthn-start" }));
      return show(ctx, problems, outcome);
    }
    const { progress, demand } = visit;
    if (form.trust_device !== undefined && canTrust(progress, demand))
      await trustThisBrowser(needs, ctx, outcome.user.id);
    return tools.proceed(ctx, {
      ...progress,
      passkey: outcome.passkey,
      shown: [...(progress.shown ?? []), outcome.shown],
    });
  });
}
