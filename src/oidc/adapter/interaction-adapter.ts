import type { Knex } from "knex";
import { errors, type AdapterPayload } from "oidc-provider";
import { defer, reader, writer } from "../../database/transaction.ts";
import { currentBrowser } from "../../http/browser.ts";
import type { Seal } from "../../keys/seal.ts";
import { sha256 } from "../../lib/secret.ts";
import { OAuthInteraction } from "../../models/oauth-interaction.ts";
import { User } from "../../models/user.ts";
import { ModelAdapter } from "./model-adapter.ts";
import { expiry } from "./payload.ts";

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
        userId: payload.session?.accountId ?? null,
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
    const { payload: sealed = null, browser = null } =
      (await OAuthInteraction.find(reader(this.#knex), uidHash)) ?? {};
    if (sealed === null || !isThisBrowser(browser)) return undefined;
    const opened = this.#seal.decrypt(sealed, { ...PAYLOAD_COLUMN, id: uidHash.toString("hex") });
    const payload = JSON.parse(opened.toString()) as AdapterPayload;
    return (await this.#isOvertaken(payload)) ? undefined : payload;
  }

  /** Whether a sign-in was finished and kept back until its person set another password, or ended everything (T-30). */
  async #isOvertaken({ result }: AdapterPayload): Promise<boolean> {
    if (result?.login === undefined) return false;
    const overtaken = await User.lastOvertaken(reader(this.#knex), result.login.accountId);
    return (overtaken?.getTime() ?? -Infinity) > Number(result["finishedAt"] ?? 0);
  }

  async destroy(id: string): Promise<void> {
    // What a sign-in leads to happens once, though the browser may ask twice at the same time.
    if (await OAuthInteraction.finish(await writer(this.#knex), sha256(id), new Date())) return;
    throw new errors.SessionNotFound("the interaction has ended");
  }
}

function isThisBrowser(hash: Buffer | null): boolean {
  return hash === null || currentBrowser()?.equals(hash) === true;
}
