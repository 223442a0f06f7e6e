import type { Knex } from "knex";
import type { Client, Configuration, KoaContextWithOIDC, Provider } from "oidc-provider";
import { clientView } from "../consents/client-view.ts";
import { explainedScopes } from "../consents/scopes.ts";
import { reader } from "../database/transaction.ts";
import type { Page } from "../http/page.ts";
import type { Seal } from "../keys/seal.ts";
import { findUserWithClaims, nameOf, scopesAskedFor } from "../users/claims.ts";
import type { FieldError } from "../views.ts";
import { rememberShown, UserCodeError } from "./user-code.ts";

export interface DevicePageNeeds {
  knex: Knex;
  seal: Seal;
  page: Page;
}

type DeviceFlow = Required<
  Extract<NonNullable<Configuration["features"]>["deviceFlow"], { enabled?: boolean | undefined }>
>;
export type DevicePages = Pick<
  DeviceFlow,
  "userCodeInputSource" | "userCodeConfirmSource" | "successSource"
>;
type RenderError = NonNullable<Configuration["renderError"]>;

/** What the engine's own errors mean for whoever typed a code. */
const WRONG_CODES: Readonly<Record<string, FieldError["message"]>> = {
  NoCodeError: "err.device.empty",
  NotFoundError: "err.device.unknown",
  ExpiredError: "err.device.expired",
  AlreadyUsedError: "err.device.used",
};

/** What a person is told of the device that asks, so that somebody else's is noticed (RFC 8628 §5.4). */
export function deviceInfo(ctx: KoaContextWithOIDC): Record<string, unknown> {
  return { network: ctx.state["ipPrefix"], requestedAt: Date.now() };
}

/**
 * Who comes to a form of devices without a session is shown what went wrong. The engine began one to show its form
 * instead, and fails where it wants to keep that, which never was kept before.
 */
export function keepNoNewSession(provider: Provider): void {
  const persist = Reflect.get(provider.Session.prototype, "persist") as () => Promise<unknown>;
  Object.assign(provider.Session.prototype, {
    async persist(this: { exp?: number }) {
      if (this.exp !== undefined) await persist.call(this);
    },
  });
}

/**
 * The pages of a person whose device has no browser: where its code is typed, what it is for, and the end. Nobody gets
 * past the second one without a click, however they came (RFC 8628 §3.3.1, §5.4).
 */
export function devicePages(
  { knex, seal, page }: DevicePageNeeds,
  renderError: RenderError,
): DevicePages {
  const end = (ctx: KoaContextWithOIDC, outcome: "approved" | "denied") =>
    page(ctx, "device-done", { outcome, clientName: nameOfClient(ctx.oidc.client) });
  return {
    async userCodeInputSource(ctx, _form, out, error) {
      if (error?.name === "AbortedError") return end(ctx, "denied");
      const problem = problemOf(error);
      if (error !== undefined && problem === undefined) {
        return renderError(ctx, out ?? { error: "server_error" }, error);
      }
      if (error instanceof UserCodeError && error.retryAfter !== undefined) {
        ctx.set("Retry-After", String(error.retryAfter));
      }
      const typed = ctx.oidc.params?.["user_code"];
      await page(
        ctx,
        "device-input",
        {
          action: ctx.oidc.urlFor("code_verification"),
          xsrf: secretOf(ctx),
          userCode: typeof typed === "string" ? typed.slice(0, 32) : "",
          errors: problem === undefined ? [] : [problem],
        },
        problem === undefined ? 200 : error instanceof UserCodeError ? error.status : 422,
      );
    },

    async userCodeConfirmSource(ctx, _form, client, info, userCode) {
      const { DeviceCode: code, Session: session } = ctx.oidc.entities;
      rememberShown(seal, userCode.replace(/\W/g, ""));
      const user =
        session?.accountId === undefined
          ? undefined
          : await findUserWithClaims(reader(knex), session.accountId);
      await page(ctx, "device-confirm", {
        action: ctx.oidc.urlFor("code_verification"),
        xsrf: secretOf(ctx),
        client: clientView(client, undefined),
        userCode,
        ...(user?.isActive === true ? { userName: nameOf(user) } : {}),
        scopes: explainedScopes(scopesAskedFor(code?.params ?? {})),
        minutesAgo: Math.floor((Date.now() - Number(info["requestedAt"])) / 60_000),
        network: String(info["network"]),
        registeredItself: client["is_dynamic"] === true,
      });
    },

    successSource: (ctx) => end(ctx, "approved"),
  };
}

/** What is wrong with the code, as the page says it; nothing where it is not the code. */
function problemOf(error: Error | undefined): FieldError | undefined {
  if (error === undefined) return undefined;
  const field = "user_code";
  if (!(error instanceof UserCodeError)) {
    const message = WRONG_CODES[error.name];
    return message && { field, message };
  }
  const { reason, retryAfter: seconds = 0 } = error;
  if (reason === "used") return { field, message: "err.device.used" };
  if (reason === "not_shown") return { field, message: "err.device.again" };
  const minutes = seconds < 60 ? 0 : Math.ceil(seconds / 60);
  return { field, message: "err.throttled", values: { minutes, seconds } };
}

function secretOf({ oidc }: KoaContextWithOIDC): string {
  const secret = oidc.session?.state?.["secret"];
  return typeof secret === "string" ? secret : "";
}

function nameOfClient(client: Client | undefined): string {
  return client?.clientName ?? client?.clientId ?? "";
}
