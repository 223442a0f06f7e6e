import type { Router } from "@koa/router";
import type { Context } from "koa";
import type { Client } from "oidc-provider";
import type { Knex } from "knex";
import type { TransactionOrKnex } from "objection";
import { z } from "zod";
import type { Config } from "../config.ts";
import { inWords, problemOf } from "../consents/authorization-details.ts";
import { loadDefinitions } from "../consents/authorization-types.ts";
import { clientView, hostOf } from "../consents/client-view.ts";
import { isKnownByAddress } from "../consents/consents.ts";
import { explainedScopes } from "../consents/scopes.ts";
import { reader } from "../database/transaction.ts";
import { errors } from "../errors.ts";
import { readForm } from "../http/body.ts";
import { localeOf } from "../http/locale.ts";
import type { Page } from "../http/page.ts";
import { Role } from "../models/role.ts";
import type { User } from "../models/user.ts";
import { permissionItem } from "../resources/access.ts";
import { inLanguage } from "../terms/terms.ts";
import { claimsOf, nameOf } from "../users/claims.ts";
import { organizationOf } from "../users/organization-claims.ts";
import type { ConsentApi, ConsentDetail, ConsentScope, Views } from "../views.ts";
import type { StepTools } from "./routes.ts";
import type { Visit } from "./visit.ts";

export interface ConsentNeeds {
  config: Pick<Config, "locales">;
  knex: Knex;
  page: Page;
}

const consentForm = z.strictObject({
  decision: z.enum(["allow", "deny"]),
  scope: z.array(z.string().max(700)).max(200).default([]),
});

/** The last step: what the client may know and do. Every scope but `openid` can be left out. */
export function consentRoutes(router: Router, tools: StepTools, needs: ConsentNeeds): void {
  router.get("/consent", tools.at("consent"), async (ctx: Context) => {
    const visit = tools.visit(ctx);
    const { interaction, client, user } = visit;
    const { redirect_uri: redirectUri } = interaction.params;
    const knownByAddress = isKnownByAddress(client) ? addressOf(client, redirectUri) : undefined;
    await needs.page(ctx, "consent", {
      client: clientView(client, redirectUri),
      userName: user === undefined ? "" : nameOf(user),
      scopes: await explain(reader(needs.knex), visit),
      apis: explainApis(visit),
      details: await describeDetails(needs, ctx, visit),
      runsOnDevice:
        client.applicationType === "native" ||
        (knownByAddress !== undefined && !String(redirectUri).startsWith("https:")),
      registeredItself: client["is_dynamic"] === true,
      ...(knownByAddress === undefined ? {} : { knownByAddress }),
      terms: visit.current.map((version) => ({
        title: inLanguage(version, localeOf(ctx, needs.config.locales)).title,
        href: `${visit.issuer?.path ?? ""}/terms/${version.document}`,
      })),
    });
  });

  router.post("/consent", tools.at("consent"), async (ctx: Context) => {
    const form = await readForm(ctx, consentForm);
    const { progress, user, ...visit } = tools.visit(ctx);
    if (form.decision === "deny") return tools.cancel(ctx);
    const requestedScopes = visit.requestedScopes.filter((item) => !isForeign(item, user));
    const chosen = new Set([...requestedScopes.filter(isRequired), ...form.scope]);
    return tools.proceed(ctx, {
      ...progress,
      consent: {
        scopes: requestedScopes.filter((scope) => chosen.has(scope)),
        rejected: requestedScopes.filter((scope) => !chosen.has(scope)),
      },
    });
  });
}

/** The host of its document, and where the answer goes if that is elsewhere. */
function addressOf(
  { clientId }: Client,
  redirectUri: unknown,
): NonNullable<Views["consent"]["knownByAddress"]> {
  const { host } = new URL(clientId);
  const answerHost = hostOf(redirectUri);
  return { host, ...(answerHost === undefined || answerHost === host ? {} : { answerHost }) };
}

/**
 * Everything that the request asks for beyond scopes, in the words of its types.
 *
 * @throws AppError `bad_request` where a type is gone or says something else now: nobody is asked for what they cannot see.
 */
async function describeDetails(
  { knex, config }: ConsentNeeds,
  ctx: Context,
  { requestedDetails }: Visit,
): Promise<ConsentDetail[]> {
  if (requestedDetails.length === 0) return [];
  const definitions = await loadDefinitions(reader(knex));
  const locale = localeOf(ctx, config.locales);
  return requestedDetails.map((detail) => {
    const definition = definitions.get(detail.type);
    if (definition === undefined || problemOf(detail, definition) !== undefined)
      throw errors.badRequest(
        "What the app asks for is no longer possible. Start again at the app.",
      );
    return inWords(detail, definition, locale);
  });
}

/** The claims whose values stand for their scopes. */
const SHOWN = ["name", "preferred_username", "email", "phone_number", "address"] as const;

/** The requested scopes with the very values that this person would release. */
async function explain(
  db: TransactionOrKnex,
  { requestedScopes, allowedScopes, user }: Visit,
): Promise<ConsentScope[]> {
  const isAskedForRoles = user !== undefined && requestedScopes.includes("roles");
  const roles = isAskedForRoles ? await Role.heldBy(db, user.id) : undefined;
  const claims = user && claimsOf(user, SHOWN);
  const values: Record<ConsentScope["name"], unknown> = {
    openid: undefined,
    profile: claims?.["name"] ?? claims?.["preferred_username"],
    email: claims?.["email"],
    phone: claims?.["phone_number"],
    address: formatted(claims?.["address"]),
    groups: namesOf(user?.groups),
    roles: namesOf(roles),
    organizations: namesOf(user?.organizations),
    organization: undefined,
    offline_access: undefined,
  };
  const explained = explainedScopes(requestedScopes).map((scope): ConsentScope => {
    const value = values[scope];
    return {
      name: scope,
      required: isRequired(scope),
      allowedBefore: allowedScopes.has(scope),
      value: typeof value === "string" ? value : undefined,
    };
  });
  return [...explained, ...explainOrganization(requestedScopes, allowedScopes, user)];
}

/** The organization in whose name the app would act: with it or not at all. */
function explainOrganization(
  requested: readonly string[],
  allowed: ReadonlySet<string>,
  user: User | undefined,
): ConsentScope[] {
  return requested.flatMap((item) => {
    const found = user?.organizations?.find(({ slug }) => slug === organizationOf(item));
    if (found === undefined) return [];
    const allowedBefore = allowed.has(item);
    return [{ name: "organization", required: true, allowedBefore, value: found.name }];
  });
}

/** What nobody was asked, because they do not belong to the organization: the client is told so. */
function isForeign(item: string, user: User | undefined): boolean {
  const organization = organizationOf(item);
  const isTheirs = user?.organizations?.some(({ slug }) => slug === organization) === true;
  return organization !== undefined && !isTheirs;
}

/** What nobody can leave out of an answer that is yes. */
function isRequired(item: string): boolean {
  return item === "openid" || organizationOf(item) !== undefined;
}

/** What each API would let the client do, in the words of its operator. */
function explainApis({ apis, requestedScopes, allowedScopes }: Visit): ConsentApi[] {
  const explained = apis.map(({ indicator, name, permissions }, index) => {
    const items = [...permissions].map(([permission, description]) => {
      const item = permissionItem(indicator, permission);
      const id = `${index + 1}-${permission}`;
      return { id, item, description, allowedBefore: allowedScopes.has(item) };
    });
    return {
      name,
      indicator,
      permissions: items.filter(({ item }) => requestedScopes.includes(item)),
    };
  });
  return explained.filter(({ permissions }) => permissions.length > 0);
}

function namesOf(all: readonly { readonly name: string }[] = []): string | undefined {
  const names = all.map(({ name }) => name).toSorted();
  return names.length === 0 ? undefined : names.join(", ");
}

function formatted(address: unknown): unknown {
  if (address === null || typeof address !== "object") return undefined;
  return "formatted" in address ? address.formatted : Object.values(address).join(", ");
}
