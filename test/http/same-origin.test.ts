import assert from "node:assert/strict";
import { AuditEvent } from "../../src/models/audit-event.ts";
import { OidcArtifact } from "../../src/models/oidc-artifact.ts";
import { OAuthInteraction } from "../../src/models/oauth-interaction.ts";
import { Session } from "../../src/models/session.ts";
import { User } from "../../src/models/user.ts";
import { issueSetupLink } from "../../src/setup/setup-link.ts";
import { ask, beginSignIn, submit } from "../support/raw.ts";
import { aClient, aServer, aUser, PASSWORD, type TestServer } from "../support/server.ts";

/** What a browser says of a form that another site's page made it send, old browsers and new ones. */
const ATTACKS: Readonly<Record<string, Readonly<Record<string, string>>>> = {
  "another site": { Origin: "https://evil.example", "Sec-Fetch-Site": "cross-site" },
  "another site, without Sec-Fetch-Site": { Origin: "https://evil.example" },
  "a sandboxed frame, without Sec-Fetch-Site": { Origin: "null" },
  "another site that hides its origin": { Origin: "null", "Sec-Fetch-Site": "cross-site" },
  "Sec-Fetch-Site alone": { "Sec-Fetch-Site": "cross-site" },
  "a neighbour under the same domain": {
    Origin: "http://evil.localhost",
    "Sec-Fetch-Site": "same-site",
  },
  "a value that does not exist": { "Sec-Fetch-Site": "friendly" },
};

describe("forms that another site sends (CSRF, T-40)", () => {
  let server: TestServer;
  let client: Awaited<ReturnType<typeof aClient>>;
  let user: Awaited<ReturnType<typeof aUser>>;

  before(async () => {
    server = await aServer();
    client = await aClient(server);
    user = await aUser(server);
  });
  after(() => server.stop());

  /** All that a form could change. */
  async function state(): Promise<string> {
    const { knex } = server.database;
    const interactions = await OAuthInteraction.query(knex).orderBy("uidHash");
    return JSON.stringify([
      interactions.map(({ payloadEnc, finishedAt }) => [payloadEnc?.toString("hex"), finishedAt]),
      await Session.query(knex).resultSize(),
      await User.query(knex).resultSize(),
      await AuditEvent.query(knex).resultSize(),
      await OidcArtifact.query(knex).resultSize(),
      (await knex("login_throttles").count("*"))[0],
    ]);
  }

  for (const [attack, headers] of Object.entries(ATTACKS)) {
    it(`are refused and change nothing: ${attack}`, async () => {
      const { address, cookies } = await beginSignIn(server.issuer, client);
      const setup = await issueSetupLink(server.database.knex, server.deps.config, new Date());
      assert.ok(setup !== undefined);
      const forms: readonly [string, Record<string, string>][] = [
        [address, { username: user.email, password: PASSWORD }],
        [`${address}/password`, { password: PASSWORD }],
        [`${address}/consent`, { decision: "allow" }],
        [`${address}/cancel`, {}],
        [`${server.issuer}/session/end/confirm`, { logout: "yes", xsrf: "x" }],
        [setup, { email: "eve@evil.example", password: "a password of some length" }],
        [`${server.issuer}/dev/mail/clear`, {}],
        [`${server.issuer}/no-such-form`, {}],
      ];
      const before = await state();
      for (const [form, fields] of forms) {
        const answer = await submit(form, fields, { Cookie: cookies, ...headers });
        assert.equal(answer.status, 403, form);
        assert.match(answer.body, /cross_site_request/);
      }
      for (const method of ["PUT", "PATCH", "DELETE"])
        assert.equal(
          (await ask(address, { method, headers: { Cookie: cookies, ...headers } })).status,
          403,
        );
      assert.equal(await state(), before);
    });
  }

  for (const [sender, headers] of Object.entries({
    "a page of ours": (origin: string) => ({ Origin: origin, "Sec-Fetch-Site": "same-origin" }),
    "a page of ours that sends no referrer": () => ({
      Origin: "null",
      "Sec-Fetch-Site": "same-origin",
    }),
    "a page of ours in an old browser": (origin: string) => ({ Origin: origin }),
    "a person, by reloading": () => ({ "Sec-Fetch-Site": "none" }),
    "no browser at all": () => ({}),
  })) {
    it(`are not what ${sender} sends`, async () => {
      const { address, cookies } = await beginSignIn(server.issuer, client);
      const fields = { username: user.email };
      const answer = await submit(address, fields, { Cookie: cookies, ...headers(server.issuer) });
      assert.equal(answer.status, 303, answer.body);
      assert.match(answer.headers.location ?? "", /\/password$/);
    });
  }

  it("are of no use without the cookie of the very sign-in, whatever the headers say", async () => {
    const mine = await beginSignIn(server.issuer, client);
    const theirs = await beginSignIn(server.issuer, client);
    const own = { Origin: server.issuer, "Sec-Fetch-Site": "same-origin" };
    for (const cookies of ["", theirs.cookies]) {
      const before = await state();
      const answer = await submit(
        mine.address,
        { username: user.email },
        { Cookie: cookies, ...own },
      );
      assert.equal(answer.status, 400);
      assert.equal(await state(), before);
    }
  });

  it("are not what machines send: their endpoints look at no origin and no cookie", async () => {
    const headers = ATTACKS["another site"] ?? {};
    for (const [path, fields, status] of [
      ["/token", { grant_type: "authorization_code", code: "x" }, 400],
      ["/token/introspection", { token: "x" }, 400],
      ["/token/revocation", { token: "x" }, 400],
      ["/request", { response_type: "code" }, 400],
      ["/me", { access_token: "x" }, 401],
    ] as const) {
      const answer = await submit(`${server.issuer}${path}`, fields, headers);
      assert.equal(answer.status, status, `${path}: ${answer.body}`);
      assert.doesNotMatch(answer.body, /cross_site_request/, path);
    }
  });

  it("cannot be made of a GET, which changes nothing", async () => {
    const { address, cookies } = await beginSignIn(server.issuer, client);
    const before = await state();
    for (const path of [
      "",
      "/password",
      "/consent",
      "?change=1",
      "?username=eve&password=x",
      "/cancel",
    ])
      await ask(`${address}${path}`, { headers: { Cookie: cookies } });
    assert.equal(await state(), before);
  });
});
