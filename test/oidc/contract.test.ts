import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import type { Adapter, AdapterPayload } from "oidc-provider";
// The engine's own reference, by which ours is measured. It is private: an upgrade may move it.
// @ts-expect-error -- no types are published for it
import MemoryAdapter from "oidc-provider/lib/adapters/memory_adapter.js";
import { adapterFactory } from "../../src/oidc/adapter/index.ts";
import { aGrant, aStorage, type TestStorage } from "../support/storage.ts";

const now = () => Math.floor(Date.now() / 1000);
const newId = () => randomBytes(32).toString("base64url");

interface Subject {
  close(): Promise<void>;
  adapter(model: string): Adapter;
  /** An id that the implementation accepts for a new refresh token. */
  refreshTokenId(): string;
  /** A payload whose grant, user and client exist. */
  payload(model: string): Promise<AdapterPayload>;
}

/** What the engine relies on, whoever stores its models (oidc-provider, "Adapter"). */
function describeAdapter(name: string, open: () => Promise<Subject>): void {
  describe(`adapter contract: ${name}`, () => {
    let subject: Subject;
    before(async () => {
      subject = await open();
    });
    after(() => subject.close());

    for (const model of [
      "AccessToken",
      "AuthorizationCode",
      "RefreshToken",
      "ClientCredentials",
      "PushedAuthorizationRequest",
      "Interaction",
    ]) {
      it(`${model}: gives back what it was given, and nothing once destroyed`, async () => {
        const adapter = subject.adapter(model);
        const id = model === "RefreshToken" ? subject.refreshTokenId() : newId();
        const payload = { ...(await subject.payload(model)), jti: id };
        assert.equal(await adapter.find(id), undefined);
        await adapter.upsert(id, payload, 60);
        const found = await adapter.find(id);
        assert.deepEqual({ ...found }, payload);
        await adapter.destroy(id);
        const afterwards = await adapter.find(id);
        assert.ok(afterwards === undefined || afterwards.consumed, "gone, or of no more use");
      });

      it(`${model}: tolerates ids that it never made`, async () => {
        assert.equal(await subject.adapter(model).find("not-an-id"), undefined);
        assert.equal(await subject.adapter(model).find(""), undefined);
      });
    }

    for (const model of ["AuthorizationCode", "PushedAuthorizationRequest"]) {
      it(`${model}: says that it was consumed`, async () => {
        const adapter = subject.adapter(model);
        const id = newId();
        await adapter.upsert(id, { ...(await subject.payload(model)), jti: id }, 60);
        await adapter.consume(id);
        const found = await adapter.find(id);
        assert.ok(Math.abs(Number(found?.consumed) - now()) <= 2);
      });
    }

    for (const model of ["AccessToken", "AuthorizationCode", "RefreshToken"]) {
      it(`${model}: is gone when its grant's tokens are revoked`, async () => {
        const adapter = subject.adapter(model);
        const id = model === "RefreshToken" ? subject.refreshTokenId() : newId();
        const payload = { ...(await subject.payload(model)), jti: id };
        await adapter.upsert(id, payload, 60);
        await adapter.revokeByGrantId(String(payload.grantId));
        assert.equal(await adapter.find(id), undefined);
      });
    }

    it("Session: is found by its id and by its uid, and keeps its uid when its id changes", async () => {
      const adapter = subject.adapter("Session");
      const [first, second, uid] = [newId(), newId(), newId()];
      const payload = { ...(await subject.payload("Session")), uid };
      await adapter.upsert(first, { ...payload, jti: first }, 60);
      assert.equal((await adapter.find(first))?.uid, uid);
      assert.equal((await adapter.findByUid(uid))?.uid, uid);
      await adapter.upsert(second, { ...payload, jti: second }, 60);
      assert.equal((await adapter.find(second))?.jti, second);
      await adapter.destroy(second);
      assert.equal(await adapter.find(second), undefined);
      assert.equal(await adapter.findByUid(uid), undefined);
    });

    it("ReplayDetection: knows a value until it is destroyed", async () => {
      const adapter = subject.adapter("ReplayDetection");
      const id = newId();
      assert.equal(await adapter.find(id), undefined);
      await adapter.upsert(id, { ...(await subject.payload("ReplayDetection")), jti: id }, 60);
      assert.equal((await adapter.find(id))?.jti, id);
      await adapter.destroy(id);
      assert.equal(await adapter.find(id), undefined);
    });

    it("Grant: is found until it is destroyed", async () => {
      const adapter = subject.adapter("Grant");
      const { grantId } = await subject.payload("AccessToken");
      assert.equal((await adapter.find(String(grantId)))?.jti, grantId);
      await adapter.destroy(String(grantId));
      assert.equal(await adapter.find(String(grantId)), undefined);
    });
  });
}

/** The fields of each model that the engine saves, with a grant that exists where there is one. */
function payloadOf(
  model: string,
  grant: { id: string; userId: string; clientId: string },
): AdapterPayload {
  const base = { kind: model, iat: now(), exp: now() + 60 };
  const token = {
    ...base,
    accountId: grant.userId,
    clientId: grant.clientId,
    grantId: grant.id,
    scope: "openid",
  };
  switch (model) {
    case "AccessToken":
      return { ...token, extra: {}, gty: "authorization_code" };
    case "AuthorizationCode":
      return { ...token, redirectUri: "https://rp.example/cb", codeChallenge: "x", sid: "s" };
    case "RefreshToken":
      return { ...token, gty: "authorization_code", iiat: now(), rotations: 0 };
    case "Interaction":
      return { ...base, returnTo: "/auth/x", params: { client_id: grant.clientId }, cid: "c" };
    case "Session":
      return { ...base, accountId: grant.userId, loginTs: now() };
    case "ClientCredentials":
      return { ...base, clientId: grant.clientId, extra: {} };
    case "PushedAuthorizationRequest":
      return { ...base, request: "e30.e30." };
    default:
      return base;
  }
}

describeAdapter("the engine in memory", async () => ({
  close: async () => {},
  adapter: (model) => new MemoryAdapter(model) as Adapter,
  refreshTokenId: newId,
  payload: async (model) => {
    const grant = { id: newId(), userId: newId(), clientId: newId() };
    await new MemoryAdapter("Grant").upsert(grant.id, { jti: grant.id, kind: "Grant" }, 60);
    return payloadOf(model, grant);
  },
}));

describeAdapter("PostgreSQL", async () => {
  const storage: TestStorage = await aStorage();
  const adapters = adapterFactory(storage);
  return {
    close: storage.close,
    adapter: adapters,
    refreshTokenId: () => storage.refreshTokenFormat.first(),
    payload: async (model) => payloadOf(model, await aGrant(storage)),
  };
});
