import assert from "node:assert/strict";
import { send, type Answer } from "../support/rp.ts";
import { aServer, freePort, type TestServer } from "../support/server.ts";

describe("well-known addresses for password managers and browsers", () => {
  let server: TestServer;
  let other: string;

  before(async () => {
    const port = await freePort();
    other = `http://localhost:${port}`;
    server = await aServer({
      PORT: String(port),
      ISSUER: other,
      MORE_ISSUERS: `bank=fapi2@${other}/bank`,
      PASSKEY_ORIGINS: "https://login.example.org,https://id.example.net",
    });
  });
  after(() => server?.stop());

  const get = (path: string): Promise<Answer> => send(server, { path });

  it("lead to the page where a password is changed (Change Password URL §3)", async () => {
    const answer = await get("/.well-known/change-password");
    assert.equal(answer.status, 302);
    assert.equal(new URL(answer.location ?? "", other).pathname, "/account/password");
  });

  it("do not answer for what is not there, so that the others are believed (Change Password URL §3)", async () => {
    const path = "/.well-known/resource-that-should-not-exist-whose-status-code-should-not-be-200";
    assert.equal((await get(path)).status, 404);
  });

  it("say where passkeys are made and kept (Passkey Endpoints §3)", async () => {
    const answer = await get("/.well-known/passkey-endpoints");
    assert.equal(answer.status, 200);
    assert.match(answer.headers["content-type"] ?? "", /^application\/json/);
    assert.deepEqual(JSON.parse(answer.text), {
      enroll: `${other}/account/passkeys/new`,
      manage: `${other}/account/passkeys`,
    });
  });

  it("name the other origins that may use these passkeys (WebAuthn §5.11)", async () => {
    const answer = await get("/.well-known/webauthn");
    assert.equal(answer.status, 200);
    assert.match(answer.headers["content-type"] ?? "", /^application\/json/);
    assert.deepEqual(JSON.parse(answer.text), {
      origins: ["https://login.example.org", "https://id.example.net"],
    });
  });

  it("name none where there are none (WebAuthn §5.11)", async () => {
    const alone = await aServer();
    try {
      assert.equal((await send(alone, { path: "/.well-known/webauthn" })).status, 404);
    } finally {
      await alone.stop();
    }
  });
});
