import type { Router } from "@koa/router";
import type { Context } from "koa";
import { z } from "zod";
import type { Config } from "../config.ts";
import { readForm } from "../http/body.ts";
import type { FieldError } from "../views.ts";
import { clientView } from "../consents/client-view.ts";
import { passkeyFields, passkeyQuestion, provePasskey } from "./passkey.ts";
import { withoutSignIn } from "./flow.ts";
import { offeredConnections } from "./home-realm.ts";
import { lastUsedFirst } from "./last-used.ts";
import { identifierOf, provePassword, type PasswordNeeds } from "./password.ts";
import { signUpAt } from "./register.ts";
import type { StepTools } from "./routes.ts";
import type { Visit } from "./visit.ts";

export interface IdentifierNeeds extends PasswordNeeds {
  config: Pick<Config, "signInLayout">;
}

const identifierForm = z.strictObject({
  username: z.string().trim().max(320).default(""),
  password: z.string().max(1024).default(""),
  remember: z.literal("1").optional(),
  ...passkeyFields,
});

/**
 * The first step: who is it? The page looks the same whoever is named. A password manager may fill in the password
 * with the name, and the combined layout asks for both; then there is no second step.
 */
export function identifierRoutes(router: Router, tools: StepTools, needs: IdentifierNeeds): void {
  const isCombined = needs.config.signInLayout === "combined";

  const show = async (
    ctx: Context,
    username: string,
    errors: FieldError[],
    {
      status = 200,
      signal,
      remember,
    }: { status?: number; signal?: string; remember?: boolean } = {},
  ) => {
    const visit = tools.visit(ctx);
    const { interaction, here, client, issuer } = visit;
    return needs.page(
      ctx,
      "login",
      {
        client: clientView(client, interaction.params["redirect_uri"]),
        combined: isCombined,
        username,
        remember: remember ?? visit.progress.remember === true,
        ...(signUpAt(client, issuer) === "open" ? { registerHref: `${here}/register` } : {}),
        forgotHref: `${here}/forgot`,
        cancelAction: `${here}/cancel`,
        ...(visit.progress.stopped === undefined ? {} : { stopped: visit.progress.stopped }),
        ...(await passkeyQuestion(needs.knex, visit, { purpose: "sign_in" }, signal)),
        connections: lastUsedFirst(
          ctx,
          offeredConnections(visit.connections, client).map(({ slug, name }) => ({
            slug,
            name,
            href: `${here}/federation/${slug}`,
          })),
        ),
        errors,
      },
      status,
    );
  };

  router.get("/", tools.at("identifier"), (ctx: Context) =>
    show(ctx, suggestion(tools.visit(ctx)), []),
  );

  router.post("/", tools.at("identifier"), async (ctx: Context) => {
    const form = await readForm(ctx, identifierForm);
    const { username, password, remember } = form;
    const visit = tools.visit(ctx);
    const { account, link } = visit.progress;
    const isLinking = link?.isAccepted === true && link.identity.email === username;
    const progress = withoutSignIn({ ...(account && { account }), ...(isLinking && { link }) });
    const kept = { remember: remember !== undefined };
    if (form.passkey_response !== "") {
      const outcome = await provePasskey(needs.knex, ctx, visit, {
        answer: form.passkey_response,
        via: form.passkey_via,
        purpose: "sign_in",
      });
      if ("errors" in outcome) return show(ctx, username, outcome.errors, { ...outcome, ...kept });
      const { identifier: _typed, ...rest } = progress;
      const { user, shown, passkey } = outcome;
      const canMakePasskey = form.passkey_can === "1";
      const signedIn = { userId: user.id, shown: [shown], passkey, canMakePasskey };
      return tools.proceed(ctx, { ...rest, ...signedIn, ...kept });
    }
    if (username === "") {
      return show(ctx, "", [{ field: "username", message: "err.identifier.empty" }], {
        status: 422,
        ...kept,
      });
    }
    if (password === "" && !isCombined) {
      return tools.proceed(ctx, { ...progress, identifier: username, ...kept });
    }
    const canMakePasskey = form.passkey_can === "1";
    const outcome = await provePassword(needs, ctx, visit, {
      identifier: username,
      password,
      ...kept,
    });
    if ("progress" in outcome) return tools.proceed(ctx, { ...outcome.progress, canMakePasskey });
    return show(ctx, username, outcome.errors, { ...outcome, ...kept });
  });
}

/** What the field holds at first: what was typed before, or what the client hints at (OIDC Core §3.1.2.1). */
function suggestion(visit: Visit): string {
  const hint = visit.interaction.params["login_hint"];
  if (visit.progress.identifier !== undefined) return identifierOf(visit);
  return typeof hint === "string" ? hint.slice(0, 255) : "";
}
