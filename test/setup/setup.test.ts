import assert from "node:assert/strict";
import { after, afterEach, before, describe, it } from "mocha";
import { AuditEvent } from "../../src/models/audit-event.ts";
import { OneTimeToken } from "../../src/models/one-time-token.ts";
import { OutboxMessage } from "../../src/models/outbox-message.ts";
import { SystemRole } from "../../src/models/system-role.ts";
import { issueSetupLink, needsSetup } from "../../src/setup/setup-link.ts";
import { disableUser, findUser } from "../../src/users/users.ts";
import { aServer, PASSWORD, type TestServer } from "../support/server.ts";

const HOUR = 3_600_000;
const FORM = { email: "Grace@example.com", display_name: "Grace Hopper", password: PASSWORD };

async function page(response: Response) {
  const html = await response.text();
  return { status: response.status, name: /data-page="([^"]+)"/.exec(html)?.[1], html };
}

async function get(link: string) {
  return page(await fetch(link, { headers: { accept: "text/html" } }));
}

describe("the setup link", () => {
  let server: TestServer;
  before(async () => {
    server = await aServer();
  });
  after(() => server.stop());
  afterEach(async () => {
    await server.database.knex.raw(
      "TRUNCATE users, one_time_tokens, audit_events, outbox_messages CASCADE",
    );
  });

  const issue = (now = new Date()) => issueSetupLink(server.database.knex, server.deps.config, now);
  const post = async (link: string, form: Record<string, string> = FORM) =>
    page(
      await fetch(link, {
        method: "POST",
        headers: { accept: "text/html", origin: server.issuer },
        body: new URLSearchParams(form),
      }),
    );
  const administrators = () => SystemRole.query(server.database.knex).resultSize();

  it("makes the first administrator: address, password and role, and works once (T-138)", async () => {
    const { knex } = server.database;
    assert.equal(await needsSetup(knex), true);
    const link = await issue();
    assert.match(link, new RegExp(`^${server.issuer}/setup/setup_[\\w-]{43}$`));
    const form = await get(link);
    assert.deepEqual([form.status, form.name], [200, "setup"]);
    const done = await post(link);
    assert.deepEqual([done.status, done.name], [200, "setup-done"]);

    const user = await findUser(knex, "grace@example.com");
    assert.equal(user.profile?.displayName, "Grace Hopper");
    assert.notEqual(user.primaryEmail?.verifiedAt, null);
    assert.match(user.password?.hash ?? "", /^\$argon2id\$/);
    assert.deepEqual(
      user.systemRoles?.map(({ role }) => role),
      ["superadmin"],
    );
    const events = await AuditEvent.query(knex).whereNull("clientId");
    assert.deepEqual(events.map(({ type }) => type).toSorted(), [
      "setup.completed",
      "setup.link_issued",
      "user.created",
    ]);
    const mails = await OutboxMessage.query(knex).where({ userId: user.id });
    assert.deepEqual(
      mails.map(({ template }) => template),
      ["administrator_created"],
    );

    for (const again of [await get(link), await post(link, { ...FORM, email: "eve@example.com" })])
      assert.deepEqual([again.status, again.name], [410, "error"]);
    assert.equal(await needsSetup(knex), false);
    await assert.rejects(issue(), { code: "setup_complete", status: 409 });
  });

  it("is not used up by looking at it", async () => {
    const link = await issue();
    for (let n = 0; n < 3; n += 1) assert.equal((await get(link)).status, 200);
    assert.equal((await post(link)).name, "setup-done");
  });

  it("stands nowhere in the database", async () => {
    const token = (await issue()).split("/").at(-1) ?? "";
    const rows = await OneTimeToken.query(server.database.knex);
    assert.equal(JSON.stringify(rows).includes(token), false);
    assert.equal(rows[0]?.tokenHash?.length, 32);
  });

  it("ends after an hour, and when another is issued", async () => {
    const old = await issue(new Date(Date.now() - HOUR - 1));
    assert.equal((await get(old)).status, 410);
    const first = await issue();
    const second = await issue();
    assert.equal((await get(first)).status, 410);
    assert.equal((await post(first)).status, 410);
    assert.equal((await get(second)).status, 200);
    assert.equal((await get(`${server.issuer}/setup/setup_unknown`)).status, 410);
    assert.equal(await administrators(), 0);
  });

  it("makes one administrator of 10 who use it at the same time (T-139)", async () => {
    const link = await issue();
    const answers = await Promise.all(
      Array.from({ length: 10 }, (_, n) => post(link, { ...FORM, email: `admin${n}@example.com` })),
    );
    assert.equal(answers.filter(({ name }) => name === "setup-done").length, 1);
    assert.equal(answers.filter(({ status }) => status === 410).length, 9);
    assert.equal(await administrators(), 1);
    assert.equal(Number((await server.database.knex("users").count())[0]?.["count"]), 1);
  });

  it("makes one administrator though two links were good at the same time", async () => {
    const [first, second] = [await issue(), await issue()];
    await OneTimeToken.query(server.database.knex).patch({ revokedAt: null });
    const answers = await Promise.all([
      post(first, { ...FORM, email: "one@example.com" }),
      post(second, { ...FORM, email: "two@example.com" }),
    ]);
    assert.deepEqual(new Set(answers.map(({ status }) => status)), new Set([200, 410]));
    assert.equal(await administrators(), 1);
  });

  it("says what is wrong with the form, keeps what was typed but the password, and stays good (T-60)", async () => {
    const link = await issue();
    const wrong: [Record<string, string>, RegExp][] = [
      [{ ...FORM, email: "no address" }, /id="email-error"/],
      [{ ...FORM, password: "short" }, /id="password-error"/],
      [{ ...FORM, password: "aaaaaaaaaaaaaaaaaaaa" }, /id="password-error"/],
      [{ ...FORM, password: "grace hopper and friends" }, /id="password-error"/],
      [{}, /id="email-error"/],
    ];
    for (const [form, expected] of wrong) {
      const { status, name, html } = await post(link, form);
      assert.deepEqual([status, name], [422, "setup"]);
      assert.match(html, expected);
      if (form["display_name"] !== undefined) assert.match(html, /value="Grace Hopper"/);
      assert.equal(html.includes(`value="${PASSWORD}"`), false);
    }
    assert.equal((await post(link)).name, "setup-done");
  });

  it("refuses forms from other sites", async () => {
    const link = await issue();
    const response = await fetch(link, {
      method: "POST",
      headers: { origin: "https://evil.example" },
      body: new URLSearchParams(FORM),
    });
    assert.equal(response.status, 403);
    assert.equal(await administrators(), 0);
  });

  it("can be issued again when the only administrator is disabled", async () => {
    const { knex } = server.database;
    await post(await issue());
    const { id } = await findUser(knex, "grace@example.com");
    await knex.transaction((trx) => disableUser(trx, id, {}, new Date()));
    assert.equal(
      (await post(await issue(), { ...FORM, email: "ada@example.com" })).name,
      "setup-done",
    );
  });

  it("is not written to the log", async () => {
    const link = await issue();
    await get(link);
    assert.equal(server.logged().includes(link.split("/").at(-1) ?? ""), false);
  });
});
