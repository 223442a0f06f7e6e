import type { Knex } from "knex";
import { errors, type Client, type Provider } from "oidc-provider";
import type { Context } from "koa";
import { reader } from "../database/transaction.ts";
import type { User } from "../models/user.ts";
import { findConsent, isAlwaysAsked, isFirstParty, undecidedScopes } from "../consents/consents.ts";
import { issuerFor } from "../http/host.ts";
import { findUserWithClaims, scopesAskedFor } from "../users/claims.ts";
import type { Demand, Progress } from "./flow.ts";

type Interaction = Awaited<ReturnType<Provider["interactionDetails"]>>;

/** One request to an interaction: what the engine asked for, how far the person has come, and who they are. */
export interface Visit {
  readonly interaction: Interaction;
  /** The address of this interaction, below which all its pages are. */
  readonly here: string;
  readonly client: Client;
  readonly progress: Progress;
  readonly demand: Demand;
  /** Who is, or is about to be, signed in: from this interaction or from the session. */
  readonly user: User | undefined;
  /** The scopes of the request, and which of them this person has already allowed. */
  readonly requestedScopes: readonly string[];
  readonly allowedScopes: ReadonlySet<string>;
}

/**
 * Loads what a step needs to know.
 *
 * @throws the engine's SessionNotFound when the interaction ended, never was, or belongs to another browser.
 */
export async function loadVisit(provider: Provider, knex: Knex, ctx: Context): Promise<Visit> {
  const interaction = await provider.interactionDetails(ctx.req, ctx.res);
  // The engine goes by the cookie alone; another sign-in's must not open this address.
  if (interaction.uid !== ctx["params"].uid) {
    throw new errors.SessionNotFound("the cookie is of another interaction");
  }
  ctx.state["uiLocales"] = interaction.params["ui_locales"];
  const client = await provider.Client.find(String(interaction.params["client_id"]));
  // One that was deleted meanwhile, or that another issuer's interaction is for.
  if (client === undefined) throw new errors.SessionNotFound("the client is gone");
  const here = `${issuerFor(ctx)?.path ?? ""}/interaction/${interaction.uid}`;
  return assess(knex, { interaction, here, client }, readProgress(interaction));
}

/** The same visit after the person has come a step further. */
export async function advance(knex: Knex, visit: Visit, progress: Progress): Promise<Visit> {
  return assess(knex, visit, progress);
}

async function assess(
  knex: Knex,
  { interaction, here, client }: Pick<Visit, "interaction" | "here" | "client">,
  claimed: Progress,
): Promise<Visit> {
  const signIn = interaction.prompt.name === "login";
  const sessionUserId = interaction.session?.accountId;
  const userId = claimed.userId ?? sessionUserId;
  const found = userId === undefined ? undefined : await findUserWithClaims(reader(knex), userId);
  const user = found?.isActive === true ? found : undefined;
  const progress = isStillGood(claimed, user) ? claimed : withoutSignIn(claimed);
  const requestedScopes = scopesAskedFor(interaction.params);
  const knowsWho = progress.userId !== undefined || !signIn;
  const decided =
    user !== undefined && knowsWho && !isFirstParty(client)
      ? await findConsent(reader(knex), user.id, client)
      : undefined;
  const prompts = new Set(words(interaction.params["prompt"]));
  const redirectUri = interaction.params["redirect_uri"];
  return {
    interaction,
    here,
    client,
    progress,
    user,
    requestedScopes,
    allowedScopes: new Set(decided?.scopes),
    demand: {
      signIn,
      sessionUserId: user === undefined ? undefined : sessionUserId,
      consent:
        isAlwaysAsked(client, prompts, typeof redirectUri === "string" ? redirectUri : undefined) ||
        undecidedScopes(requestedScopes, client, decided).length > 0,
    },
  };
}

/** Whether whoever signed in here may still go on: they may have been disabled meanwhile (T-30). */
function isStillGood({ userId, signedInAt = 0 }: Progress, user: User | undefined): boolean {
  if (userId === undefined) return true;
  if (user === undefined) return false;
  return user.sessionsValidAfter === null || signedInAt * 1000 > user.sessionsValidAfter.getTime();
}

/** As if nobody had signed in yet; what was typed stays. */
function withoutSignIn({ identifier }: Progress): Progress {
  return identifier === undefined ? {} : { identifier };
}

/** Our part of the engine's interaction: under a key of our own, so that it starts no session. */
function readProgress(interaction: Interaction): Progress {
  const progress = interaction.result?.["progress"];
  return progress !== null && typeof progress === "object" ? progress : {};
}

/** Keeps progress without finishing: the engine's session starts when a result has `login`, and not before. */
export async function saveProgress(interaction: Interaction, progress: Progress): Promise<void> {
  interaction.result = { progress };
  await interaction.persist();
}

/** A parameter that is a list of words separated by spaces (RFC 6749 §3.3). */
function words(value: unknown): string[] {
  return typeof value === "string" ? value.split(" ").filter((word) => word !== "") : [];
}
