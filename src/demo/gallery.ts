import { readFileSync } from "node:fs";
import { Router } from "@koa/router";
import type { Context } from "koa";
import { errors } from "../errors.ts";
import { issuerFor } from "../http/host.ts";
import { localeOf } from "../http/locale.ts";
import { createPage, type PageNeeds } from "../http/page.ts";
import type { MessageId } from "../i18n/catalogue.ts";
import { LANGUAGES, PSEUDO_LANGUAGES } from "../i18n/languages.ts";
import type { MailTemplate, RenderMail } from "../mail/messages.ts";
import type { Views } from "../views.ts";
import { localOnly } from "./local-only.ts";
import { mailFixtures } from "./mail-fixtures.ts";
import { fixtures } from "./view-fixtures.ts";

const LOCALES = [...LANGUAGES, ...PSEUDO_LANGUAGES];
const STYLE = new URL("../../views/assets/app.css", import.meta.url);
const NARROW = "@layer utilities { body { width: 100%; max-width: 320px; margin-inline: auto; } }";

/** What the galleries need. */
export interface GalleryNeeds extends PageNeeds {
  readonly renderMail: RenderMail;
}

/**
 * Every page in every state and every mail, in every language, with what the fixtures say: to look at, for people who
 * design, translate or review them. Pages can be seen in the other colour scheme and as wide as a small phone, and
 * their forms send nothing. Mount it in development only.
 */
export function galleryRoutes({ config, templates, catalogues, assets, renderMail }: GalleryNeeds) {
  const router = new Router();
  const index = createPage({
    config: { ...config, locales: LOCALES },
    templates,
    catalogues,
    assets,
  });

  router.get("/dev/pages", localOnly, async (ctx) => {
    const href = linkFrom(ctx, ["ui_lang", "scheme", "width"]);
    const groups = Object.entries(fixtures).map(([name, states]) => ({
      name,
      entries: Object.keys(states).map((state) => ({
        name: state,
        href: href(`/dev/pages/${name}/${state}`),
      })),
    }));
    const ways = [
      way(ctx, "gallery.light", "scheme", "light"),
      way(ctx, "gallery.dark", "scheme", "dark"),
      way(ctx, "gallery.narrow", "width", "320"),
      { message: "gallery.mails", href: href("/dev/mails"), isOn: false } as const,
    ];
    await index(ctx, "gallery", { ways, groups });
  });

  /** The style sheet of pages, with a colour scheme and a width of the gallery's choice. */
  router.get("/dev/pages/style.css", localOnly, (ctx) => {
    const { scheme, width } = ctx.query;
    const dark = "@media (prefers-color-scheme: dark)";
    const chosen = scheme === "dark" ? "@media all" : scheme === "light" ? "@media not all" : dark;
    ctx.type = "css";
    ctx.set("Cache-Control", "no-store");
    ctx.body = readFileSync(STYLE, "utf8").replaceAll(dark, chosen);
    if (width === "320") ctx.body += NARROW;
  });

  router.get("/dev/pages/:name/:state", localOnly, async (ctx) => {
    const name = String(ctx["params"]["name"]) as keyof Views;
    const state = String(ctx["params"]["state"]);
    const states: Readonly<Record<string, unknown>> = Object.hasOwn(fixtures, name)
      ? fixtures[name]
      : {};
    if (!Object.hasOwn(states, state)) throw errors.notFound();
    const style = linkFrom(ctx, ["scheme", "width"])("/dev/pages/style.css");
    const page = createPage({
      config: { ...config, locales: LOCALES },
      templates,
      catalogues,
      assets: { href: (asset) => (asset === "app.css" ? style : assets.href(asset)) },
    });
    sendNothing(ctx);
    await page(ctx, name as "login", states[state] as Views["login"]);
  });

  router.get("/dev/mails", localOnly, async (ctx) => {
    const href = linkFrom(ctx, ["ui_lang"]);
    const groups = Object.keys(mailFixtures).map((name) => ({
      name,
      entries: ["html", "text"].map((form) => ({
        name: form,
        href: href(`/dev/mails/${name}/${form}`),
      })),
    }));
    const ways = [{ message: "gallery.pages", href: href("/dev/pages"), isOn: false }] as const;
    await index(ctx, "gallery", { ways, groups });
  });

  router.get("/dev/mails/:name/:form", localOnly, async (ctx) => {
    const { name, form } = ctx["params"] as { name: MailTemplate; form: string };
    if (!Object.hasOwn(mailFixtures, name)) throw errors.notFound();
    const { subject, html, text } = await renderMail(
      name,
      mailFixtures[name],
      localeOf(ctx, LOCALES),
    );
    if (form !== "html" && form !== "text") throw errors.notFound();
    // A mail brings its own style, and nothing else.
    ctx.set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'");
    ctx.type = form;
    ctx.body = form === "html" ? html : `${subject}\n\n${text}`;
  });

  return router;
}

/** Addresses below this issuer, keeping of this request's query what is named. */
function linkFrom(ctx: Context, kept: readonly string[]): (path: string) => string {
  const query = new URLSearchParams(ctx.querystring);
  for (const name of new Set(query.keys())) if (!kept.includes(name)) query.delete(name);
  const suffix = query.size === 0 ? "" : `?${query}`;
  return (path) => `${issuerFor(ctx)?.path ?? ""}${path}${suffix}`;
}

/** A way to look at pages, which its link turns on or, where it is on, off again. */
function way(ctx: Context, message: MessageId, name: string, value: string) {
  const query = new URLSearchParams(ctx.querystring);
  const isOn = query.get(name) === value;
  if (isOn) query.delete(name);
  else query.set(name, value);
  return { message, href: `?${query}`, isOn };
}

/** What a page here would do is done by nobody. */
function sendNothing(ctx: Context): void {
  const policy = ctx.response.get("Content-Security-Policy");
  ctx.set("Content-Security-Policy", policy.replace("form-action 'self'", "form-action 'none'"));
}
