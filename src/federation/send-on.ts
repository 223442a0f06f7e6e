import type { Context } from "koa";
import type { Page } from "../http/page.ts";
import type { Leaving } from "./connector.ts";

/** Sends the browser to an identity provider: there, or by a form where it takes no address that long. */
export async function sendOn(
  page: Page,
  ctx: Context,
  provider: string,
  to: Leaving["to"],
): Promise<void> {
  if (to.fields !== undefined)
    return page(ctx, "federation-post", {
      provider,
      action: to.url,
      fields: to.fields,
      atOnce: true,
    });
  ctx.status = 303;
  ctx.redirect(to.url);
}
