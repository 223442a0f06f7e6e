import type { Knex } from "knex";
import {
  errors,
  interactionPolicy,
  type AccessToken,
  type ClaimsParameter,
  type ClientCredentials,
  type KoaContextWithOIDC,
} from "oidc-provider";
import { reader } from "../database/transaction.ts";
import { Organization, type Affiliation } from "../models/organization.ts";
import { User } from "../models/user.ts";
import { wordsOf } from "../users/claims.ts";
import { organizationItem, organizationsNamed } from "../users/organization-claims.ts";

/*
 * A request in the name of one organization of the person's: by the parameter `organization_id`, or, which is the same,
 * by the value of the claim `org_id`. As a claim it goes with the code and every token that comes of it.
 */

const SLUG = /^[a-z0-9-]{1,50}$/;
/** Prompts after which it may be somebody else. */
const MAY_CHANGE_WHO = ["login", "select_account", "create"];

/** Turns the parameter into the claims that stand for it. @throws InvalidRequest */
export async function assertOrganizationId(
  ctx: KoaContextWithOIDC,
  value: string | undefined,
): Promise<void> {
  const { params = {} } = ctx.oidc;
  if (value === undefined) return;
  if (!wordsOf(params["scope"]).includes("openid"))
    throw new errors.InvalidRequest(
      "openid scope must be requested when using the organization_id parameter",
    );
  const { claims } = params;
  const said = (typeof claims === "string" ? JSON.parse(claims) : {}) as ClaimsParameter;
  const wish = { org_id: { value }, org_roles: null };
  const merged = {
    ...said,
    id_token: { ...said.id_token, ...wish },
    ...(params["response_type"] === "id_token" ? {} : { userinfo: { ...said.userinfo, ...wish } }),
  };
  assertOrganization(ctx, [...organizationsNamed(said), value]);
  params["claims"] = JSON.stringify(merged);
}

/** @throws InvalidRequest where the claims name what is no organization, more than one, or where nobody could refuse. */
export async function assertOrganizationClaims(
  ctx: KoaContextWithOIDC,
  claims: ClaimsParameter,
): Promise<void> {
  assertOrganization(ctx, organizationsNamed(claims));
}

function assertOrganization({ oidc }: KoaContextWithOIDC, all: readonly unknown[]): void {
  const named = new Set(all);
  if (named.size === 0) return;
  if (oidc.route === "device_authorization" || oidc.route === "backchannel_authentication")
    throw new errors.InvalidRequest("an organization can be named in authorization requests only");
  if (named.size > 1) throw new errors.InvalidRequest("only one organization can be named");
  for (const slug of named)
    if (typeof slug !== "string" || !SLUG.test(slug))
      throw new errors.InvalidRequest("organization_id must be an organization");
}

/**
 * The engine's check that whoever is signed in belongs to the organization. The client learns that they do not, once they
 * have allowed it something or have just seen a page of ours: nobody is sounded out on the way past.
 */
export function belongsToOrganization(): interactionPolicy.Check {
  const description = "the end-user does not belong to the organization";
  return new interactionPolicy.Check(
    "organization_foreign",
    description,
    "access_denied",
    ({ oidc }: KoaContextWithOIDC) => {
      const [slug] = organizationsNamed(oidc.claims);
      const user: unknown = oidc.account?.["user"];
      if (slug === undefined || !(user instanceof User)) return false;
      if (MAY_CHANGE_WHO.some((prompt) => oidc.promptPending(prompt))) return false;
      const isAllowedAny = wordsOf(oidc.grant?.getOIDCScopeEncountered()).length > 0;
      if (oidc.result === undefined && !isAllowedAny) return false;
      if (user.organizations?.some((one) => one.slug === slug) === true) return false;
      throw new errors.AccessDenied(description);
    },
  );
}

/** The engine's check that the person was asked about the organization. */
export function decidedOnOrganization(): interactionPolicy.Check {
  return new interactionPolicy.Check(
    "organization_undecided",
    "the end-user has not been asked about the organization",
    "consent_required",
    ({ oidc }: KoaContextWithOIDC) => {
      const item = organizationItem(oidc.claims);
      return item !== undefined && !wordsOf(oidc.grant?.getOIDCScopeEncountered()).includes(item);
    },
  );
}

/** The organization that a token or an answer is about: where its grant allows that, and they belong to it now. */
export async function affiliationOf(
  knex: Knex,
  { oidc }: KoaContextWithOIDC,
  userId: string,
  claims: ClaimsParameter | undefined,
): Promise<Affiliation | undefined> {
  const item = organizationItem(claims);
  if (item === undefined || !wordsOf(oidc.grant?.getOIDCScope()).includes(item)) return undefined;
  const [slug] = organizationsNamed(claims);
  return (await Organization.of(reader(knex), userId)).find(({ id }) => id === slug);
}

/** What is so now of the organization that a token says it is in the name of: nothing, once they have left it. */
export async function organizationAsOfNow(
  knex: Knex,
  userId: string,
  { org_id: slug }: Readonly<Record<string, unknown>>,
): Promise<Record<string, unknown>> {
  const all = slug === undefined ? [] : await Organization.of(reader(knex), userId);
  const found = all.find(({ id }) => id === slug);
  return { org_id: found?.id, org_roles: found?.roles };
}

/** What an access token for an API says of the organization that it was asked for in the name of. */
export async function organizationInToken(
  knex: Knex,
  ctx: KoaContextWithOIDC,
  token: AccessToken | ClientCredentials,
): Promise<Record<string, unknown>> {
  if (token.kind !== "AccessToken") return {};
  const { entities, claims } = ctx.oidc;
  const source = entities.AuthorizationCode ?? entities.RefreshToken;
  const found = await affiliationOf(knex, ctx, token.accountId, source?.claims ?? claims);
  return found === undefined ? {} : { org_id: found.id, org_roles: found.roles };
}
