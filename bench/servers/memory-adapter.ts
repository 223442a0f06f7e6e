import type { Adapter, AdapterPayload } from "oidc-provider";

/** The engine's adapter at no cost: everything in maps, nothing ever ends. What any storage is measured against. */
export class MemoryAdapter implements Adapter {
  readonly #rows = new Map<string, AdapterPayload>();
  readonly #idsByUid = new Map<string, string>();
  readonly #idsByGrant = new Map<string, Set<string>>();

  async upsert(id: string, payload: AdapterPayload): Promise<void> {
    const { uid, grantId } = payload;
    this.#rows.set(id, payload);
    if (uid !== undefined) this.#idsByUid.set(uid, id);
    if (grantId === undefined) return;
    const ids = this.#idsByGrant.get(grantId);
    if (ids === undefined) this.#idsByGrant.set(grantId, new Set([id]));
    else ids.add(id);
  }

  async find(id: string): Promise<AdapterPayload | undefined> {
    const payload = this.#rows.get(id);
    return payload && { ...payload };
  }

  async findByUid(uid: string): Promise<AdapterPayload | undefined> {
    return this.find(this.#idsByUid.get(uid) ?? "");
  }

  async findByUserCode(): Promise<undefined> {}

  async consume(id: string): Promise<void> {
    const payload = this.#rows.get(id);
    if (payload !== undefined) payload.consumed = Math.floor(Date.now() / 1000);
  }

  async destroy(id: string): Promise<void> {
    this.#rows.delete(id);
  }

  async revokeByGrantId(grantId: string): Promise<void> {
    for (const id of this.#idsByGrant.get(grantId) ?? []) this.#rows.delete(id);
    this.#idsByGrant.delete(grantId);
  }
}
