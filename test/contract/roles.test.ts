import assert from "node:assert/strict";
import { decodeJwt } from "jose";
import { addMember, createGroup, deleteGroup, removeMember } from "../../src/users/groups.ts";
import {
  assignRole,
  createRole,
  deleteRole,
  unassignRole,
  updateRole,
} from "../../src/users/roles.ts";
import { asksFor } from "../support/api.ts";
import { json, RelyingParty, response, walk, WebBrowser, type Fields } from "../support/rp.ts";
import { aClient, aServer, aUser, type TestServer } from "../support/server.ts";

describe("roles", function () {
  this.timeout(60_000);
  let server: TestServer;
  let app: RelyingParty;
  let serial = 0;
  before(async () => {
    server = await aServer();
    app = new RelyingParty(server, await aClient(server));
  });
  after(() => server.stop());

  const knex = () => server.database.knex;
  const aRole = async () => {
    const slug = `role:${(serial += 1)}`;
    await createRole(knex(), { slug, name: `Role ${serial}` });
    return slug;
  };
  const aGroup = async () => {
    const name = `group ${(serial += 1)}`;
    await createGroup(knex(), { name, requireSecondFactor: false });
    return name;
  };
  const somebodyWith = async (...slugs: string[]) => {
    const user = await aUser(server);
    for (const slug of slugs) await assignRole(knex(), slug, { userId: user.id });
    return user;
  };
  const tokensFor = async (
    user: { email: string },
    asked: Fields = { scope: "openid roles" },
    scopes?: string[],
  ) => {
    const person = { email: user.email, ...(scopes === undefined ? {} : { scopes }) };
    const page = await walk(server, new WebBrowser(server), asksFor(app, asked), person);
    return json(await app.redeem(response(page)["code"] ?? ""));
  };
  const rolesAt = async (tokens: Record<string, unknown>) =>
    json(await app.userinfo(String(tokens["access_token"])))["roles"];

  it("are at userinfo with the scope roles, sorted (OIDC Core §5.4)", async () => {
    const [first, second] = [await aRole(), await aRole()];
    assert.deepEqual(await rolesAt(await tokensFor(await somebodyWith(second, first))), [
      first,
      second,
    ]);
  });

  it("are an empty list for who holds none (OIDC Core §5.4)", async () => {
    assert.deepEqual(await rolesAt(await tokensFor(await aUser(server))), []);
  });

  it("are in the ID token where the claims parameter asks for them (OIDC Core §5.5)", async () => {
    const slug = await aRole();
    const claims = JSON.stringify({ id_token: { roles: null } });
    const tokens = await tokensFor(await somebodyWith(slug), { scope: "openid", claims });
    assert.deepEqual(decodeJwt(String(tokens["id_token"]))["roles"], [slug]);
  });

  it("are nowhere without the scope (OIDC Core §5.4)", async () => {
    const asked = { scope: "openid profile email groups" };
    const tokens = await tokensFor(await somebodyWith(await aRole()), asked);
    assert.equal(await rolesAt(tokens), undefined);
    assert.equal(decodeJwt(String(tokens["id_token"]))["roles"], undefined);
  });

  it("are nowhere where the person said no, and the page names them (OIDC Core §3.1.2.4)", async () => {
    const user = await somebodyWith(await aRole());
    const person = { email: user.email, until: "consent" } as const;
    const asked = asksFor(app, { scope: "openid roles" });
    const page = await walk(server, new WebBrowser(server), asked, person);
    assert.match(page.text, /See your roles/);
    assert.match(page.text, />Role \d+</);
    assert.equal(await rolesAt(await tokensFor(user, undefined, ["openid"])), undefined);
  });

  it("of a group are those of everybody in it, each once", async () => {
    const [slug, one, two] = [await aRole(), await aGroup(), await aGroup()];
    for (const group of [one, two]) await assignRole(knex(), slug, { group });
    const user = await somebodyWith(slug);
    for (const group of [one, two]) await addMember(knex(), group, user.id);
    assert.deepEqual(await rolesAt(await tokensFor(user)), [slug]);
  });

  it("of a group go with the membership, and with the group", async () => {
    const [slug, one, two] = [await aRole(), await aGroup(), await aGroup()];
    for (const group of [one, two]) await assignRole(knex(), slug, { group });
    const user = await aUser(server);
    for (const group of [one, two]) await addMember(knex(), group, user.id);
    const tokens = await tokensFor(user);
    await removeMember(knex(), one, user.id);
    assert.deepEqual(await rolesAt(tokens), [slug]);
    await deleteGroup(knex(), two);
    assert.deepEqual(await rolesAt(tokens), []);
  });

  it("that are inactive give nothing from that moment on, and give again", async () => {
    const [slug, group] = [await aRole(), await aGroup()];
    const [user, member] = [await somebodyWith(slug), await aUser(server)];
    await assignRole(knex(), slug, { group });
    await addMember(knex(), group, member.id);
    const all = [await tokensFor(user), await tokensFor(member)];
    for (const isActive of [false, true]) {
      await updateRole(knex(), slug, { isActive });
      for (const tokens of all) assert.deepEqual(await rolesAt(tokens), isActive ? [slug] : []);
    }
  });

  it("that are taken back or deleted give nothing from that moment on", async () => {
    const [one, two] = [await aRole(), await aRole()];
    const user = await somebodyWith(one, two);
    const tokens = await tokensFor(user);
    await unassignRole(knex(), one, { userId: user.id });
    assert.deepEqual(await rolesAt(tokens), [two]);
    await deleteRole(knex(), two);
    assert.deepEqual(await rolesAt(tokens), []);
  });

  it("are those of now in the ID token of a refresh, too (OIDC Core §12.2)", async () => {
    const offline = await aClient(server, { grant_types: ["authorization_code", "refresh_token"] });
    const desk = new RelyingParty(server, offline);
    const slug = await aRole();
    const user = await somebodyWith(slug);
    const claims = JSON.stringify({ id_token: { roles: null } });
    const asked = asksFor(desk, { scope: "openid", claims });
    const page = await walk(server, new WebBrowser(server), asked, { email: user.email });
    const tokens = json(await desk.redeem(response(page)["code"] ?? ""));
    assert.deepEqual(decodeJwt(String(tokens["id_token"]))["roles"], [slug]);
    await updateRole(knex(), slug, { isActive: false });
    const refresh = { grant_type: "refresh_token", refresh_token: String(tokens["refresh_token"]) };
    const renewed = json(await desk.token(refresh));
    assert.deepEqual(decodeJwt(String(renewed["id_token"]))["roles"], []);
  });
});
