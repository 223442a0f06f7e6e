import type { Context } from "koa";
import type { Config } from "../config.ts";
import type { Catalogues } from "../i18n/catalogue.ts";
import { directionOf, nameOf } from "../i18n/languages.ts";
import type { ClientView, LayoutView, Shell, Views } from "../views.ts";
import type { Assets } from "./assets.ts";
import { issuerFor } from "./host.ts";
import { localeOf } from "./locale.ts";
import type { Templates } from "./templates.ts";

/** Answers a request with a page, in the visitor's language. What it needs, `Views` says. */
export type Page = <Name extends keyof Views>(
  ctx: Context,
  name: Name,
  view: Views[Name],
  status?: number,
) => Promise<void>;

export interface PageNeeds {
  config: Pick<Config, "productName" | "locales" | "issuers">;
  templates: Templates;
  catalogues: Catalogues;
  assets: Pick<Assets, "href">;
}

/** Makes {@link Page}: the page's own template, then the layout around it. */
export function createPage({ config, templates, catalogues, assets }: PageNeeds): Page {
  return async (ctx, name, view, status = 200) => {
    const locale = localeOf(ctx, config.locales);
    const t = catalogues.translator(locale);
    const base = (issuerFor(ctx) ?? config.issuers[0]).path;
    const shell: Shell = {
      locale,
      direction: directionOf(locale),
      productName: config.productName,
      base,
      correlationId: ctx.state["correlationId"] ?? "",
      languages: config.locales.map((tag) => ({
        tag,
        name: nameOf(tag),
        href: addressIn(ctx, tag),
      })),
      css: base + assets.href("app.css"),
      js: base + assets.href("ui.js"),
      icon: base + assets.href("favicon.svg"),
    };
    const content = templates.fill(name, { view: { ...inLanguage(view, locale), shell }, t });
    const errors = "errors" in view && Array.isArray(view.errors) ? view.errors : [];
    ctx.status = status;
    ctx.type = "html";
    ctx.set("Cache-Control", "no-store");
    ctx.set("Content-Language", locale);
    const layout: LayoutView = {
      ...shell,
      page: name,
      content,
      hasErrors: errors.length > 0,
      ...("passkey" in view ? { passkeysJs: base + assets.href("passkeys.js") } : {}),
      canChooseLanguage: ctx.method === "GET",
    };
    ctx.body = templates.fill("layout", { view: layout, t });
  };
}

/** What a page shows, with what its client says of itself in the language (OIDC Registration §2.1). */
function inLanguage<View extends object>(view: View, locale: string): View {
  if (!("client" in view)) return view;
  const client = view.client as ClientView;
  return { ...view, client: { ...client, ...client.inLanguage?.[locale] } };
}

/**
 * This page in another language; an error in place needs the query that caused it. The path is left out, because
 * one that begins with two slashes would lead to another host (T-14).
 */
function addressIn(ctx: Context, tag: string): string {
  const query = new URLSearchParams(ctx.querystring);
  query.set("ui_lang", tag);
  return `?${query}`;
}
