import type { Router } from "@koa/router";
import type { Context } from "koa";
import type { Knex } from "knex";
import type { Provider } from "oidc-provider";
import { z } from "zod";
import { record } from "../audit/record.ts";
import { recordedId } from "../consents/consents.ts";
import { writer } from "../database/transaction.ts";
import { errors } from "../errors.ts";
import { readForm } from "../http/body.ts";
import { originOf } from "../http/origin.ts";
import type { Page } from "../http/page.ts";
import { clientView } from "../consents/client-view.ts";
import type { User } from "../models/user.ts";
import { unparkSession } from "./parked-sessions.ts";
import type { StepTools } from "./routes.ts";

export interface AccountsNeeds {
  knex: Knex;
  engine: { readonly provider: Provider };
  page: Page;
}

const accountsForm = z.strictObject({
  account: z.union([z.enum(["current", "another"]), z.uuid()]),
});

/**
 * The step before all others, where the client asks for it or nobody's session is in use: go on as one of those who are
 * signed in on this browser, or as somebody else?
 */
export function accountsRoutes(router: Router, tools: StepTools, needs: AccountsNeeds): void {
  const { knex, engine, page } = needs;

  router.get("/accounts", tools.at("accounts"), async (ctx: Context) => {
    const { interaction, here, client, demand, user, parked } = tools.visit(ctx);
    const current = demand.sessionUserId === undefined ? undefined : user;
    const others = parked.map((one) => one.user).filter(({ id }) => id !== current?.id);
    await page(ctx, "accounts", {
      client: clientView(client, interaction.params["redirect_uri"]),
      accounts: [
        ...(current === undefined ? [] : [shown(current, "current")]),
        ...others.map((other) => shown(other, other.id)),
      ],
      cancelAction: `${here}/cancel`,
    });
  });

  router.post("/accounts", tools.at("accounts"), async (ctx: Context) => {
    const { account } = await readForm(ctx, accountsForm);
    const { progress, parked, interaction, client } = tools.visit(ctx);
    if (account === "current" || account === "another")
      return tools.proceed(ctx, { ...progress, account });
    const chosen = parked.find(({ user }) => user.id === account);
    if (chosen === undefined)
      throw errors.badRequest(
        "This account is not signed in here any more. Go back and choose again.",
      );
    await unparkSession(knex, engine.provider, ctx, chosen);
    const { uid, acr, amr } = chosen.session;
    await record(await writer(knex), {
      ...originOf(ctx),
      type: "session.switched",
      actor: { type: "user", id: account },
      userId: account,
      sessionUid: uid,
      clientId: recordedId(client),
    });
    interaction.session = {
      accountId: account,
      uid,
      cookie: chosen.cookie,
      ...(acr === null ? {} : { acr }),
      ...(amr === null ? {} : { amr }),
    };
    return tools.proceed(ctx, { ...progress, account: "current" });
  });
}

function shown({ profile, username, primaryEmail }: User, value: string) {
  const email = primaryEmail?.email ?? "";
  return { name: profile?.displayName ?? username ?? email, email, value };
}
