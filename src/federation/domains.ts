import { UniqueViolationError, type TransactionOrKnex } from "objection";
import type { Knex } from "knex";
import { record, type NewEvent } from "../audit/record.ts";
import { normaliseEmail } from "../authn/normalise-email.ts";
import { AppError, errors } from "../errors.ts";
import { newSecret } from "../lib/secret.ts";
import { IdentityProvider } from "../models/identity-provider.ts";
import { SsoDomain } from "../models/sso-domain.ts";
import { UserEmail } from "../models/user-email.ts";
import { PUBLIC_DOMAINS } from "./public-domains.ts";
import type { LookUpTxt } from "./txt-records.ts";

const SYSTEM: NewEvent["actor"] = { type: "system" };

/** As the table has it: labels, and a last one that is no number. */
const DOMAIN = /^(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z][a-z0-9-]{0,61}[a-z0-9]$/;

/** What the owner of a domain publishes in DNS to say that a connection may have its people. */
export interface DomainProof {
  readonly name: string;
  readonly type: "TXT";
  readonly value: string;
}

/** The record that proves a domain. */
export function proofOf({ domain, dnsChallenge }: SsoDomain): DomainProof {
  return {
    name: `_lintel-challenge.${domain}`,
    type: "TXT",
    value: `lintel-domain-verification=${dnsChallenge}`,
  };
}

/**
 * Says that the addresses of a domain are to belong to a connection; nothing comes of it until it is proven. A
 * sub-domain is a domain of its own. All writes of this file go through the given transaction, the audit events with
 * them.
 *
 * @param typed the domain as a person writes it, in any script.
 * @throws AppError `unknown_connection`; `invalid_domain` where it is none, is there already, or is everybody's.
 */
export async function addDomain(
  db: TransactionOrKnex,
  { slug, domain: typed }: { slug: string; domain: string },
  now: Date,
): Promise<SsoDomain> {
  const provider = await connectionNamed(db, slug);
  const domain = readDomain(typed);
  if (PUBLIC_DOMAINS.has(domain))
    throw errors.invalidDomain(
      `anybody can have an address at ${domain}, so no connection can own its people; name a domain of an organisation`,
    );
  const added = await SsoDomain.query(db)
    .insertAndFetch({ domain, providerId: provider.id, dnsChallenge: newSecret(), createdAt: now })
    .catch((error: unknown) => {
      if (!(error instanceof UniqueViolationError)) throw error;
      throw errors.invalidDomain(
        `${domain} is there already; see \`lintel connection domain list ${slug}\``,
      );
    });
  await tell(db, "connection.domain_added", provider, added);
  return added;
}

/** The domains of a connection, by name. @throws AppError `unknown_connection` */
export async function listDomains(
  db: TransactionOrKnex,
  slug: string,
): Promise<readonly SsoDomain[]> {
  const { id: providerId } = await connectionNamed(db, slug);
  return SsoDomain.query(db).where({ providerId }).orderBy("domain");
}

/**
 * Looks for the proof in DNS and believes the domain from then on. DNS is slow and somebody else's, so no transaction
 * waits for it; what was proven is then this very row: one that was removed meanwhile, or made again with another
 * challenge, gains nothing (T-93).
 *
 * @throws AppError `unknown_connection`, `unknown_domain`; `domain_not_proven` with what was found instead, and where
 *   another connection has the domain.
 */
export async function verifyDomain(
  knex: Knex,
  { slug, domain: typed }: { slug: string; domain: string },
  lookUp: LookUpTxt,
  now: () => Date,
): Promise<SsoDomain> {
  const provider = await connectionNamed(knex, slug);
  const row = await domainOf(knex, provider, typed);
  if (row.verifiedAt !== null) return row;
  const { name, value } = proofOf(row);
  const found = await lookUp(name);
  if (!found.includes(value)) throw notProven(name, value, found);

  return knex.transaction(async (trx) => {
    const verified = await prove(trx, row, now());
    if (verified === undefined)
      throw errors.domainNotProven(`${row.domain} was removed meanwhile; add it again`);
    await tell(trx, "connection.domain_verified", provider, verified);
    return verified;
  });
}

/**
 * Says whether people with addresses at a domain sign in through its connection only.
 *
 * @throws AppError `unknown_connection`, `unknown_domain`, `domain_not_proven`
 */
export async function enforceDomain(
  db: TransactionOrKnex,
  { slug, domain: typed, enforced }: { slug: string; domain: string; enforced: boolean },
): Promise<SsoDomain> {
  const provider = await connectionNamed(db, slug);
  const { id, domain } = await domainOf(db, provider, typed);
  const [row] = await SsoDomain.query(db)
    .patch({ enforceSso: enforced })
    .where({ id })
    .whereNotNull("verifiedAt")
    .returning("*");
  if (row === undefined)
    throw errors.domainNotProven(
      `${domain} is not proven yet; run \`lintel connection domain verify ${slug} ${domain}\``,
    );
  await tell(db, "connection.domain_enforced", provider, row, { enforced });
  return row;
}

/**
 * Takes a domain away from a connection; its people sign in as anybody.
 *
 * @throws AppError `unknown_connection`, `unknown_domain`
 */
export async function removeDomain(
  db: TransactionOrKnex,
  { slug, domain }: { slug: string; domain: string },
): Promise<SsoDomain> {
  const provider = await connectionNamed(db, slug);
  const row = await domainOf(db, provider, domain);
  await row.$query(db).delete();
  await tell(db, "connection.domain_removed", provider, row);
  return row;
}

/** How many people have an address at a domain, and how many of them have not signed in through its connection. */
export async function peopleOf(
  db: TransactionOrKnex,
  { domain, providerId }: SsoDomain,
): Promise<{ all: number; strangers: number }> {
  const [counts] = await UserEmail.statement<{ all: number; strangers: number }>(
    db,
    `SELECT count(*)::int AS "all",
            (count(*) FILTER (WHERE NOT EXISTS (
               SELECT FROM identities i WHERE i.user_id = people.user_id AND i.provider_id = :providerId)))::int AS strangers
       FROM (SELECT DISTINCT user_id FROM user_emails WHERE split_part(email_norm, '@', 2) = :domain) people`,
    { domain, providerId },
  );
  return counts ?? { all: 0, strangers: 0 };
}

/** The form in which addresses have it, so that the two are equal where they mean the same. */
function readDomain(typed: string): string {
  try {
    const [, domain = ""] = normaliseEmail(`x@${typed.trim()}`).email.split("@");
    if (DOMAIN.test(domain)) return domain;
  } catch (error) {
    if (!(error instanceof AppError)) throw error;
  }
  throw errors.invalidDomain(`${typed} is no domain of e-mail addresses, such as example.com`);
}

async function connectionNamed(db: TransactionOrKnex, slug: string): Promise<IdentityProvider> {
  const provider = await IdentityProvider.query(db).findOne({ slug });
  if (provider === undefined) throw errors.unknownConnection(slug);
  return provider;
}

async function domainOf(
  db: TransactionOrKnex,
  { id: providerId, slug }: IdentityProvider,
  typed: string,
): Promise<SsoDomain> {
  const domain = readDomain(typed);
  const row = await SsoDomain.query(db).findOne({ providerId, domain });
  if (row === undefined) throw errors.unknownDomain(slug, domain);
  return row;
}

async function prove(
  db: TransactionOrKnex,
  { id, domain, providerId, dnsChallenge }: SsoDomain,
  now: Date,
): Promise<SsoDomain | undefined> {
  try {
    const [verified] = await SsoDomain.query(db)
      .patch({ verifiedAt: now })
      .where({ id, domain, providerId, dnsChallenge })
      .returning("*");
    return verified;
  } catch (error) {
    if (!(error instanceof UniqueViolationError)) throw error;
    throw errors.domainNotProven(
      `${domain} is proven for another connection; remove it there first`,
      error,
    );
  }
}

function notProven(name: string, value: string, found: readonly string[]): AppError {
  const instead =
    found.length === 0 ? "no TXT record" : `other TXT records: ${found.slice(0, 5).join(" | ")}`;
  return errors.domainNotProven(
    `DNS has ${instead} at ${name}. Publish a TXT record there with the value ${value}, and try again; DNS may take an hour.`,
  );
}

async function tell(
  db: TransactionOrKnex,
  type: Extract<NewEvent["type"], `connection.domain_${string}`>,
  provider: IdentityProvider,
  { domain }: SsoDomain,
  more: { enforced?: boolean } = {},
): Promise<void> {
  await record(db, {
    type,
    actor: SYSTEM,
    target: { type: "identity_provider", id: provider.id },
    details: { slug: provider.slug, domain, ...more },
  });
}
