import { linkedTo } from "../federation/connections.ts";
import type { TraceStep } from "../federation/connector.ts";
import { siteOf } from "../federation/connectors.ts";
import { registrationOf } from "../federation/registration.ts";
import { toDefinition } from "../federation/rows.ts";
import { nameOf, pendingChanges } from "../federation/saml-metadata.ts";
import { parseMetadata } from "../federation/saml/metadata.ts";
import type { Issuer } from "../issuers.ts";
import type { IdentityProvider } from "../models/identity-provider.ts";
import { printFields, printJson, type Io } from "./io.ts";

/** Fields of an answer that are no part of a definition; given back with an edited one, they say nothing. */
export const READ_ONLY = ["version", "status", "enter_there"] as const;

/** A connection as programs and people see one: its definition, how it is, and what its other side needs to know. */
export async function present(
  {
    knex,
    issuers,
  }: { knex: Parameters<typeof linkedTo>[0]; issuers: readonly Pick<Issuer, "name" | "url">[] },
  row: IdentityProvider,
): Promise<Record<string, unknown>> {
  const issuer = issuers.find(({ name }) => name === row.atIssuer);
  return {
    ...toDefinition(row),
    version: row.version,
    status: {
      ...credentialsOf(row),
      people: (await linkedTo(knex, row.id)).people,
      domains: (row.domains ?? []).map(({ domain, verifiedAt, enforceSso }) => ({
        domain,
        verified: verifiedAt !== null,
        enforced: enforceSso,
      })),
      ...metadataOf(row),
      created_at: row.createdAt.toISOString(),
      updated_at: row.updatedAt.toISOString(),
    },
    ...(issuer === undefined
      ? {}
      : { enter_there: registrationOf(row, siteOf(issuer.url, row.slug)) }),
  };
}

/** Prints a connection; for people, what is to be entered at the other side stands by itself at the end. */
export function printConnection(io: Io, shown: Record<string, unknown>, json: boolean): void {
  if (json) return printJson(io, shown);
  const { enter_there: registration, status, ...definition } = shown;
  printFields(io, { ...definition, ...(status as object) });
  if (registration === undefined) return;
  io.out(`\nEnter at ${String(definition["name"])}:\n`);
  printFields(io, registration as Record<string, unknown>);
}

/** Prints a conversation with an identity provider, step by step. */
export function printSteps(io: Io, steps: readonly TraceStep[]): void {
  for (const { at, step, detail = {} } of steps) {
    io.out(`${String(at).padStart(6)} ms  ${oneLine(step)}\n`);
    for (const [name, value] of Object.entries(detail))
      if (value !== undefined) io.out(`${" ".repeat(11)}${name}: ${oneLine(inWords(value))}\n`);
  }
}

/** What others sent stays in its line. */
function oneLine(text: string): string {
  return text.replaceAll(/[\p{Cc}\p{Cf}]/gu, "\u{fffd}");
}

function inWords(value: unknown): string {
  return typeof value === "string" ? value : JSON.stringify(value);
}

function credentialsOf({ kind, clientSecretEnc, privateKeyEnc }: IdentityProvider) {
  if (kind === "saml") return {};
  return { has_client_secret: clientSecretEnc !== null, has_private_key: privateKeyEnc !== null };
}

function metadataOf(row: IdentityProvider) {
  const { saml, issuer } = row;
  if (saml == null) return {};
  const says = parseMetadata(saml.metadataXml, issuer ?? undefined);
  return {
    metadata: {
      fetched_at: saml.metadataFetchedAt?.toISOString() ?? null,
      valid_until: saml.metadataValidUntil?.toISOString() ?? null,
      sign_on: says.signOn.map(({ location }) => location),
      certificates: says.certificates.map(nameOf),
      pending: pendingChanges(row),
    },
  };
}
