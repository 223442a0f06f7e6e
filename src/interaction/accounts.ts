import type { Router } from "@koa/router";
import type { Context } from "koa";
import { z } from "zod";
import { readForm } from "../http/body.ts";
import type { Page } from "../http/page.ts";
import { clientView } from "../consents/client-view.ts";
import type { StepTools } from "./routes.ts";

const accountsForm = z.strictObject({ account: z.enum(["current", "another"]) });

/** The step before all others, where the client asks for it: go on as whoever is signed in, or as somebody else? */
export function accountsRoutes(router: Router, tools: StepTools, { page }: { page: Page }): void {
  router.get("/accounts", tools.at("accounts"), async (ctx: Context) => {
    const { interaction, here, client, user } = tools.visit(ctx);
    const email = user?.primaryEmail?.email ?? "";
    await page(ctx, "accounts", {
      client: clientView(client, interaction.params["redirect_uri"]),
      accounts: [{ name: user?.profile?.displayName ?? user?.username ?? email, email }],
      cancelAction: `${here}/cancel`,
    });
  });

  router.post("/accounts", tools.at("accounts"), async (ctx: Context) => {
    const { account } = await readForm(ctx, accountsForm);
    await tools.proceed(ctx, { ...tools.visit(ctx).progress, account });
  });
}
