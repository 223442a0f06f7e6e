import { randomBytes } from "node:crypto";
import { text } from "node:stream/consumers";
import {
  verifyAuthenticationResponse,
  type AuthenticationResponseJSON,
} from "@simplewebauthn/server";
import type { Context, Middleware } from "koa";
import type { InteractionResults, Provider } from "oidc-provider";
import { ISSUER, SCOPE, type Person } from "../world.ts";

/** The least that sign-in pages can do: one for name, password and passkey, one for consent, nothing escaped. */
export function signInPages(
  provider: Provider,
  people: readonly Person[],
  isPassword: (typed: string) => Promise<{ ok: boolean }>,
): Middleware {
  const byEmail = new Map(people.map((person) => [person.email, person]));
  const byPasskey = new Map(people.map((person) => [person.passkey?.id, person]));
  const challenges = new Map<string, string>();

  async function who(uid: string, fields: URLSearchParams): Promise<Person | undefined> {
    const answer = fields.get("passkey_response");
    if (answer !== null) {
      const person = await holderOf(answer, byPasskey, challenges.get(uid) ?? "");
      challenges.delete(uid);
      return person;
    }
    const { ok } = await isPassword(fields.get("password") ?? "");
    return ok ? byEmail.get(fields.get("username") ?? "") : undefined;
  }

  function page(ctx: Context, uid: string, prompt: string): void {
    ctx.type = "html";
    if (prompt === "consent") {
      ctx.body = `<body data-page="consent"><form method="post"></form></body>`;
      return;
    }
    const challenge = randomBytes(32).toString("base64url");
    challenges.set(uid, challenge);
    const options = `{&#34;challenge&#34;:&#34;${challenge}&#34;}`;
    ctx.body = `<body data-page="login" data-passkey="${options}"><form method="post"></form></body>`;
  }

  return async (ctx, next) => {
    if (!ctx.path.startsWith("/interaction/")) return next();
    const details = await provider.interactionDetails(ctx.req, ctx.res);
    const { uid, prompt, session, params } = details;
    if (ctx.method === "GET") return page(ctx, uid, prompt.name);
    const fields = new URLSearchParams(await text(ctx.req));
    let result: InteractionResults;
    if (prompt.name === "login") {
      const person = await who(uid, fields);
      if (person === undefined) return ctx.throw(401);
      result = { login: { accountId: person.email } };
    } else {
      const grant = new provider.Grant({
        accountId: session?.accountId ?? "",
        clientId: String(params["client_id"]),
      });
      grant.addOIDCScope(SCOPE);
      result = { consent: { grantId: await grant.save() } };
    }
    ctx.redirect(await provider.interactionResult(ctx.req, ctx.res, result));
    return undefined;
  };
}

async function holderOf(
  answer: string,
  byPasskey: ReadonlyMap<string | undefined, Person>,
  challenge: string,
): Promise<Person | undefined> {
  const response = JSON.parse(answer) as AuthenticationResponseJSON;
  const person = byPasskey.get(response.id);
  if (person?.passkey === undefined) return undefined;
  const { id, publicKey } = person.passkey;
  const { verified } = await verifyAuthenticationResponse({
    response,
    expectedChallenge: challenge,
    expectedOrigin: ISSUER,
    expectedRPID: new URL(ISSUER).hostname,
    credential: { id, publicKey: new Uint8Array(Buffer.from(publicKey, "base64")), counter: 0 },
  });
  return verified ? person : undefined;
}
