import { setTimeout as delay } from "node:timers/promises";
import type { Knex } from "knex";
import { errors } from "../errors.ts";
import {
  type ConnectionNeeds,
  createConnection,
  deleteConnection,
  getConnection,
  listConnections,
  updateConnection,
} from "../federation/connections.ts";
import { UpstreamError, type TraceStep } from "../federation/connector.ts";
import { Connectors } from "../federation/connectors.ts";
import { acceptPending, refreshNow } from "../federation/metadata-refresh.ts";
import { PRESET_NAMES } from "../federation/oidc/presets.ts";
import { rotateKey } from "../federation/rotate-key.ts";
import { startTrace, traceFailure } from "../federation/trace.ts";
import { newTrial, SUCCEEDED } from "../federation/trial.ts";
import type { Logger } from "../lib/log.ts";
import { FederationTrace } from "../models/federation-trace.ts";
import type { IdentityProvider } from "../models/identity-provider.ts";
import { CONNECTION_OPTIONS, readConnection, readParameters } from "./connection-flags.ts";
import { present, printConnection, printSteps, READ_ONLY } from "./connection-output.ts";
import { printFields, printJson, printTable } from "./io.ts";
import { readWhole } from "./paging.ts";
import { UsageError, verb, type Verb } from "./verb.ts";
import { withConnections } from "./with-connections.ts";
import { withOperator } from "./with-operator.ts";

/** `lintel connection …`: identity providers elsewhere that people sign in with. */
export const CONNECTION_VERBS: readonly Verb[] = [
  verb({
    name: "connection add",
    summary: "let people sign in with an identity provider, and say what to enter there",
    options: {
      preset: { type: "string", value: "PRESET", help: PRESET_NAMES.join(", ") },
      param: {
        type: "string",
        multiple: true,
        value: "NAME=VALUE",
        help: "what a preset needs to know, as in domain=acme.okta.com",
      },
      kind: { type: "string", value: "KIND", help: "without a preset: oidc, oauth2 or saml" },
      slug: {
        type: "string",
        value: "SLUG",
        help: "its name in addresses and commands, for good; the preset's unless said",
      },
      issuer: {
        type: "string",
        value: "NAME",
        help: "which of MORE_ISSUERS it serves; the first issuer unless said",
      },
      ...CONNECTION_OPTIONS,
    },
    details:
      "docs/connections.md has the commands for Google, Microsoft, Okta, Keycloak and others.",
    async run({ io, values, json, config }) {
      const { preset, param = [], kind, slug, issuer } = values;
      const parameters = readParameters(preset, param, "connection add");
      const given = {
        ...without(await readConnection(io, values, "connection add"), READ_ONLY),
        ...(preset === undefined ? {} : { preset }),
        ...(param.length === 0 ? {} : { parameters }),
        ...(kind === undefined ? {} : { kind }),
        ...(slug === undefined ? {} : { slug }),
        ...(issuer === undefined ? {} : { at_issuer: issuer }),
      };
      const shown = await withConnections({ io, config }, async (needs) =>
        present(needs, await createConnection(needs, given, new Date())),
      );
      printConnection(io, shown, json);
      if (!json) io.out(`\nThen try it: lintel connection test ${String(shown["slug"])}\n`);
    },
  }),

  verb({
    name: "connection list",
    summary: "list the connections",
    async run({ io, json, config }) {
      const shown = await withOperator({ io, config }, async ({ knex }) => {
        const rows = await listConnections(knex);
        if (!json) return rows.map((row) => inRow(row));
        const all = [];
        for (const row of rows) all.push(await present({ knex, issuers: config().issuers }, row));
        return printJson(io, all);
      });
      if (shown !== undefined)
        printTable(io, ["slug", "kind", "name", "enabled", "issuer", "domains", "notes"], shown);
    },
  }),

  verb({
    name: "connection show",
    summary: "show a connection, how it is, and what its other side needs to know",
    words: ["slug"],
    async run({ io, words: [slug = ""], json, config }) {
      const shown = await withOperator({ io, config }, async ({ knex }) =>
        present({ knex, issuers: config().issuers }, await getConnection(knex, slug)),
      );
      printConnection(io, shown, json);
    },
  }),

  verb({
    name: "connection update",
    summary: "change some of what is said of a connection",
    words: ["slug"],
    options: {
      ...CONNECTION_OPTIONS,
      unset: {
        type: "string",
        multiple: true,
        value: "FIELD",
        help: "take a field, or settings.NAME, back to its default",
      },
      force: {
        type: "boolean",
        help: "change the issuer though people are linked, who would be strangers",
      },
      "if-version": {
        type: "string",
        value: "N",
        help: "only if nobody changed it since it had this version",
      },
    },
    details:
      "What is not named stays, secrets too. The output of `connection show --json` can be edited and given back with\n" +
      "--file; its version then makes sure that nobody else changed the connection meanwhile. Objects are merged, and\n" +
      "null takes a field away (RFC 7396).",
    async run({ io, values, words: [slug = ""], json, config }) {
      const { force = false, unset = [], "if-version": version } = values;
      const said = await readConnection(io, values, "connection update");
      const given = withUnset(without(said, READ_ONLY), unset);
      if (Object.keys(given).length === 0)
        throw new UsageError("There is nothing to change.", "connection update");
      const inFile = typeof said["version"] === "number" ? said["version"] : undefined;
      const ifVersion =
        version === undefined ? inFile : readWhole("if-version", version, "connection update");
      const shown = await withConnections({ io, config }, async (needs) =>
        present(
          needs,
          await updateConnection(needs, slug, { given, ifVersion, force }, new Date()),
        ),
      );
      printConnection(io, shown, json);
    },
  }),

  verb({
    name: "connection delete",
    summary: "delete a connection",
    words: ["slug"],
    options: {
      force: { type: "boolean", help: "though people are linked: unlink them, and say how many" },
    },
    async run({ io, values, words: [slug = ""], json, config }) {
      const { force = false } = values;
      const { people, stranded } = await withOperator({ io, config }, ({ knex }) =>
        knex.transaction((trx) => deleteConnection(trx, slug, { force }, new Date())),
      );
      if (json)
        return printJson(io, {
          slug,
          deleted: true,
          unlinked: people,
          without_another_way: stranded,
        });
      io.out(`Deleted ${slug}.\n`);
      if (people > 0)
        io.out(
          `People who were unlinked: ${people}. Of these without another way to sign in: ${stranded}.\n`,
        );
    },
  }),

  verb({
    name: "connection test",
    summary: "try a connection as far as it goes without a person, and say what came back",
    words: ["slug"],
    options: {
      "sign-in": {
        type: "boolean",
        help: "then print an address, good once, where you sign in; and say what the provider said of you",
      },
    },
    details:
      "Exit code 0: nothing is in the way of a sign-in. 1: something is, and the last step says what.",
    async run({ io, values, words: [slug = ""], json, config }) {
      const wantsPerson = values["sign-in"] === true;
      const { steps, ok, site } = await withConnections({ io, config }, async (needs) => {
        const provider = await getConnection(needs.knex, slug);
        const tried = await tryConnection(needs, provider);
        if (!wantsPerson || !tried.ok) return tried;
        if (!provider.enabled)
          throw errors.invalidConnection(`${slug} is disabled, so nobody can sign in with it`);
        const { supportId, path } = newTrial(needs.seal, provider, new Date());
        io.err(`Open this address within 15 minutes, and sign in there:\n${tried.site}${path}\n`);
        const trace = await waitForTrace(needs.knex, supportId);
        if (trace === undefined) throw errors.unknownTrace(supportId);
        const all = [...tried.steps, ...trace.steps];
        return { ...tried, steps: all, ok: trace.reason === SUCCEEDED };
      });
      if (json) printJson(io, { ok, steps });
      else {
        printSteps(io, steps);
        if (!ok) io.out("\nThis does not work yet.\n");
        else if (wantsPerson) io.out("\nAll is well.\n");
        else io.out(`\nAll is well so far. Now sign in: ${site}/login\n`);
      }
      return ok ? 0 : 1;
    },
  }),

  verb({
    name: "connection trace",
    summary: "say what happened where a sign-in failed, by the support id of its page",
    words: ["support_id"],
    async run({ io, words: [id = ""], json, config }) {
      const found = await withOperator({ io, config }, async ({ knex }) =>
        FederationTrace.query(knex)
          .select("federationTraces.*", "identityProviders.slug")
          .join("identityProviders", "identityProviders.id", "federationTraces.providerId")
          .findById(id)
          .where("federationTraces.expiresAt", ">", new Date()),
      );
      if (found === undefined) throw errors.unknownTrace(id);
      const { slug, reason, steps, createdAt } = found as FederationTrace & { slug: string };
      const about = { connection: slug, reason, at: createdAt.toISOString() };
      if (json) return printJson(io, { support_id: id, ...about, steps });
      printFields(io, about);
      io.out("\n");
      return printSteps(io, steps);
    },
  }),

  verb({
    name: "connection refresh",
    summary: "read the metadata of a SAML connection again",
    words: ["slug"],
    options: {
      accept: {
        type: "boolean",
        help: "agree to what waits: other certificates or addresses than before",
      },
    },
    async run({ io, values, words: [slug = ""], json, config }) {
      const { outcome, changes } = await withConnections({ io, config }, async (needs) =>
        values.accept === true
          ? {
              outcome: "taken" as const,
              changes: await acceptPending(needs.knex, slug, new Date()),
            }
          : refreshNow(needs, slug, new Date()),
      );
      if (json) return printJson(io, { slug, outcome, changes });
      io.out(`${WORDS[outcome]}\n`);
      for (const change of changes) io.out(`  ${change}\n`);
      if (outcome === "pending")
        io.out(`\nIf that is right: lintel connection refresh ${slug} --accept\n`);
    },
  }),

  verb({
    name: "connection rotate-key",
    summary: "change our own key, in three steps: publish another one, use it, forget the old one",
    words: ["slug"],
    options: {
      switch: { type: "boolean", help: "use the other key; once more leads back" },
      retire: { type: "boolean", help: "forget the key that is not used" },
    },
    async run({ io, values, words: [slug = ""], json, config }) {
      if (values.switch === true && values.retire === true)
        throw new UsageError(
          "--switch and --retire are two steps, so run one after the other",
          "connection rotate-key",
        );
      const step =
        values.switch === true ? "switch" : values.retire === true ? "retire" : "publish";
      const shown = await withConnections({ io, config }, async (needs) =>
        present(needs, await rotateKey(needs, slug, step, new Date())),
      );
      if (json) return printJson(io, { slug, step, enter_there: shown["enter_there"] });
      io.out(`${STEPS[step]}\n`);
      printFields(io, shown["enter_there"] as Record<string, unknown>);
      if (step !== "retire")
        io.out(
          `\nThen: lintel connection rotate-key ${slug} --${step === "publish" ? "switch" : "retire"}\n`,
        );
    },
  }),
];

/** Milliseconds: to open an address and to sign in there, and between two looks. */
const PATIENCE = 30 * 60 * 1000;
const POLL = 500;

const STEPS = {
  publish: "Another key is published beside the one that is used. Let the provider learn it:",
  switch:
    "The other key is used now. Sign in to see that the provider knows it; the same command leads back.",
  retire: "The key that was not used is forgotten.",
} as const;

const WORDS = {
  unchanged: "It says what it said before.",
  taken: "It is what is used from now on.",
  pending: "It says something else now. Until you agree, everything stays as it is.",
} as const;

/** What a connection says without a person, and where it is. */
async function tryConnection(
  needs: ConnectionNeeds & { log: Logger },
  provider: IdentityProvider,
): Promise<{ steps: readonly TraceStep[]; ok: boolean; site: string }> {
  const issuer = needs.issuers.find(({ name }) => name === provider.atIssuer);
  if (issuer === undefined)
    throw errors.invalidConnection(`at_issuer ${provider.atIssuer} is not configured here`);
  const site = `${issuer.url}/federation/${provider.slug}`;
  const tracing = startTrace();
  try {
    const connector = await new Connectors(needs, issuer.url).of(provider);
    await connector.test(tracing.trace);
    return { steps: tracing.steps, ok: true, site };
  } catch (error) {
    if (!(error instanceof UpstreamError)) throw error;
    traceFailure(tracing, error);
    return { steps: tracing.steps, ok: false, site };
  }
}

/** The trace of a trial, once there is one; `undefined` where nobody came in time. */
async function waitForTrace(knex: Knex, id: string): Promise<FederationTrace | undefined> {
  for (const end = Date.now() + PATIENCE; Date.now() < end; await delay(POLL)) {
    const found = await FederationTrace.query(knex).findById(id);
    if (found !== undefined) return found;
  }
  return undefined;
}

function inRow(row: IdentityProvider): string[] {
  const { saml, domains = [] } = row;
  const notes = [
    row.atIssuer === "" ? "" : `at ${row.atIssuer}`,
    row.showButton ? "" : "no button",
    saml?.pendingXml == null ? "" : "new metadata waits",
    saml?.metadataValidUntil == null
      ? ""
      : `metadata until ${saml.metadataValidUntil.toISOString().slice(0, 10)}`,
  ];
  return [
    row.slug,
    row.preset ?? row.kind,
    row.name,
    row.enabled ? "yes" : "no",
    row.issuer ?? "",
    domains
      .map(({ domain, verifiedAt }) => (verifiedAt === null ? `(${domain})` : domain))
      .join(" "),
    notes.filter((note) => note !== "").join(", "),
  ];
}

function without(
  all: Readonly<Record<string, unknown>>,
  names: readonly string[],
): Record<string, unknown> {
  return Object.fromEntries(Object.entries(all).filter(([name]) => !names.includes(name)));
}

/** `settings.pkce` is inside of `settings`. */
function withUnset(
  given: Readonly<Record<string, unknown>>,
  fields: readonly string[],
): Record<string, unknown> {
  const changed: Record<string, unknown> = { ...given };
  for (const field of fields) {
    const [outer = "", inner] = field.split(/\.(.*)/s);
    changed[outer] =
      inner === undefined ? null : { ...(changed[outer] as object | undefined), [inner]: null };
  }
  return changed;
}
