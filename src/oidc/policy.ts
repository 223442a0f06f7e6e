import { interactionPolicy, type Account, type KoaContextWithOIDC } from "oidc-provider";
import { isAlwaysAsked } from "../consents/consents.ts";

const { Check, Prompt, base } = interactionPolicy;

/**
 * When the engine stops an authorization request to ask the person something. To the engine's own rules we add
 * two and narrow one; after the choice of an account the order (sign in, then consent) is the engine's.
 */
export function policy(): ReturnType<typeof base> {
  const prompts = base();
  prompts.add(new Prompt({ name: "select_account", requestable: true }), 0);

  prompts
    .get("login")
    ?.checks.add(
      new Check(
        "account_unavailable",
        "the signed-in user is disabled or gone, or every session of theirs was ended",
        "login_required",
        ({ oidc }: KoaContextWithOIDC) =>
          oidc.session?.accountId !== undefined &&
          (oidc.account === undefined || isEnded(oidc.session.loginTs, oidc.account)),
      ),
    );

  const consent = prompts.get("consent");
  consent?.checks.remove("native_client_prompt");
  consent?.checks.add(
    new Check(
      "native_client_prompt",
      "native clients require End-User interaction",
      "interaction_required",
      ({ oidc }: KoaContextWithOIDC) =>
        oidc.client !== undefined &&
        oidc.result?.consent === undefined &&
        isAlwaysAsked(oidc.client, new Set(), redirectUri(oidc.params)),
    ),
  );
  return prompts;
}

/** Whether a sign-in is older than the moment at which all of a user's were ended; `loginTs` has no fraction. */
function isEnded(loginTs: number | undefined, account: Account): boolean {
  const { sessionsValidAfter } = account;
  return (
    sessionsValidAfter instanceof Date &&
    ((loginTs ?? 0) + 1) * 1000 <= sessionsValidAfter.getTime()
  );
}

function redirectUri(params: Record<string, unknown> | undefined): string | undefined {
  const value = params?.["redirect_uri"];
  return typeof value === "string" ? value : undefined;
}
