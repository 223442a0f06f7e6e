import {
  createPrivateKey,
  createPublicKey,
  generateKeyPairSync,
  randomUUID,
  X509Certificate,
} from "node:crypto";
import type { TransactionOrKnex } from "objection";
import { createClient, type Registrar } from "../clients/clients.ts";
import { errors } from "../errors.ts";
import { ACCOUNTS_PATH, DECOUPLED_GRANTS, type Issuer } from "../issuers.ts";
import { UserPassword } from "../models/user-password.ts";
import { UserProfile } from "../models/user-profile.ts";
import { User } from "../models/user.ts";
import { createUser } from "../users/users.ts";
import { overrides, visits, type Visit } from "./browser.ts";
import { needsCertificates, PLANS, type Plan } from "./plans.ts";

/** What is to be prepared. */
export interface Seed {
  /** The suite's name for the plan. */
  readonly plan: string;
  /** Where the suite runs. */
  readonly suiteUrl: string;
  /** What is chosen where the plan leaves a choice. */
  readonly variant: Readonly<Record<string, string>>;
  /** The name under which the suite gives this configuration addresses of its own. */
  readonly alias: string;
  readonly issuers: readonly Issuer[];
  readonly password: string;
  readonly passwordHash: string;
  /** What the suite shows to approve in the person's place. */
  readonly approvalToken: string;
  /** What the clients show, for variants in which they show something. */
  readonly certificates: Readonly<Partial<Record<"first" | "second", ClientCertificate>>>;
}

/** A certificate with its RSA or P-256 key, both as PEM. */
export interface ClientCertificate {
  readonly cert: string;
  readonly key: string;
}

/** A plan that can be started: what the suite wants to know, in its own words. */
export interface Seeded {
  readonly plan: string;
  readonly variant: Readonly<Record<string, string>>;
  readonly config: Readonly<Record<string, unknown>>;
}

const USERNAME = "conformance";

/**
 * Prepares everything that a plan asks for: its person, with every standard claim and a new password, and the clients
 * that it does not register itself.
 *
 * @throws AppError `conformance` where the plan is not known, or no issuer has the preset it needs.
 */
export async function seedPlan(
  db: TransactionOrKnex,
  seed: Seed,
  now: Date,
  registrar: Registrar,
): Promise<Seeded> {
  const plan = planOf(seed.plan);
  const issuer = issuerFor(plan, seed);
  const variant = { ...plan.variant, ...seed.variant };
  const { first, second } = seed.certificates;
  if (needsCertificates(plan, variant) && (first === undefined || second === undefined))
    throw errors.conformance(
      `This variant of ${seed.plan} has clients show certificates. Make two with \`openssl req -x509 -newkey rsa:2048 -nodes -subj /CN=first -keyout first.key -out first.pem\`, and give them with --certificate and --key, each twice.`,
    );
  const email = await seedUser(db, seed, issuer, now);
  const usesOurs = plan.clients === "ours" || variant["client_registration"] === "static_client";
  const clients = usesOurs
    ? await seedClients(db, { seed, plan, variant, issuer, now, registrar })
    : {
        client: { client_name: "first conformance client" },
        client2: { client_name: "second conformance client" },
      };
  const person = { username: USERNAME, password: seed.password };
  return {
    plan: seed.plan,
    variant,
    config: {
      alias: seed.alias,
      description: `Lintel, ${seed.plan}`,
      server: {
        discoveryUrl: `${issuer.url}/.well-known/openid-configuration`,
        login_hint: email,
      },
      ...clients,
      ...(first === undefined ? {} : { mtls: first }),
      ...(second === undefined ? {} : { mtls2: second }),
      ...(plan.profile === "ciba"
        ? {
            automated_ciba_approval_url: `${issuer.url}/conformance/ciba?auth_req_id={auth_req_id}&action={action}&token=${seed.approvalToken}`,
          }
        : {}),
      ...(plan.profile === undefined ? {} : { resource: { resourceUrl: resourceOf(issuer) } }),
      options: { browsercontrol_css_enable: false },
      browser: visits(issuer.url, person) satisfies Visit[],
      override: overrides(issuer.url, person),
    },
  };
}

/** What a token is tried at, where clients show their certificates if they do. */
function resourceOf({ url, path, certificates }: Issuer): string {
  const { origin } = certificates ?? {};
  return (origin === undefined ? url : origin + path) + ACCOUNTS_PATH;
}

/** @throws AppError `conformance` */
function planOf(name: string): Plan {
  const plan = Object.hasOwn(PLANS, name) ? PLANS[name] : undefined;
  if (plan !== undefined) return plan;
  throw errors.conformance(`There is no plan ${name}. Known are: ${Object.keys(PLANS).join(", ")}`);
}

function issuerFor({ preset }: Plan, { plan, issuers }: Seed): Issuer {
  const issuer = issuers.find(({ presetName }) => presetName === preset);
  if (issuer !== undefined) return issuer;
  throw errors.conformance(
    `${plan} needs an issuer with the preset ${preset}. Set PRESET=${preset}, or add ${preset}=${preset}@https://… to MORE_ISSUERS.`,
  );
}

/** One person for all plans; each seeding gives them another password. */
async function seedUser(
  db: TransactionOrKnex,
  { passwordHash }: Seed,
  { url }: Issuer,
  now: Date,
): Promise<string> {
  const { hostname } = new URL(url);
  const email = `${USERNAME}@${hostname.includes(".") ? hostname : "idp.example"}`;
  const known = await User.query(db).findOne({ usernameNorm: USERNAME });
  const id =
    known?.id ??
    (await createUser(db, { email, verified: true, username: USERNAME, via: "admin" }, now)).id;
  const row = { userId: id, hash: passwordHash, changedAt: now };
  await UserPassword.query(db).insert(row).onConflict("userId").merge();
  await UserProfile.query(db)
    .insert({ userId: id, ...PROFILE, updatedAt: now })
    .onConflict("userId")
    .merge();
  return email;
}

/** Every claim of OIDC Core §5.1: the suite asks for all of them. */
const PROFILE = {
  displayName: "Connie Formance",
  givenName: "Connie",
  middleName: "Ella",
  familyName: "Formance",
  nickname: "Con",
  profileUrl: "https://profile.example/connie",
  pictureUrl: "https://profile.example/connie.png",
  website: "https://connie.example",
  gender: "female",
  birthdate: "1990-04-23",
  zoneinfo: "Europe/Berlin",
  locale: "en",
  phoneNumber: "+49 30 901820",
  address: {
    formatted: "Pariser Platz 1\n10117 Berlin\nGermany",
    street_address: "Pariser Platz 1",
    locality: "Berlin",
    region: "Berlin",
    postal_code: "10117",
    country: "Germany",
  },
};

/** The two clients of a plan, as the server and as the suite know them. */
async function seedClients(
  db: TransactionOrKnex,
  needs: {
    seed: Seed;
    plan: Plan;
    variant: Plan["variant"];
    issuer: Issuer;
    now: Date;
    registrar: Registrar;
  },
): Promise<Record<string, unknown>> {
  const { plan } = needs;
  const make = plan.profile === undefined ? secretClient : keyClient;
  const client = await make(db, needs, "first");
  const client2 = await make(db, needs, "second");
  return plan.profile === undefined
    ? { client, client2, client_secret_post: await secretClient(db, needs, "third", "post") }
    : { client, client2 };
}

type ClientNeeds = Parameters<typeof seedClients>[1];

function addresses({ suiteUrl, alias }: Seed): {
  redirect_uris: string[];
  post_logout_redirect_uris: string[];
} {
  const base = `${suiteUrl}/test/a/${alias}`;
  return {
    redirect_uris: [`${base}/callback`, `${base}/callback?dummy1=lorem&dummy2=ipsum`],
    post_logout_redirect_uris: [`${base}/post_logout_redirect`],
  };
}

async function secretClient(
  db: TransactionOrKnex,
  { seed, issuer, now, registrar }: ClientNeeds,
  which: string,
  method: "basic" | "post" = "basic",
): Promise<Record<string, unknown>> {
  const { client, secret } = await createClient(
    db,
    {
      issuer: issuer.name,
      metadata: {
        client_name: `${which} conformance client`,
        ...addresses(seed),
        grant_types: ["authorization_code", "implicit", "refresh_token"],
        response_types: issuer.preset.responseTypes.filter((type) => type !== "none"),
        token_endpoint_auth_method: `client_secret_${method}`,
      },
    },
    now,
    registrar,
  );
  return { client_id: client.clientId, client_secret: secret };
}

async function keyClient(
  db: TransactionOrKnex,
  needs: ClientNeeds,
  which: "first" | "second",
): Promise<Record<string, unknown>> {
  const { seed, plan, variant, issuer, now, registrar } = needs;
  const shown = seed.certificates[which];
  const keys = keysOf(shown);
  const byCertificate = variant["client_auth_type"] === "mtls";
  const toCertificate =
    issuer.preset.fapi === "1.0 Final" || variant["sender_constrain"] === "mtls";
  const { client } = await createClient(
    db,
    {
      issuer: issuer.name,
      metadata: {
        client_name: `${which} conformance client`,
        ...grantsOf(plan, variant, seed),
        token_endpoint_auth_method: byCertificate
          ? "self_signed_tls_client_auth"
          : "private_key_jwt",
        jwks: { keys: [keys.public] },
        id_token_signed_response_alg: "PS256",
        authorization_signed_response_alg: "PS256",
        require_pushed_authorization_requests: issuer.preset.requiresPushedRequests,
        dpop_bound_access_tokens: !toCertificate,
        tls_client_certificate_bound_access_tokens: toCertificate,
        require_signed_request_object: plan.profile !== "fapi2",
      },
    },
    now,
    registrar,
  );
  return {
    client_id: client.clientId,
    scope: variant["openid"] === "plain_oauth" ? "email profile" : "openid email profile",
    ...(toCertificate ? {} : { dpop_signing_alg: "PS256" }),
    ...(plan.profile === "ciba" ? { hint_type: "login_hint", hint_value: USERNAME } : {}),
    jwks: { keys: [keys.private] },
  };
}

/** How a client of a FAPI plan gets its tokens. */
function grantsOf(
  { profile }: Plan,
  variant: Plan["variant"],
  seed: Seed,
): Readonly<Record<string, unknown>> {
  if (profile === "ciba") {
    const mode = variant["ciba_mode"];
    const endpoint = `${seed.suiteUrl}/test/a/${seed.alias}/ciba-notification-endpoint`;
    return {
      grant_types: [DECOUPLED_GRANTS.ciba, "refresh_token"],
      backchannel_token_delivery_mode: mode,
      backchannel_authentication_request_signing_alg: "PS256",
      ...(mode === "ping" ? { backchannel_client_notification_endpoint: endpoint } : {}),
    };
  }
  const usesHybrid = profile === "fapi1";
  return {
    ...addresses(seed),
    grant_types: ["authorization_code", "refresh_token", ...(usesHybrid ? ["implicit"] : [])],
    response_types: usesHybrid ? ["code id_token", "code"] : ["code"],
  };
}

/** A key pair as JWKs; with a certificate, its own. */
function keysOf(shown: ClientCertificate | undefined): { public: object; private: object } {
  const { publicKey, privateKey } =
    shown === undefined
      ? generateKeyPairSync("rsa", { modulusLength: 2048 })
      : { publicKey: createPublicKey(shown.key), privateKey: createPrivateKey(shown.key) };
  const alg = publicKey.asymmetricKeyType === "rsa" ? "PS256" : "ES256";
  const common = { kid: randomUUID(), alg, use: "sig" };
  const chain =
    shown === undefined ? {} : { x5c: [new X509Certificate(shown.cert).raw.toString("base64")] };
  return {
    public: { ...publicKey.export({ format: "jwk" }), ...common, ...chain },
    private: { ...privateKey.export({ format: "jwk" }), ...common, ...chain },
  };
}
