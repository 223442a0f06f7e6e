import type { Knex } from "knex";
import { errors, type AdapterPayload } from "oidc-provider";
import { reader, writer } from "../../database/transaction.ts";
import { sha256 } from "../../lib/secret.ts";
import { ReplayGuard } from "../../models/replay-guard.ts";
import { ModelAdapter } from "./model-adapter.ts";
import { expiry, restore } from "./payload.ts";

/** ReplayDetection: rows of `replay_guards`. The engine's own find-then-save is replaced in `provider.ts`. */
export class ReplayAdapter extends ModelAdapter {
  readonly #knex: Knex;

  constructor(knex: Knex) {
    super();
    this.#knex = knex;
  }

  async upsert(id: string, payload: AdapterPayload, expiresIn?: number): Promise<void> {
    const db = await writer(this.#knex);
    if (!(await ReplayGuard.claim(db, sha256(id), expiry(payload, expiresIn), new Date()))) {
      throw new errors.InvalidRequest("this value was already used");
    }
  }

  async find(id: string): Promise<AdapterPayload | undefined> {
    const row = await ReplayGuard.query(reader(this.#knex)).findById(sha256(id));
    return row && restore({}, { kind: "ReplayDetection", jti: id, expiresAt: row.expiresAt });
  }

  async destroy(id: string): Promise<void> {
    await ReplayGuard.query(await writer(this.#knex)).deleteById(sha256(id));
  }
}
