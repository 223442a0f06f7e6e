import { readFileSync } from "node:fs";
import { resolve } from "node:path";
import { z } from "zod";
import { readTlsSettings, type MutualTls } from "./config-tls.ts";
import { LEVEL_NUMBERS, type Level } from "./authn/levels.ts";
import { LANGUAGES, PSEUDO_LANGUAGES } from "./i18n/languages.ts";
import {
  issuerOf,
  PRESET_NAMES,
  REGISTRATION,
  SESSION_PRESETS,
  SIGN_UP,
  type Issuer,
  type PresetName,
} from "./issuers.ts";
import type { TlsFiles } from "./lib/tls.ts";

/** Settings that hold a secret, or point at one; each may also be given as a file, `NAME_FILE`. */
export const SECRETS = [
  "DATABASE_URL",
  "DATABASE_DIRECT_URL",
  "ENCRYPTION_KEY",
  "SMTP_URL",
] as const;

const LOOPBACK = new Set(["localhost", "127.0.0.1", "[::1]"]);

const port = z.coerce.number().int().min(0).max(65535);

/** A 256-bit key as 64 hexadecimal digits or as base64. */
const encryptionKey = z
  .string()
  .transform((text) =>
    /^[0-9a-f]{64}$/i.test(text) ? Buffer.from(text, "hex") : Buffer.from(text, "base64"),
  )
  .refine((key) => key.length === 32, {
    error:
      "must be 32 random bytes in base64 or hexadecimal; make one with `openssl rand -base64 32`",
  })
  .refine((key) => new Set(key).size > 4, { error: "must be random, not a placeholder" });

const postgresUrl = z.string().regex(/^postgres(ql)?:\/\//, {
  error: "must be an address like postgres://user:password@host/database",
});

const seconds = z.coerce.number().int().min(60).optional();

const listOf = z
  .string()
  .default("")
  .transform((text) =>
    text
      .split(",")
      .map((item) => item.trim())
      .filter((item) => item !== ""),
  );

const headerName = z
  .string()
  .regex(/^[A-Za-z0-9-]+$/, { error: "must be the name of a header" })
  .transform((name) => name.toLowerCase());

/** Items separated by commas. */
const commaList = z
  .string()
  .default("")
  .transform((list) =>
    list
      .split(",")
      .map((item) => item.trim())
      .filter((item) => item !== ""),
  );

/** Origins separated by commas. */
const origins = commaList.pipe(
  z.array(
    z.string().refine((text) => /^https?:/.test(text) && URL.parse(text)?.origin === text, {
      error: "must be origins like https://app.internal:8443, separated by commas",
    }),
  ),
);

/** Host names separated by commas. */
const hostNames = commaList.pipe(
  z.array(
    z.string().regex(/^(\*|(\*\.)?[a-z0-9-]+(\.[a-z0-9-]+)*)$/, {
      error: "must list host names such as app.example, *.app.example, or * for any",
    }),
  ),
);

/** Names of levels (`acr`), each with its number. */
const levelNames = commaList.transform((items, ctx) => {
  const names = new Map<string, Level>();
  for (const item of items) {
    const [, name = "", number] = /^([^\s=]+)=([123])$/.exec(item) ?? [];
    const level = LEVEL_NUMBERS.get(number ?? "");
    if (level === undefined || LEVEL_NUMBERS.has(name))
      ctx.addIssue({
        code: "custom",
        message: "must look like silver=2,gold=3, with levels 1 to 3",
      });
    else names.set(name, level);
  }
  return names;
});

/** Every setting, with what it means. The README's table is made from this list. */
export const SETTINGS = {
  NODE_ENV: z
    .enum(["development", "production", "test"])
    .default("development")
    .describe("`production` implies nothing: the settings it needs must be given"),
  ISSUER: z
    .url({ protocol: /^https?$/ })
    .optional()
    .describe("Address under which people and clients reach Lintel; the `iss` of every token"),
  PRESET: z
    .enum(PRESET_NAMES)
    .default("production")
    .describe("What the issuer offers: `production`, `conformance`, `fapi2` or `fapi1`"),
  MORE_ISSUERS: listOf.describe(
    "Further issuers of this process, each as `name=preset@address`, separated by commas",
  ),
  ACR_VALUES: levelNames.describe(
    "Further names of the levels of a sign-in, as `name=level` with commas between; 1 is one factor, 2 two, 3 none that can be phished",
  ),
  SECOND_FACTOR: z
    .enum(["optional", "required"])
    .default("optional")
    .describe("Whether people must set up a second step; who has one is always asked for it"),
  SECOND_FACTOR_SKIPS: z.coerce
    .number()
    .int()
    .min(0)
    .max(20)
    .default(0)
    .describe("How often somebody may put off setting up a second step that is required"),
  SECOND_FACTOR_BY_EMAIL: z
    .enum(["off", "on"])
    .default("off")
    .describe("Whether a code by e-mail will do as second step; it counts as no second factor"),
  EMAIL_SIGN_IN: z
    .enum(["off", "on"])
    .default("on")
    .describe("Whether people can sign in with a code by e-mail instead of a password"),
  SIGN_UP: z
    .enum(SIGN_UP)
    .default("closed")
    .describe("Who may make an account: `closed` (nobody), `invitation`, `open`"),
  SIGN_UP_DOMAINS: hostNames.describe(
    "Domains of the addresses that may make an account by themselves, separated by commas; any unless set",
  ),
  REQUIRE_VERIFIED_EMAIL: z
    .enum(["off", "on"])
    .default("off")
    .describe("Whether nobody signs in who has not verified their e-mail address"),
  REGISTRATION: z
    .enum(REGISTRATION)
    .default("off")
    .describe(
      "Who may register clients over HTTP: `off`, `token` (with an initial access token), `open`",
    ),
  TRUSTED_ORIGINS: origins.describe(
    "Origins in private networks that Lintel may call for its clients, separated by commas",
  ),
  CONFORMANCE_SUITE_URL: z
    .url({ protocol: /^https$/ })
    .optional()
    .describe("Where a conformance suite runs: it may be called, and may rotate the keys"),
  REGISTRATION_QUOTA: z.coerce
    .number()
    .int()
    .min(0)
    .default(500)
    .describe(
      "Most clients that register themselves in a day without an initial access token, and most new documents",
    ),
  REGISTRATION_HOSTS: hostNames.describe(
    "Hosts of the redirect addresses of clients that register themselves, separated by commas; any unless set",
  ),
  REGISTRATION_AUTHORIZATION_TYPES: commaList.describe(
    "Types of authorization details for clients that nobody but themselves registered, separated by commas; none unless set",
  ),
  CLIENT_DOCUMENT_HOSTS: hostNames.describe(
    "Hosts whose clients may be known by a metadata document at `ISSUER`, separated by commas; `*.app.example` and `*` work",
  ),
  FRONTCHANNEL_LOGOUT: z
    .enum(["off", "on"])
    .default("off")
    .describe(
      "Whether signing out shows clients' logout pages in frames; `conformance` always does",
    ),
  SESSION_MANAGEMENT: z
    .enum(["off", "on"])
    .default("off")
    .describe(
      "Whether clients can watch the session in a frame, by a cookie that scripts read; `conformance` always does",
    ),
  CLIENT_ATTESTATION: z
    .enum(["off", "on"])
    .default("off")
    .describe("Whether clients may prove who they are by attestations of their instances, a draft"),
  SESSION_LIMITS: z
    .enum(SESSION_PRESETS)
    .default("standard")
    .describe(
      "How long sign-ins last: `standard` (30 days, 14 idle; a day, 12 hours idle where not kept), `aal2` (a day, 1 hour idle), `aal3` (12 hours, 15 minutes idle)",
    ),
  SESSION_IDLE: seconds.describe("Seconds without use that end a sign-in, where that is sooner"),
  SESSION_ABSOLUTE: seconds.describe("Seconds after which a sign-in ends, where that is sooner"),
  RISK_SECOND_STEP: z.coerce
    .number()
    .int()
    .min(0)
    .max(100)
    .default(40)
    .describe(
      "How unusual a sign-in is that needs a second step or a code by e-mail (docs/sign-ins.md); 0 is none",
    ),
  GEOIP_FILE: z
    .string()
    .optional()
    .describe(
      "A database of countries or cities in MaxMind’s format, to tell where sign-ins are from",
    ),
  HOST: z.string().optional().describe("Address to listen on; loopback only in development"),
  PORT: port.default(3000).describe("Port to listen on"),
  DATABASE_URL: postgresUrl
    .optional()
    .describe("PostgreSQL 15 or newer; without it development runs its own in `DATA_DIR`"),
  DATABASE_DIRECT_URL: postgresUrl
    .optional()
    .describe("The same database without a transaction-pooling proxy, for notifications and jobs"),
  DATABASE_POOL: z.coerce
    .number()
    .int()
    .min(2)
    .max(200)
    .default(10)
    .describe("Most connections a process opens for requests"),
  DATA_DIR: z
    .string()
    .default("./.lintel")
    .describe("Where development keeps its database, encryption key and demo secret"),
  ENCRYPTION_KEY: encryptionKey
    .optional()
    .describe("32 random bytes that protect everything stored encrypted"),
  DEMO_PORT: port.default(3001).describe("Port of the demo relying party in development"),
  METRICS_PORT: port
    .optional()
    .describe("Port for Prometheus metrics on loopback; 9464 in production, off otherwise"),
  METRICS_HOST: z.string().default("127.0.0.1").describe("Address the metrics listen on"),
  TRUSTED_PROXIES: z.coerce
    .number()
    .int()
    .min(0)
    .max(10)
    .default(0)
    .describe("How many reverse proxies in front set X-Forwarded-For and X-Forwarded-Proto"),
  TLS_CERT_FILE: z
    .string()
    .optional()
    .describe("Certificate chain in PEM, where Lintel ends TLS itself and no proxy does"),
  TLS_KEY_FILE: z.string().optional().describe("The private key of that certificate, in PEM"),
  TLS_CLIENT_CA_FILE: z
    .string()
    .optional()
    .describe("Authorities in PEM whose client certificates `tls_client_auth` accepts"),
  MTLS_PORT: port
    .optional()
    .describe("Port where clients are asked for certificates, apart from people's browsers"),
  MTLS_ORIGIN: z
    .string()
    .optional()
    .describe("Origin at which clients show certificates; `ISSUER`'s host with `MTLS_PORT`"),
  MTLS_HEADER: headerName
    .optional()
    .describe("Header in which a proxy passes a client's certificate on, such as `Client-Cert`"),
  MTLS_VERIFIED_HEADER: headerName
    .optional()
    .describe("Header in which that proxy says `SUCCESS` or `0` when it verified the certificate"),
  MTLS_PROXIES: listOf.describe("Networks of the proxies whose `MTLS_HEADER` is believed"),
  SMTP_URL: z
    .string()
    .regex(/^smtps?:\/\//, { error: "must be an address like smtp://user:password@host:587" })
    .optional()
    .describe("Where mail is sent; without it development keeps it in its mailbox"),
  MAIL_FROM: z.string().default("Lintel <no-reply@localhost>").describe("Sender of every mail"),
  SIGN_IN_LAYOUT: z
    .enum(["identifier-first", "combined"])
    .default("identifier-first")
    .describe("Whether the sign-in page asks for the address first or for both at once"),
  PASSKEY_RP_ID: z
    .string()
    .regex(/^[a-z0-9-]+(\.[a-z0-9-]+)*$/, { error: "must be a domain such as example.com" })
    .optional()
    .describe(
      "Domain that passkeys belong to, once and for all; the host of each issuer unless set",
    ),
  PASSKEY_ORIGINS: origins.describe(
    "Further origins that may use these passkeys, separated by commas; published for related origin requests",
  ),
  PRODUCT_NAME: z
    .string()
    .min(1)
    .max(60)
    .default("Lintel")
    .describe("What the pages and mails call this service"),
  LOCALES: z
    .string()
    .default(LANGUAGES.join(","))
    .transform((list) => list.split(",").map((tag) => tag.trim()))
    .pipe(
      z
        .array(
          z.enum([...LANGUAGES, ...PSEUDO_LANGUAGES], {
            error: `must name languages that exist: ${LANGUAGES.join(", ")}`,
          }),
        )
        .min(1),
    )
    .describe("Languages people can choose, the first being the default"),
  LOG_LEVEL: z
    .enum(["trace", "debug", "info", "warn", "error", "fatal", "silent"])
    .default("info")
    .describe("Least severe entries to log"),
} as const;

type Environment = Readonly<Record<string, string | undefined>>;
const schema = z.object(SETTINGS);

/** What the process was told, checked and frozen. */
export interface Config {
  readonly mode: "development" | "production" | "test";
  /** The address of the first issuer, where setup, mail links and the demo lead to. */
  readonly issuer: string;
  /** Everyone this process issues tokens as; the first is the one of `ISSUER`. */
  readonly issuers: readonly [Issuer, ...Issuer[]];
  /** Origins that are called although they are not public. */
  readonly trustedOrigins: readonly string[];
  /** Without a slash at the end. */
  readonly conformanceSuiteUrl: string | undefined;
  readonly host: string;
  readonly port: number;
  readonly databaseUrl: string | undefined;
  readonly databaseDirectUrl: string | undefined;
  readonly databasePool: number;
  readonly dataDir: string;
  readonly encryptionKey: Buffer | undefined;
  readonly demoPort: number;
  readonly metricsPort: number | undefined;
  readonly metricsHost: string;
  readonly trustedProxies: number;
  /** The sum of reasons from which a sign-in needs a second step; 0 where none does. */
  readonly riskSecondStep: number;
  /** A database of networks and where they are. */
  readonly geoipFile: string | undefined;
  /** The files with which Lintel ends TLS itself; undefined where a proxy does. */
  readonly tls: TlsFiles | undefined;
  /** How client certificates reach this process; undefined where none do. */
  readonly mutualTls: MutualTls | undefined;
  readonly smtpUrl: string | undefined;
  readonly mailFrom: string;
  readonly signInLayout: "identifier-first" | "combined";
  readonly productName: string;
  readonly locales: readonly string[];
  readonly logLevel: string;
}

/** Everything that is wrong with the settings, each with its name and the way to fix it. */
export class ConfigError extends Error {
  readonly problems: readonly string[];
  constructor(problems: readonly string[]) {
    super(
      `These settings need attention:\n${problems.map((problem) => `  - ${problem}`).join("\n")}`,
    );
    this.name = "ConfigError";
    this.problems = problems;
  }
}

/**
 * Reads the settings from an environment, reporting every problem at once.
 *
 * @throws ConfigError listing what is missing, malformed or contradictory.
 */
export function readConfig(environment: Environment): Config {
  const problems: string[] = [];
  const values = withSecretFiles(environment, problems);
  const settings = parseEach(values, problems);
  const production = values["NODE_ENV"] === "production";
  if (production) {
    if (values["ISSUER"] === undefined)
      problems.push("ISSUER is not set; give the https address under which people reach Lintel");
    if (values["DATABASE_URL"] === undefined)
      problems.push("DATABASE_URL is not set; give the address of a PostgreSQL 15 or newer");
    if (values["ENCRYPTION_KEY"] === undefined)
      problems.push(
        "ENCRYPTION_KEY is not set; make one with `openssl rand -base64 32` and keep it safe",
      );
  }
  const issuer = (
    settings?.ISSUER ??
    values["ISSUER"] ??
    `${values["TLS_CERT_FILE"] === undefined ? "http" : "https"}://localhost:${values["PORT"] ?? 3000}`
  ).replace(/\/$/, "");
  const named = [{ name: "", url: issuer, preset: settings?.PRESET ?? ("production" as const) }];
  for (const text of settings?.MORE_ISSUERS ?? []) {
    const further = readFurtherIssuer(text);
    if (further === undefined)
      problems.push(
        `MORE_ISSUERS has ${text}; write name=preset@address, with a name of letters and digits and a preset of ${PRESET_NAMES.join(", ")}`,
      );
    else named.push(further);
  }
  for (const { name, url } of named)
    checkIssuer(name === "" ? "ISSUER" : `MORE_ISSUERS ${name}`, url, problems);
  for (const field of ["name", "url"] as const)
    if (new Set(named.map((each) => each[field])).size < named.length)
      problems.push(`MORE_ISSUERS gives one ${field === "url" ? "address" : "name"} twice`);
  if (production && PSEUDO_LANGUAGES.some((tag) => settings?.LOCALES.includes(tag) === true))
    problems.push("LOCALES has a pseudo-locale, which only tests layouts");
  if (settings?.PASSKEY_RP_ID !== undefined && !isWithin(issuer, settings.PASSKEY_RP_ID))
    problems.push("PASSKEY_RP_ID must be the host of ISSUER or a domain above it");
  const addresses = named.map(({ url }) => url);
  const secure =
    settings === undefined ? undefined : readTlsSettings(settings, addresses, problems);
  if (settings === undefined || secure === undefined || problems.length > 0)
    throw new ConfigError(problems);

  const [first, ...others] = named.map(({ name, url, preset }) =>
    issuerOf(name, url, preset, {
      registration: settings.REGISTRATION,
      registrationQuota: settings.REGISTRATION_QUOTA,
      registrationHosts: settings.REGISTRATION_HOSTS,
      registrationTypes: settings.REGISTRATION_AUTHORIZATION_TYPES,
      levels: settings.ACR_VALUES,
      secondFactor: {
        required: settings.SECOND_FACTOR === "required",
        skips: settings.SECOND_FACTOR_SKIPS,
        byEmail: settings.SECOND_FACTOR_BY_EMAIL === "on",
      },
      emailSignIn: settings.EMAIL_SIGN_IN === "on",
      sessionPreset: settings.SESSION_LIMITS,
      sessionIdle: settings.SESSION_IDLE,
      sessionAbsolute: settings.SESSION_ABSOLUTE,
      signUp: settings.SIGN_UP,
      signUpDomains: settings.SIGN_UP_DOMAINS,
      requiresVerifiedEmail: settings.REQUIRE_VERIFIED_EMAIL === "on",
      // An address is one client, and a client belongs to one issuer.
      documentHosts: name === "" ? settings.CLIENT_DOCUMENT_HOSTS : [],
      frontchannelLogout: settings.FRONTCHANNEL_LOGOUT === "on",
      sessionManagement: settings.SESSION_MANAGEMENT === "on",
      clientAttestation: settings.CLIENT_ATTESTATION === "on",
      certificates: secure.certificatesAt(url),
      passkeyRpId: settings.PASSKEY_RP_ID,
      passkeyOrigins: settings.PASSKEY_ORIGINS,
    }),
  );
  if (first === undefined) throw new TypeError("there is at least one issuer");
  const suiteUrl = settings.CONFORMANCE_SUITE_URL?.replace(/\/$/, "");
  return Object.freeze({
    mode: settings.NODE_ENV,
    issuer,
    issuers: [first, ...others] as const,
    trustedOrigins: [
      ...settings.TRUSTED_ORIGINS,
      ...(suiteUrl === undefined ? [] : [new URL(suiteUrl).origin]),
    ],
    conformanceSuiteUrl: suiteUrl,
    host: settings.HOST ?? (production ? "0.0.0.0" : "localhost"),
    port: settings.PORT,
    databaseUrl: settings.DATABASE_URL,
    databaseDirectUrl: settings.DATABASE_DIRECT_URL,
    databasePool: settings.DATABASE_POOL,
    dataDir: resolve(settings.DATA_DIR),
    encryptionKey: settings.ENCRYPTION_KEY,
    demoPort: settings.DEMO_PORT,
    metricsPort: settings.METRICS_PORT ?? (production ? 9464 : undefined),
    metricsHost: settings.METRICS_HOST,
    trustedProxies: settings.TRUSTED_PROXIES,
    riskSecondStep: settings.RISK_SECOND_STEP,
    geoipFile: settings.GEOIP_FILE,
    tls: secure.tls,
    mutualTls: secure.mutualTls,
    smtpUrl: settings.SMTP_URL,
    mailFrom: settings.MAIL_FROM,
    signInLayout: settings.SIGN_IN_LAYOUT,
    productName: settings.PRODUCT_NAME,
    locales: settings.LOCALES,
    logLevel: settings.LOG_LEVEL,
  });
}

/** Parses every setting, so that each one that is wrong is named; `undefined` when any is. */
function parseEach(values: Environment, problems: string[]): z.output<typeof schema> | undefined {
  const parsed = schema.safeParse(values);
  if (parsed.success) return parsed.data;
  const named = new Set<unknown>();
  for (const { path, message } of parsed.error.issues) {
    if (!named.has(path[0])) problems.push(`${path.join(".")} ${message}`);
    named.add(path[0]);
  }
  return undefined;
}

/** One entry of MORE_ISSUERS, or undefined where it is not `name=preset@address`. */
function readFurtherIssuer(
  text: string,
): { name: string; url: string; preset: PresetName } | undefined {
  const [, name, preset, url] = /^([a-z][a-z0-9]{0,19})=([a-z0-9]+)@(https?:.+)$/.exec(text) ?? [];
  const known = PRESET_NAMES.find((each) => each === preset);
  if (name === undefined || url === undefined || known === undefined) return undefined;
  return { name, url: url.replace(/\/$/, ""), preset: known };
}

/** What an issuer must be beyond an address (OpenID Connect Discovery §3, RFC 8414 §2). */
function checkIssuer(setting: string, issuer: string, problems: string[]): void {
  const url = URL.parse(issuer);
  if (url === null) return;
  if (url.protocol !== "https:" && !LOOPBACK.has(url.hostname))
    problems.push(`${setting} must use https unless its host is localhost, 127.0.0.1 or [::1]`);
  if (url.search !== "" || url.hash !== "")
    problems.push(`${setting} must have no query and no fragment`);
  // Written any other way, a client that compares letter by letter would not find the issuer it knows.
  if (!/^(\/[A-Za-z0-9_~-][A-Za-z0-9._~-]*)*\/?$/.test(url.pathname))
    problems.push(`${setting} must have a path of plain letters, digits, dots and dashes, or none`);
}

/** Whether an address is on a domain or below it (WebAuthn §5.1.3, "registrable domain suffix"). */
function isWithin(url: string, domain: string): boolean {
  const host = URL.parse(url)?.hostname ?? "";
  return host === domain || host.endsWith(`.${domain}`);
}

/** Replaces `NAME_FILE` by the content of that file. An empty value counts as not given. */
function withSecretFiles(environment: Environment, problems: string[]): Environment {
  const values: Record<string, string | undefined> = {};
  for (const name of Object.keys(SETTINGS)) values[name] = environment[name] || undefined;
  for (const name of SECRETS) {
    const file = environment[`${name}_FILE`];
    if (!file) continue;
    if (values[name] !== undefined)
      problems.push(`${name} and ${name}_FILE are both set; keep one`);
    try {
      values[name] = readFileSync(file, "utf8").trim();
    } catch (cause) {
      problems.push(`${name}_FILE cannot be read: ${(cause as Error).message}`);
    }
  }
  return values;
}
