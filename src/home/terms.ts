import { Router } from "@koa/router";
import type { Config } from "../config.ts";
import { errors } from "../errors.ts";
import { localeOf } from "../http/locale.ts";
import type { Page } from "../http/page.ts";
import type { TermsCache } from "../terms/cache.ts";
import { inLanguage } from "../terms/terms.ts";

export interface TermsPageNeeds {
  config: Pick<Config, "locales">;
  page: Page;
  terms: TermsCache;
}

/** What people agree to, for everybody to read: of each document the version that counts today (ux.md P18). */
export function termsPageRoutes({ config, page, terms }: TermsPageNeeds): Router {
  const router = new Router();
  router.get("/terms/:document", async (ctx) => {
    const current = await terms.current();
    const version = current.find(({ document }) => document === ctx["params"]["document"]);
    if (version === undefined) throw errors.notFound();
    const { title, locale, body } = inLanguage(version, localeOf(ctx, config.locales));
    const publishedAt = version.publishedAt.getTime();
    await page(ctx, "terms-document", { title, locale, body, publishedAt });
  });
  return router;
}
