import { randomBytes, randomUUID } from "node:crypto";
import { openSeal, type Seal } from "../../src/keys/seal.ts";
import { createSafeFetch } from "../../src/lib/fetch.ts";
import { createLogger } from "../../src/lib/log.ts";
import { uuidv7 } from "../../src/lib/uuid.ts";
import {
  UpstreamError,
  type Answer,
  type Connector,
  type ConnectorNeeds,
  type ConnectorSite,
  type Leaving,
} from "../../src/federation/connector.ts";
import { openOidc } from "../../src/federation/oidc/connector.ts";
import { IdentityProvider } from "../../src/models/identity-provider.ts";
import type { TestDatabase } from "./database.ts";
import { SAML_COUNTERPART } from "./saml-counterpart.ts";
import { Upstream, type Json } from "./upstream.ts";

/** What a person does at an identity provider, or the provider to them. */
export type Deed = "agrees" | "cancels" | "is refused";

/** An identity provider elsewhere, and the connector that speaks to it. */
export interface Counterpart {
  readonly connector: Connector;
  /** What the browser of `who` comes back with from where it was sent. */
  visit(to: Leaving["to"], deed: Deed, who: string): Promise<Omit<Answer, "secrets">>;
  /** An answer that somebody has changed on its way. */
  forge(answer: Omit<Answer, "secrets">): Omit<Answer, "secrets">;
  /** Lets it say nobody's identifier from now on. */
  forgetSubjects(): void;
  /** Lets it answer no more, where it is asked for anything between the answer and the identity. */
  breakDown?(): void;
  /** A message of its that ends the sessions of `who`, where there is such a thing. */
  logout?(who: string): Promise<Omit<Answer, "secrets">>;
  /** Makes it whole and honest again. */
  mend(): void;
  stop(): Promise<void>;
}

/** What not every kind has. */
type Extra = "back-channel" | "tokens" | "sign-out" | "logout" | "description";

/** How to begin with one of them. */
export interface Registration {
  readonly name: string;
  readonly has: readonly Extra[];
  open(needs: ConnectorNeeds): Promise<Counterpart>;
}

/** What connectors work with, over a test's database; they may reach this machine. */
export async function connectorNeeds({ knex }: TestDatabase): Promise<ConnectorNeeds> {
  const seal = await openSeal(knex, { encryptionKey: randomBytes(32) });
  // Refused requests are what half of the tests are about.
  const log = createLogger({ level: "silent" });
  return { knex, seal, fetch: createSafeFetch({ allowLoopback: true, allowHttp: true, log }), log };
}

/** Where our side of a connection is, as far as its connector is concerned. */
export const SITE: ConnectorSite = {
  callback: "https://id.example/federation/acme/callback",
  acs: "https://id.example/federation/acme/acs",
  slo: "https://id.example/federation/acme/slo",
  metadata: "https://id.example/federation/acme/metadata",
  jwks: "https://id.example/federation/acme/jwks",
  signedOut: "https://id.example/federation/acme/signed-out",
};

/** A row for an upstream of ours. */
export function connectionTo(
  upstream: Upstream,
  seal: Seal,
  {
    kind = "oidc",
    settings = {},
    ...more
  }: Partial<Omit<IdentityProvider, "settings">> & { settings?: Json } = {},
): IdentityProvider {
  const id = uuidv7();
  const place = { table: "identity_providers", column: "client_secret_enc", id };
  const oauth2 = {
    authorization_endpoint: `${upstream.issuer}/authorize`,
    token_endpoint: `${upstream.issuer}/token`,
    userinfo_endpoint: `${upstream.issuer}/user`,
    emails_endpoint: `${upstream.issuer}/user/emails`,
    subject_claims: ["id"],
    scopes: ["read:user"],
  };
  return IdentityProvider.fromJson({
    id,
    slug: "acme",
    kind,
    name: "Acme",
    clientId: upstream.clientId,
    clientSecretEnc: seal.encrypt(upstream.clientSecret, place),
    privateKeyEnc: null,
    issuer: upstream.issuer,
    settings: { ...(kind === "oauth2" ? oauth2 : { sign_out: true }), ...settings },
    attributeMapping: {},
    groupMapping: {},
    roleMapping: {},
    organizationId: null,
    ...more,
  });
}

/** One of our upstreams as a counterpart. */
function overUpstream(kind: "oidc" | "oauth2", subjectClaim: string) {
  return async (needs: ConnectorNeeds): Promise<Counterpart> => {
    const upstream = await Upstream.start();
    const connector = openOidc(connectionTo(upstream, needs.seal, { kind }), SITE, needs);
    const counterpart: Counterpart = {
      connector,
      visit: ({ url }, deed, who) => {
        upstream.person[subjectClaim] = who;
        if (deed === "agrees") return Promise.resolve(upstream.agree(url));
        const error = deed === "cancels" ? "access_denied" : "interaction_required";
        return Promise.resolve(upstream.refuse(url, error));
      },
      forge: ({ method, parameters }) => ({
        method,
        parameters: { ...parameters, code: "a-code-of-somebody-else" },
      }),
      forgetSubjects: () => {
        upstream.replaced.set("/user", () => ({ json: { name: "Ada" } }));
        upstream.claims = { sub: undefined };
      },
      breakDown: () => upstream.replaced.set("/token", () => ({ status: 503, json: {} })),
      mend: () => upstream.mend(),
      stop: () => upstream.stop(),
    };
    return kind === "oauth2"
      ? counterpart
      : {
          ...counterpart,
          logout: async (who) => ({
            method: "POST",
            parameters: { logout_token: await upstream.logoutToken({ sub: who }) },
          }),
        };
  };
}

/** The simplest thing that is a connector: an answer is a slip of paper that only it can have written, good once. */
function openFake(): Promise<Counterpart> {
  const slips = new Map<string, { state: string; said: string; who: string | undefined }>();
  let isForgetful = false;
  let isDown = false;
  const connector: Connector = {
    leave: ({ state }, trace) => {
      trace("request made", { endpoint: "https://fake.example/enter" });
      const url = `https://fake.example/enter?state=${state}`;
      return Promise.resolve({ to: { url }, secrets: { state } });
    },
    arrive: async ({ parameters, secrets }, trace) => {
      if (isDown) throw failure("unavailable", "fake.down");
      const { slip = "" } = parameters;
      const found = slips.get(slip);
      slips.delete(slip);
      if (found === undefined) throw failure("replayed", "fake.slip");
      if (found.state !== secrets["state"]) throw failure("invalid", "fake.state");
      if (found.said === "cancels") throw failure("cancelled", "fake.error");
      if (found.said === "is refused") throw failure("refused", "fake.error");
      if (found.who === undefined) throw failure("incomplete", "fake.subject");
      trace("slip read", { length: slip.length });
      const claims = { name: found.who };
      await Promise.resolve();
      return { issuer: "https://fake.example", subject: found.who, emailVerified: false, claims };
    },
    test: (trace) => {
      trace("nothing to try");
      return isDown ? Promise.reject(failure("unavailable", "fake.down")) : Promise.resolve();
    },
  };
  return Promise.resolve({
    connector,
    visit: ({ url }, said, who) => {
      const slip = randomUUID();
      const state = new URL(url).searchParams.get("state") ?? "";
      slips.set(slip, { state, said, who: isForgetful ? undefined : who });
      return Promise.resolve({ method: "GET", parameters: { slip, state } });
    },
    forge: ({ method, parameters }) => ({ method, parameters: { ...parameters, slip: "mine" } }),
    forgetSubjects: () => (isForgetful = true),
    breakDown: () => (isDown = true),
    mend: () => {
      isForgetful = false;
      isDown = false;
    },
    stop: () => Promise.resolve(),
  });
}

function failure(reason: UpstreamError["reason"], rule: string): UpstreamError {
  return new UpstreamError(reason, rule, `The fake says ${reason}.`, { hint: "It is a fake." });
}

/** Every kind of connector there is. A new kind adds itself here and passes the same suite. */
export const COUNTERPARTS: readonly Registration[] = [
  {
    name: "OpenID Connect",
    has: ["back-channel", "tokens", "sign-out", "logout", "description"],
    open: overUpstream("oidc", "sub"),
  },
  { name: "OAuth 2.0", has: ["back-channel", "tokens"], open: overUpstream("oauth2", "id") },
  SAML_COUNTERPART,
  { name: "fake", has: ["back-channel"], open: openFake },
];
