import assert from "node:assert/strict";
import { decodeJwt } from "jose";
import { addMember, createGroup, deleteGroup, removeMember } from "../../src/users/groups.ts";
import { asksFor } from "../support/api.ts";
import { anApp } from "../support/factors.ts";
import { json, RelyingParty, response, walk, WebBrowser, type Fields } from "../support/rp.ts";
import { aClient, aServer, aUser, type TestServer } from "../support/server.ts";
import { Walker } from "../support/walker.ts";

describe("groups", function () {
  this.timeout(60_000);
  let server: TestServer;
  let app: RelyingParty;
  let serial = 0;
  before(async () => {
    server = await aServer();
    app = new RelyingParty(server, await aClient(server));
  });
  after(() => server.stop());

  const aGroup = async (requireSecondFactor = false) => {
    const name = `group ${(serial += 1)}`;
    await createGroup(server.database.knex, { name, requireSecondFactor });
    return name;
  };
  const somebodyIn = async (...names: string[]) => {
    const user = await aUser(server);
    for (const name of names) await addMember(server.database.knex, name, user.id);
    return user;
  };
  const signIn = (user: { email: string }, asked: Fields, scopes?: string[]) => {
    const person = { email: user.email, ...(scopes === undefined ? {} : { scopes }) };
    return walk(server, new WebBrowser(server), asksFor(app, asked), person);
  };
  const tokensFor = async (user: { email: string }, asked: Fields, scopes?: string[]) =>
    json(await app.redeem(response(await signIn(user, asked, scopes))["code"] ?? ""));
  const groupsAt = async (tokens: Record<string, unknown>) =>
    json(await app.userinfo(String(tokens["access_token"])))["groups"];

  describe("as a claim", () => {
    it("are at userinfo with the scope groups, sorted, each once (OIDC Core §5.4)", async () => {
      const [first, second] = [await aGroup(), await aGroup()];
      const user = await somebodyIn(second, first);
      assert.deepEqual(await groupsAt(await tokensFor(user, { scope: "openid groups" })), [
        first,
        second,
      ]);
    });

    it("are an empty list for who is in none", async () => {
      const tokens = await tokensFor(await aUser(server), { scope: "openid groups" });
      assert.deepEqual(await groupsAt(tokens), []);
    });

    it("are in the ID token where the claims parameter asks for them (OIDC Core §5.5)", async () => {
      const name = await aGroup();
      const claims = JSON.stringify({ id_token: { groups: null } });
      const tokens = await tokensFor(await somebodyIn(name), { scope: "openid", claims });
      assert.deepEqual(decodeJwt(String(tokens["id_token"]))["groups"], [name]);
    });

    it("are nowhere without the scope", async () => {
      const user = await somebodyIn(await aGroup());
      const tokens = await tokensFor(user, { scope: "openid profile email" });
      assert.equal(await groupsAt(tokens), undefined);
      assert.equal(decodeJwt(String(tokens["id_token"]))["groups"], undefined);
    });

    it("are nowhere where the person said no, and the page shows which they are", async () => {
      const user = await somebodyIn(await aGroup());
      const browser = new WebBrowser(server);
      const asked = asksFor(app, { scope: "openid groups" });
      const page = await walk(server, browser, asked, { email: user.email, until: "consent" });
      assert.match(page.text, /See which groups you are in/);
      assert.match(page.text, /group \d+</);
      const tokens = await tokensFor(user, { scope: "openid groups" }, ["openid"]);
      assert.equal(await groupsAt(tokens), undefined);
    });

    it("are those of now, not those of the sign-in", async () => {
      const name = await aGroup();
      const user = await somebodyIn(name);
      const tokens = await tokensFor(user, { scope: "openid groups" });
      await removeMember(server.database.knex, name, user.id);
      assert.deepEqual(await groupsAt(tokens), []);
    });
  });

  describe("that require a second step", () => {
    it("have their members set one up at the next sign-in, which cannot be put off", async () => {
      const page = await signIn(await somebodyIn(await aGroup(true)), { scope: "openid" });
      assert.equal(page.page, "enroll");
      assert.doesNotMatch(page.text, /enroll-skip/);
    });

    it("ask nothing of who is not in them, nor once they are deleted", async () => {
      const [strict, lax] = [await aGroup(true), await aGroup()];
      const user = await somebodyIn(strict, lax);
      assert.ok(response(await signIn(await somebodyIn(lax), { scope: "openid" }))["code"]);
      await deleteGroup(server.database.knex, strict);
      assert.ok(response(await signIn(user, { scope: "openid" }))["code"]);
    });

    it("ask for it at every sign-in, and keep the last one from being removed", async () => {
      const user = await somebodyIn(await aGroup(true));
      const phone = await anApp(server, user.id);
      const walker = new Walker(server);
      let page = await walker.open("/account/authenticators");
      page = await walker.submit(page, { username: user.email });
      page = await walker.submit(page, { password: "correct horse battery staple" });
      assert.equal(page.page, "mfa-totp");
      page = await walker.submit(page, { otp: await phone.code() });
      assert.equal(page.page, "account-authenticators");
      const kept = await walker.submit(`/account/authenticators/${phone.id}/remove`, {});
      assert.equal(kept.status, 409);
    });
  });
});
