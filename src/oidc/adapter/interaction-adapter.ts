import type { Knex } from "knex";
import { errors, Provider, type AdapterPayload } from "oidc-provider";
import { decide, defer, reader } from "../../database/transaction.ts";
import { currentBrowser } from "../../http/browser.ts";
import type { Seal } from "../../keys/seal.ts";
import { sha256 } from "../../lib/secret.ts";
import { OAuthInteraction } from "../../models/oauth-interaction.ts";
import { User, type UserJson } from "../../models/user.ts";
import { ModelAdapter } from "./model-adapter.ts";
import { expiry } from "./payload.ts";
import { rememberConsent, rememberUser } from "./prefetch.ts";

const PAYLOAD_COLUMN = { table: "oauth_interactions", column: "payload_enc" } as const;

/** Interaction: rows of `oauth_interactions`, sealed. */
export class InteractionAdapter extends ModelAdapter {
  readonly #knex: Knex;
  readonly #seal: Seal;

  constructor(knex: Knex, seal: Seal) {
    super();
    this.#knex = knex;
    this.#seal = seal;
  }

  async upsert(id: string, payload: AdapterPayload, expiresIn?: number): Promise<void> {
    const uidHash = sha256(id);
    const clientId = payload.params?.["client_id"];
    await defer(
      this.#knex,
      OAuthInteraction.saving({
        uidHash,
        clientId: typeof clientId === "string" ? clientId : null,
        userId: payload.result?.login?.accountId ?? payload.session?.accountId ?? null,
        asOf: asOf(payload),
        browserHash: currentBrowser() ?? null,
        payloadEnc: this.#seal.encrypt(JSON.stringify(payload), {
          ...PAYLOAD_COLUMN,
          id: uidHash.toString("hex"),
        }),
        expiresAt: expiry(payload, expiresIn),
      }),
    );
  }

  async find(id: string): Promise<AdapterPayload | undefined> {
    const uidHash = sha256(id);
    const row = await OAuthInteraction.find(reader(this.#knex), uidHash);
    if (!row?.payload || !isThisBrowser(row.browser)) return undefined;
    const place = { ...PAYLOAD_COLUMN, id: uidHash.toString("hex") };
    const payload = JSON.parse(this.#seal.decrypt(row.payload, place).toString()) as AdapterPayload;
    const account = await this.#accountOf(payload, row.account);
    if (isOvertaken(payload, row.as_of, account)) return undefined;
    if (account !== undefined) rememberUser(account);
    if (row.consent !== null) rememberConsent(row.consent);
    return payload;
  }

  /** Whom it is about. A server of an earlier version, of which one may still run, does not write beside it who signs in. */
  async #accountOf(
    { result }: AdapterPayload,
    beside: UserJson | null,
  ): Promise<UserJson | undefined> {
    const { accountId } = result?.login ?? {};
    if (accountId === undefined || accountId === beside?.user["id"]) return beside ?? undefined;
    return User.findJson(reader(this.#knex), accountId);
  }

  async destroy(id: string): Promise<void> {
    // What a sign-in leads to happens once, though the browser may ask twice at the same time.
    await decide(this.#knex, OAuthInteraction.finishing(sha256(id), new Date()), async () => {
      // Found out late, when a session and a grant may have been made: nothing of that is kept, and the client not told.
      if (Provider.ctx !== undefined) Provider.ctx.state["isUndone"] = true;
      const ended = new errors.SessionNotFound("the interaction has ended");
      throw Object.assign(ended, { allow_redirect: false });
    });
  }
}

/**
 * Whether a sign-in was finished and kept back until its person set another password, or ended everything (T-30), or is
 * no more.
 */
function isOvertaken(
  { result }: AdapterPayload,
  as: Date | null,
  account: UserJson | undefined,
): boolean {
  if (result?.login === undefined) return false;
  if (account === undefined) return true;
  const overtakenAt = User.fromJsonRow(account.user).overtakenAt.getTime();
  // A server of an earlier version, of which one may still run, says only when it was finished.
  return as === null
    ? overtakenAt > Number(result["finishedAt"] ?? 0)
    : overtakenAt !== as.getTime();
}

/** What was known of whoever signs in, where somebody does. */
function asOf({ result }: AdapterPayload): Date | null {
  const at = result?.["asOf"];
  return typeof at === "number" ? new Date(at) : null;
}

function isThisBrowser(hash: Buffer | null): boolean {
  return hash === null || currentBrowser()?.equals(hash) === true;
}
