import type { Context } from "koa";
import { negotiateLocale } from "../i18n/negotiate.ts";
import { issuerFor } from "./host.ts";

const REMEMBERED = "lintel_lang";
const CHOSEN = "lintel_lang_here";
const YEAR = 365 * 24 * 3600 * 1000;

/**
 * The language to answer in. A choice made on a page (`?ui_lang=`) holds for the rest of that sign-in, also against
 * the client's `ui_locales`, and is remembered for later ones.
 */
export function localeOf(ctx: Context, enabled: readonly string[]): string {
  const asked = ctx.query["ui_lang"];
  const chosen = typeof asked === "string" && enabled.includes(asked) ? asked : undefined;
  if (chosen !== undefined) remember(ctx, chosen);
  const uiLocales: unknown = ctx.state["uiLocales"] ?? ctx["oidc"]?.params?.ui_locales;
  return negotiateLocale(
    {
      chosen: chosen ?? ctx.cookies.get(CHOSEN),
      uiLocales: typeof uiLocales === "string" ? uiLocales.slice(0, 200) : undefined,
      own: ctx.state["ownLocale"],
      remembered: ctx.cookies.get(REMEMBERED),
      accepted: ctx.acceptsLanguages(),
    },
    enabled,
  );
}

/** Answers this request in the language of who is signed in, where nothing stronger is asked for (ux.md §5). */
export function speakTo(
  ctx: Context,
  user: { readonly profile?: { readonly locale: string | null } | null | undefined },
): void {
  ctx.state["ownLocale"] = user.profile?.locale ?? undefined;
}

function remember(ctx: Context, locale: string): void {
  const options = { httpOnly: true, sameSite: "lax", signed: false, secure: ctx.secure } as const;
  ctx.cookies.set(REMEMBERED, locale, { ...options, maxAge: YEAR });
  const interaction = /^\/interaction\/[\w-]+/.exec(ctx.path)?.[0];
  if (interaction === undefined) return;
  const path = `${issuerFor(ctx)?.path ?? ""}${interaction}`;
  ctx.cookies.set(CHOSEN, locale, { ...options, path });
}
