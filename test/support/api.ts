import { randomUUID } from "node:crypto";
import { setTimeout } from "node:timers/promises";
import {
  createLocalJWKSet,
  calculateJwkThumbprint,
  exportJWK,
  generateKeyPair,
  jwtVerify,
  SignJWT,
  type JSONWebKeySet,
  type JWTPayload,
} from "jose";
import { parseDefinition } from "../../src/consents/authorization-types.ts";
import { AuthorizationType } from "../../src/models/authorization-type.ts";
import { createResource } from "../../src/resources/resources.ts";
import {
  json,
  RelyingParty,
  response,
  send,
  walk,
  WebBrowser,
  type Fields,
  type Target,
} from "./rp.ts";
import { aClient, aUser, type TestServer } from "./server.ts";

/** An API with two permissions that is defined now; `definition` is on top. */
export async function anApi(
  { database, deps }: Pick<TestServer, "database" | "deps">,
  definition: Record<string, unknown> & { identifier?: string } = {},
  issuer?: string,
): Promise<string> {
  const { identifier = `https://${randomUUID()}.api.example/` } = definition;
  await database.knex.transaction((trx) =>
    createResource(
      trx,
      {
        definition: {
          name: "Notes",
          permissions: { read: "Read your notes", write: "Change your notes" },
          open_to: "any",
          ...definition,
          identifier,
        },
        issuer,
      },
      new Date(),
      deps.config.issuers,
    ),
  );
  return identifier;
}

/** An authorization request; a nonce belongs to `openid` (OIDC Core §3.1.2.1). */
export function asksFor(app: RelyingParty, asked: Fields): string {
  const usesOpenId = String(asked["scope"]).split(" ").includes("openid");
  return app.authorization({ ...(usesOpenId ? {} : { nonce: undefined }), ...asked });
}

/** A person who signed in to a new client, with the code it got. */
export async function signedIn(
  server: TestServer,
  asked: Fields,
  metadata: Record<string, unknown> = {},
  target: Target = server,
  issuer?: string,
) {
  const user = await aUser(server);
  const client = await aClient(server, metadata, issuer);
  const app = new RelyingParty(target, client);
  const browser = new WebBrowser(target);
  const back = await walk(target, browser, asksFor(app, asked), user);
  return { user, client, app, browser, code: response(back)["code"] ?? "" };
}

/** A client that asks for itself. */
export async function aMachine(server: TestServer, metadata: Record<string, unknown> = {}) {
  const client = await aClient(server, {
    client_name: "Machine",
    redirect_uris: [],
    post_logout_redirect_uris: [],
    grant_types: ["client_credentials"],
    ...metadata,
  });
  return new RelyingParty(server, client);
}

/** Verifies a JWT access token as an API would (RFC 9068 §4). */
export async function verified(
  target: Target,
  token: unknown,
  audience: string,
): Promise<{ payload: JWTPayload; protectedHeader: { alg: string; typ?: string; kid?: string } }> {
  const base = new URL(target.issuer).pathname.replace(/\/$/, "");
  const keys = json(await send(target, { path: `${base}/jwks` })) as unknown as JSONWebKeySet;
  return jwtVerify(String(token), createLocalJWKSet(keys), {
    issuer: target.issuer,
    audience,
    typ: "at+jwt",
    requiredClaims: ["sub", "client_id", "iat", "exp", "jti"],
  });
}

/** A key to which tokens can be bound (RFC 9449). */
export async function aDpopKey() {
  const { privateKey, publicKey } = await generateKeyPair("ES256", { extractable: true });
  const jwk = await exportJWK(publicKey);
  return {
    thumbprint: await calculateJwkThumbprint(jwk),
    /** A proof for one request. */
    proof: (url: string, claims: JWTPayload = {}) =>
      new SignJWT({ htm: "POST", htu: url, jti: randomUUID(), ...claims })
        .setProtectedHeader({ alg: "ES256", typ: "dpop+jwt", jwk })
        .setIssuedAt()
        .sign(privateKey),
  };
}

/** Registers types of authorization details that have no fields (RFC 9396), and waits until the server knows them. */
export async function addTypes(
  { database, ...target }: Target & Pick<TestServer, "database">,
  ...types: readonly string[]
): Promise<void> {
  for (const type of types)
    await AuthorizationType.query(database.knex).insert({
      type,
      definition: parseDefinition({ type, title: type, properties: {} }),
    });
  for (let tries = 0; tries < 100; tries += 1) {
    const metadata = await send(target, { path: "/.well-known/openid-configuration" });
    const known = json(metadata)["authorization_details_types_supported"];
    if (Array.isArray(known) && types.every((type) => known.includes(type))) return;
    await setTimeout(50);
  }
  throw new Error("the types never arrive at the server");
}
