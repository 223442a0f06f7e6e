import type { Knex } from "knex";
import { Provider } from "oidc-provider";
import { writer } from "../../database/transaction.ts";
import { isUuid } from "../../lib/uuid.ts";
import { OAuthGrant } from "../../models/oauth-grant.ts";

/** What was asked about one grant in one request. */
interface Asked {
  /** The writes so far, one after the other: a transaction runs one statement at a time. */
  writes: Promise<void>;
  readonly done: Set<"void" | "revoke">;
}

/**
 * Voids the tokens of a grant by its watermark, or revokes it. The engine asks once for every kind of token and once
 * for the grant, all at the same time; one write answers, or two where the second comes later. What this request revoked,
 * and no other before it, is left in `ctx.state.revokedGrant`.
 */
export class GrantRevocation {
  readonly #knex: Knex;
  readonly #requests = new WeakMap<object, Map<string, Asked>>();

  constructor(knex: Knex) {
    this.#knex = knex;
  }

  voidTokens(grantId: string): Promise<void> {
    return this.#once(grantId, "void", async (others) => {
      // A revocation voids them too.
      if (!others.has("revoke")) await OAuthGrant.voidTokens(await writer(this.#knex), grantId);
    });
  }

  revoke(grantId: string): Promise<void> {
    return this.#once(grantId, "revoke", async () => {
      const revoked = await OAuthGrant.revoke(await writer(this.#knex), grantId);
      if (revoked !== undefined && Provider.ctx !== undefined) {
        Provider.ctx.state["revokedGrant"] = revoked;
      }
    });
  }

  #once(
    grantId: string,
    kind: "void" | "revoke",
    write: (asked: Asked["done"]) => Promise<void>,
  ): Promise<void> {
    if (!isUuid(grantId)) return Promise.resolve();
    const request: object | undefined = Provider.ctx;
    if (request === undefined) return write(new Set());
    let grants = this.#requests.get(request);
    if (grants === undefined) {
      grants = new Map();
      this.#requests.set(request, grants);
    }
    const asked = grants.get(grantId) ?? { writes: Promise.resolve(), done: new Set() };
    grants.set(grantId, asked);
    if (!asked.done.has(kind)) {
      asked.done.add(kind);
      asked.writes = asked.writes.then(() => write(asked.done));
    }
    return asked.writes;
  }
}
