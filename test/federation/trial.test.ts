import assert from "node:assert/strict";
import { Readable } from "node:stream";
import { setTimeout as delay } from "node:timers/promises";
import { runCommand } from "../../src/cli/run.ts";
import { allVerbs } from "../../src/cli/verbs.ts";
import { createConnection } from "../../src/federation/connections.ts";
import { newTrial } from "../../src/federation/trial.ts";
import { FederationTrace } from "../../src/models/federation-trace.ts";
import { Identity } from "../../src/models/identity.ts";
import { IdentityProvider } from "../../src/models/identity-provider.ts";
import { Session } from "../../src/models/session.ts";
import { User } from "../../src/models/user.ts";
import {
  aClient,
  aServer,
  aUser,
  ENCRYPTION_KEY,
  PASSWORD,
  type TestServer,
} from "../support/server.ts";
import { Visitor } from "../support/visitor.ts";

const VERBS = allVerbs({ run: async () => {}, migrateJobs: async () => {} });

describe("a trial of a connection", () => {
  let home: TestServer;
  let work: TestServer;
  let provider: IdentityProvider;
  before(async () => {
    home = await aServer();
    work = await aServer();
    const { clientId, clientSecret } = await aClient(work, {
      redirect_uris: [`${home.issuer}/federation/work/callback`],
      application_type: "native",
    });
    const { knex, seal, fetch, config } = home.deps;
    provider = await createConnection(
      { knex, seal, fetch, issuers: config.issuers },
      {
        slug: "work",
        kind: "oidc",
        name: "Work",
        issuer: work.issuer,
        client_id: clientId,
        client_secret: clientSecret,
      },
      new Date(),
    );
  });
  after(async () => {
    await home.stop();
    await work.stop();
  });
  beforeEach(() => FederationTrace.query(home.database.knex).delete());

  const begins = (now = new Date()) => {
    const { supportId, path } = newTrial(home.deps.seal, provider, now);
    return { supportId, address: `${home.issuer}/federation/work${path}` };
  };
  const signsIn = async (visitor: Visitor): Promise<void> => {
    const { email } = await aUser(work);
    assert.equal(new URL(visitor.url).origin, work.issuer);
    await visitor.submit({ username: email, password: PASSWORD });
    await visitor.submit({ decision: "allow", scope: ["openid", "profile", "email"] });
  };

  it("is begun at the command line, which waits for it and says what the provider said", async () => {
    const written = { out: "", err: "" };
    const command = runCommand(VERBS, "1.2.3", ["connection", "test", "work", "--sign-in"], {
      environment: {
        DATABASE_URL: home.database.url,
        ISSUER: home.issuer,
        ENCRYPTION_KEY,
        NODE_ENV: "test",
      },
      stdin: Readable.from([]),
      out: (text) => void (written.out += text),
      err: (text) => void (written.err += text),
    });
    while (!written.err.includes("ticket=")) await delay(50);
    const visitor = new Visitor();
    await visitor.open(/^http\S+$/m.exec(written.err)?.[0] ?? "");
    await signsIn(visitor);
    assert.equal(visitor.page, "federation-tested");
    assert.equal(await command, 0);
    assert.match(written.out, /ID token verified\n/);
    const [, said = ""] = written.out.split(" who it is\n");
    assert.match(said, / email: ada-\S+@example\.com\n/);
    assert.match(said, / claims: \[.*"email_verified".*\]\n/);
    assert.match(said, /\n\nAll is well\.\n$/);
  });

  it("makes no account, no identity and no session", async () => {
    const visitor = new Visitor();
    const { knex } = home.database;
    const before = await User.query(knex).resultSize();
    await visitor.open(begins().address);
    await signsIn(visitor);
    assert.equal(await User.query(knex).resultSize(), before);
    assert.equal(await Identity.query(knex).resultSize(), 0);
    assert.equal(await Session.query(knex).whereNotNull("userId").resultSize(), 0);
    await visitor.open(`${home.issuer}/account`);
    assert.equal(visitor.page, "login");
  });

  it("says what went wrong where somebody says no there", async () => {
    const visitor = new Visitor();
    const { supportId, address } = begins();
    await visitor.open(address);
    await visitor.submit({}, `${visitor.url}/cancel`);
    assert.equal(visitor.page, "federation-error");
    const trace = await FederationTrace.query(home.database.knex).findById(supportId);
    assert.equal(trace?.reason, "cancelled");
  });

  for (const [what, spoil] of [
    ["opened twice", async (address: string) => void (await new Visitor().open(address))],
    ["of another connection", (address: string) => address.replace("/work/", "/other/")],
    [
      "that was changed",
      (address: string) => address.replace(/.$/, (last) => (last === "A" ? "B" : "A")),
    ],
    ["with another number", (address: string) => address.replace(/id=./, "id=f")],
    ["without anything", (address: string) => address.replace(/\?.*$/, "")],
  ] as const)
    it(`begins at no address ${what}`, async () => {
      const { clientId, issuer } = provider;
      await IdentityProvider.query(home.database.knex)
        .insert({ slug: "other", kind: "oidc", name: "Other", clientId, issuer })
        .onConflict("slug")
        .ignore();
      const { address } = begins();
      const spoilt = (await spoil(address)) ?? address;
      const visitor = await new Visitor().open(spoilt);
      assert.equal(new URL(visitor.url).origin, home.issuer);
      assert.match(visitor.page ?? "", /^(federation-error|error)$/);
    });

  it("begins at no address that is too old", async () => {
    const { address } = begins(new Date(Date.now() - 16 * 60_000));
    assert.equal((await new Visitor().open(address)).page, "federation-error");
  });
});
