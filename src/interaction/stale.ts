import type { Context } from "koa";
import type { Knex } from "knex";
import type { Provider } from "oidc-provider";
import type { Page } from "../http/page.ts";
import { sha256 } from "../lib/secret.ts";
import { OAuthInteraction } from "../models/oauth-interaction.ts";
import { clientView, httpsOnly } from "../consents/client-view.ts";

export interface StaleNeeds {
  knex: Knex;
  engine: { readonly provider: Provider };
  page: Page;
}

/**
 * A sign-in address that leads nowhere any more, because the person went back, waited too long or bookmarked it.
 * The page says which and offers the one way on. Of a sign-in that is still going on in another browser it says
 * what it says of an address that never was.
 */
export async function showStale(needs: StaleNeeds, ctx: Context): Promise<void> {
  const uid: unknown = ctx["params"]?.uid;
  const tombstone =
    typeof uid === "string"
      ? await OAuthInteraction.query(needs.knex).findById(sha256(uid))
      : undefined;
  const hasFinished = tombstone !== undefined && tombstone.finishedAt !== null;
  const hasExpired = tombstone !== undefined && tombstone.expiresAt <= new Date();
  const clientId = hasFinished || hasExpired ? tombstone.clientId : null;
  const client = clientId === null ? undefined : await needs.engine.provider.Client.find(clientId);
  const startHref = httpsOnly(client?.initiateLoginUri) ?? httpsOnly(client?.clientUri);
  await needs.page(
    ctx,
    "stale",
    {
      variant: hasFinished ? "finished" : hasExpired ? "expired" : "unknown",
      ...(client === undefined ? {} : { clientName: clientView(client, undefined).name }),
      ...(startHref === undefined ? {} : { startHref }),
    },
    hasFinished || hasExpired ? 410 : 400,
  );
}
