import type { Knex } from "knex";
import { errors, Provider, type AdapterPayload } from "oidc-provider";
import { reader, writer } from "../../database/transaction.ts";
import type { Issuer } from "../../issuers.ts";
import type { Seal } from "../../keys/seal.ts";
import { sha256 } from "../../lib/secret.ts";
import {
  DecoupledAuthorization,
  type DecoupledAuthorizationRow,
} from "../../models/decoupled-authorization.ts";
import { OAuthClient } from "../../models/oauth-client.ts";
import { hashUserCode, lookUpUserCode, UserCodeError } from "../user-code.ts";
import type { GrantRevocation } from "./grant-revocation.ts";
import { ModelAdapter } from "./model-adapter.ts";
import { expiry, toEpoch } from "./payload.ts";

const PAYLOAD_COLUMN = { table: "decoupled_authorizations", column: "payload_enc" } as const;

/** What a person decided in a request, for the audit: left in `ctx.state.decided`. */
export interface Decision {
  /** Of the row. */
  readonly id: string;
  readonly status: "approved" | "denied";
  /** The client's public identifier. */
  readonly clientId: string;
  readonly grantId: string | null;
}

/** DeviceCode and BackchannelAuthenticationRequest: rows of `decoupled_authorizations`, sealed. */
export class DecoupledAdapter extends ModelAdapter {
  readonly #kind: DecoupledAuthorization["kind"];
  readonly #knex: Knex;
  readonly #seal: Seal;
  readonly #issuer: string;
  readonly #revocation: GrantRevocation;

  constructor(
    kind: DecoupledAuthorization["kind"],
    { knex, seal, issuer }: { knex: Knex; seal: Seal; issuer: Pick<Issuer, "name"> },
    revocation: GrantRevocation,
  ) {
    super();
    this.#kind = kind;
    this.#knex = knex;
    this.#seal = seal;
    this.#issuer = issuer.name;
    this.#revocation = revocation;
  }

  /** Every save after the first is a step that is made once; whoever comes second is told that it was made. */
  async upsert(id: string, payload: AdapterPayload, expiresIn?: number): Promise<void> {
    const codeHash = sha256(id);
    const payloadEnc = this.#seal.encrypt(JSON.stringify({ ...payload, jti: id }), {
      ...PAYLOAD_COLUMN,
      id: codeHash.toString("hex"),
    });
    const status = statusOf(payload);
    const userId = payload.accountId ?? null;
    const db = await writer(this.#knex);
    if (status === "pending") {
      const added = await DecoupledAuthorization.add(db, {
        kind: this.#kind,
        codeHash,
        userCodeHash:
          payload.userCode === undefined ? null : hashUserCode(this.#seal, payload.userCode),
        clientId: payload.clientId ?? "",
        userId,
        payloadEnc,
        expiresAt: expiry(payload, expiresIn),
      });
      if (!added) throw new errors.TemporarilyUnavailable("ask again for another code");
      return;
    }
    const grantId = status === "approved" ? (payload.grantId ?? null) : null;
    const moved = await DecoupledAuthorization.move(db, {
      codeHash,
      status,
      userId,
      grantId,
      payloadEnc,
    });
    if (moved === undefined) throw new UserCodeError("used");
    if (Provider.ctx === undefined || status === "in_flight") return;
    const decision: Decision = { ...moved, status, clientId: payload.clientId ?? "", grantId };
    Provider.ctx.state["decided"] = decision;
  }

  async find(id: string): Promise<AdapterPayload | undefined> {
    const codeHash = sha256(id);
    const row = await DecoupledAuthorization.find(reader(this.#knex), codeHash);
    if (row === undefined) return undefined;
    const payload = this.#open(row, codeHash);
    if (isUndecided(row) && isPolledBy(payload.clientId)) {
      const waited = await DecoupledAuthorization.poll(await writer(this.#knex), codeHash);
      if (!waited) throw new errors.SlowDown();
    }
    return payload;
  }

  override async findByUserCode(userCode: string): Promise<AdapterPayload | undefined> {
    const needs = { knex: this.#knex, seal: this.#seal };
    return lookUpUserCode(needs, userCode, async (userCodeHash) => {
      const db = reader(this.#knex);
      const found = await DecoupledAuthorization.query(db)
        .findOne({ userCodeHash })
        .whereIn("clientId", OAuthClient.query(db).select("id").where({ issuer: this.#issuer }));
      if (found === undefined) return undefined;
      const row = await DecoupledAuthorization.find(db, found.codeHash);
      return row && this.#open(row, found.codeHash);
    });
  }

  /** A decision is told once (RFC 8628 §3.5). Whoever comes second revokes what the first one got. */
  override async consume(id: string): Promise<void> {
    const db = await writer(this.#knex);
    const codeHash = sha256(id);
    if (await DecoupledAuthorization.consume(db, codeHash, new Date())) return;
    const row = await DecoupledAuthorization.find(db, codeHash);
    if (row?.grant_id) await this.#revocation.revoke(row.grant_id);
    throw new errors.InvalidGrant("the code was already used");
  }

  async destroy(id: string): Promise<void> {
    const db = await writer(this.#knex);
    await DecoupledAuthorization.query(db)
      .delete()
      .where({ codeHash: sha256(id) });
  }

  override async revokeByGrantId(grantId: string): Promise<void> {
    await this.#revocation.voidTokens(grantId);
  }

  #open(row: DecoupledAuthorizationRow, codeHash: Buffer): AdapterPayload {
    const payload = openPayload(this.#seal, codeHash, row.payload_enc);
    payload.exp = toEpoch(row.expires_at);
    // Denied without the person: whoever disabled them did it.
    if (row.status === "denied") payload.error ??= "access_denied";
    if (row.consumed_at !== null) payload.consumed = toEpoch(row.consumed_at);
    return payload;
  }
}

/** What a row holds, with the code itself as `jti`. */
export function openPayload(seal: Seal, codeHash: Buffer, payloadEnc: Buffer): AdapterPayload {
  const place = { ...PAYLOAD_COLUMN, id: codeHash.toString("hex") };
  return JSON.parse(seal.decrypt(payloadEnc, place).toString()) as AdapterPayload;
}

function statusOf({ error, grantId, inFlight }: AdapterPayload): DecoupledAuthorization["status"] {
  if (error !== undefined) return "denied";
  if (grantId !== undefined) return "approved";
  return inFlight === true ? "in_flight" : "pending";
}

function isUndecided({ status, expires_at: expiresAt }: DecoupledAuthorizationRow): boolean {
  return (status === "pending" || status === "in_flight") && expiresAt > new Date();
}

/** Whether this is the client's own question at the token endpoint; a stranger's must not slow it down. */
function isPolledBy(clientId: string | undefined): boolean {
  const { ctx } = Provider;
  return ctx?.oidc.route === "token" && ctx.oidc.client?.clientId === clientId;
}
