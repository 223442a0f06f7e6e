import type { Adapter, AdapterPayload } from "oidc-provider";

/**
 * The seven calls of the engine's adapter contract. A model answers those that the engine makes for it; any other
 * call is a mistake and says so instead of passing unnoticed.
 */
export abstract class ModelAdapter implements Adapter {
  abstract upsert(id: string, payload: AdapterPayload, expiresIn?: number): Promise<void>;
  abstract find(id: string): Promise<AdapterPayload | undefined>;
  abstract destroy(id: string): Promise<void>;

  async findByUid(_uid: string): Promise<AdapterPayload | undefined> {
    throw new Error(`${this.constructor.name} has no uid`);
  }

  async findByUserCode(_userCode: string): Promise<AdapterPayload | undefined> {
    throw new Error(`${this.constructor.name} has no user code`);
  }

  async consume(_id: string): Promise<void> {
    throw new Error(`${this.constructor.name} is not consumed`);
  }

  async revokeByGrantId(_grantId: string): Promise<void> {
    throw new Error(`${this.constructor.name} belongs to no grant`);
  }
}
