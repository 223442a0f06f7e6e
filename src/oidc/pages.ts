import type { KoaContextWithOIDC } from "oidc-provider";
import { errors as engineErrors } from "oidc-provider";
import type { Config } from "../config.ts";
import { isForMachines } from "../http/machines.ts";
import type { Page } from "../http/page.ts";
import { PROTOCOL_ERRORS } from "../protocol-errors.ts";
import { devicePages, type DevicePageNeeds } from "./device-pages.ts";
import type { EngineNeeds } from "./provider.ts";
import type { SignedInBeside } from "./sign-out-everybody.ts";

type RenderError = NonNullable<EngineNeeds["pages"]["renderError"]>;

export interface EnginePageNeeds extends DevicePageNeeds {
  mode: Config["mode"];
  beside: SignedInBeside;
}

/**
 * The pages that the engine asks us to show: errors that cannot go back to the client, signing out, and the codes of
 * devices. In development an error also says what to change.
 */
export function enginePages(needs: EnginePageNeeds): EngineNeeds["pages"] {
  const { page, mode, beside } = needs;
  const renderError = errorPage(page, mode);
  return {
    renderError,
    ...devicePages(needs, renderError),

    async logoutSource(ctx) {
      const { oidc } = ctx;
      const secret = oidc.session?.state?.["secret"];
      const clientName = oidc.client?.clientName;
      await page(ctx, "logout", {
        action: oidc.urlFor("end_session_confirm"),
        xsrf: typeof secret === "string" ? secret : "",
        isConfirmed: isHintOfThisSession(ctx),
        others: await beside.names(ctx),
        ...(clientName === undefined ? {} : { clientName }),
      });
    },

    signingOut: (ctx, view) => page(ctx, "signing-out", view),

    async postLogoutSuccessSource(ctx) {
      const clientName = ctx.oidc.client?.clientName;
      const others = await beside.names(ctx);
      await page(ctx, "signed-out", {
        others,
        ...(clientName === undefined ? {} : { clientName }),
      });
    },
  };
}

/** Shown in place, at the address that failed, because there is no trusted address to send the browser to. */
function errorPage(page: Page, mode: Config["mode"]): RenderError {
  return async (ctx, out, error) => {
    if (isForMachines(ctx.path)) {
      ctx.body = out;
      return undefined;
    }
    if (error instanceof engineErrors.SessionNotFound) {
      return page(ctx, "stale", { variant: "expired" }, 400);
    }
    const { oidc } = ctx;
    const status = ctx.status >= 400 ? ctx.status : 400;
    return page(
      ctx,
      "error",
      {
        status,
        code: out.error,
        description: out.error_description ?? "",
        ...(mode === "production" ? {} : hintFor(ctx, out.error)),
        ...(oidc?.client?.clientName === undefined ? {} : { clientName: oidc.client.clientName }),
      },
      status,
    );
  };
}

/** What a developer can change, with the names that are known. */
function hintFor({ oidc }: KoaContextWithOIDC, code: string): { hint?: string } {
  const fix = PROTOCOL_ERRORS[code]?.fix;
  if (fix === undefined) return {};
  const { client_id: clientId, redirect_uri: redirectUri } = oidc?.params ?? {};
  const named = fix.replace("CLIENT_ID", typeof clientId === "string" ? clientId : "CLIENT_ID");
  return { hint: named.replace("URL", typeof redirectUri === "string" ? redirectUri : "URL") };
}

/** Whether the client proved, by an ID token of this very user, that it may ask (RP-Initiated Logout §2). */
function isHintOfThisSession({ oidc }: KoaContextWithOIDC): boolean {
  const hint = oidc.entities.IdTokenHint;
  return hint !== undefined && hint.payload["sub"] === oidc.session?.accountId;
}
