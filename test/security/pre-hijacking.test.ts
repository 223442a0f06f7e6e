import assert from "node:assert/strict";
import type { UpstreamIdentity } from "../../src/federation/connector.ts";
import { linkIdentity } from "../../src/federation/link.ts";
import { recognise } from "../../src/federation/people.ts";
import { createMailer } from "../../src/mail/mailer.ts";
import { Identity } from "../../src/models/identity.ts";
import { IdentityProvider } from "../../src/models/identity-provider.ts";
import { LoginThrottle } from "../../src/models/login-throttle.ts";
import { Session } from "../../src/models/session.ts";
import { SsoDomain } from "../../src/models/sso-domain.ts";
import { addEmail, emailsOf } from "../../src/users/emails.ts";
import { setPassword } from "../../src/users/passwords.ts";
import { createUser } from "../../src/users/users.ts";
import { anApp } from "../support/factors.ts";
import { mailTo } from "../support/mailbox.ts";
import { aPasskey } from "../support/passkeys.ts";
import { RelyingParty, type Answer } from "../support/rp.ts";
import { aClient, aServer, aUser, PASSWORD, type TestServer } from "../support/server.ts";
import { addressOf, Walker } from "../support/walker.ts";

const NEW = "seven purple umbrellas sing";

/**
 * The five attacks of Sudhodanan and Paverd, "Pre-hijacked accounts" (USENIX Security 2022): somebody makes an account
 * with the address of a victim, before the victim does, and waits for them in it.
 */
describe("T-91: accounts that somebody made with another's address", function () {
  this.timeout(60_000);
  let server: TestServer;
  let app: RelyingParty;
  let serial = 0;
  before(async () => {
    server = await aServer({ SIGN_UP: "open" });
    app = new RelyingParty(server, await aClient(server, { first_party: true }));
  });
  after(() => server.stop());
  beforeEach(() => LoginThrottle.query(server.database.knex).delete());

  const named = (name: string) => `${name}-${(serial += 1)}`;
  const aProvider = (changes: Partial<IdentityProvider> = {}) =>
    IdentityProvider.query(server.database.knex).insertAndFetch({
      slug: named("upstream"),
      kind: "oidc",
      name: "Upstream",
      clientId: "lintel",
      issuer: "https://upstream.example",
      ...changes,
    });
  const arrival = (provider: IdentityProvider, identity: Partial<UpstreamIdentity>) => ({
    provider,
    identity: {
      issuer: "https://upstream.example",
      subject: named("subject"),
      emailVerified: false,
      claims: {},
      ...identity,
    },
    now: new Date(),
    seal: server.deps.seal,
    mailer: createMailer({ seal: server.deps.seal, locales: ["en"] }),
    issuer: server.issuer,
  });
  const arrive = (provider: IdentityProvider, identity: Partial<UpstreamIdentity>) =>
    recognise(server.database.knex, arrival(provider, identity));
  /** An account with an address that its maker has not proven, as a provider that verifies nothing makes it. */
  const squatted = async (email: string, provider?: IdentityProvider) => {
    const made = await arrive(provider ?? (await aProvider()), { email, emailVerified: true });
    assert.ok(made.outcome === "made");
    return made.user.id;
  };
  const withPassword = async (userId: string) => {
    const hash = await server.deps.passwords.hash(PASSWORD);
    const password = { userId, hash, via: "added", signOutOthers: false } as const;
    await setPassword(server.database.knex, password, new Date(Date.now() - 60_000));
  };
  const signIn = async (email: string, password: string, walker = new Walker(server)) => {
    const login = await walker.open(app.authorization());
    const page = await walker.submit(login, { username: email });
    return { walker, answer: await walker.submit(page, { password }) };
  };
  const isIn = ({ location }: Answer) =>
    location !== undefined && new URL(location).searchParams.has("code");
  /** The victim says that they forgot the password, and sets a new one with the code from their mailbox. */
  const recover = async (email: string): Promise<Answer> => {
    const walker = new Walker(server);
    const login = await walker.open(app.authorization({ prompt: "login" }));
    const password = await walker.submit(login, { username: email });
    const forgot = await walker.open(addressOf(password, "forgot-link"));
    const sent = await walker.submit(forgot, { username: email });
    const { code } = await mailTo(server, email, "reset_password");
    return walker.submit(await walker.submit(sent, { otp: code }), { password: NEW });
  };
  const victimOf = (name: string) => `${named(name)}@victim.example`;

  it("classic-federated merge: who comes from the provider of the address gets an account of their own", async () => {
    const domain = `${named("corp")}.example`;
    const provider = await aProvider({ linkingPolicy: "verified_email", trustEmailVerified: true });
    await SsoDomain.query(server.database.knex).insert({
      domain,
      providerId: provider.id,
      dnsChallenge: "x",
      verifiedAt: new Date(),
    });
    const email = `ada@${domain}`;
    const squatter = await createUser(
      server.database.knex,
      { email, verified: false, via: "registration", passwordHash: "$x$" },
      new Date(),
    );
    const made = await arrive(provider, { email, emailVerified: true });
    assert.ok(made.outcome === "made");
    assert.notEqual(made.user.id, squatter.id);
    assert.equal(
      (await Identity.query(server.database.knex).where({ userId: squatter.id })).length,
      0,
    );
  });

  it("unexpired session: ends when the owner of the mailbox sets the password, though they did not ask for it", async () => {
    const email = victimOf("session");
    const squatter = await squatted(email);
    await withPassword(squatter);
    const attack = await signIn(email, PASSWORD);
    assert.ok(isIn(attack.answer));
    assert.ok(isIn(await recover(email)));
    const live = await Session.query(server.database.knex)
      .where({ userId: squatter })
      .whereNull("endedAt");
    assert.equal(live.length, 1, "the victim's own");
    assert.equal((await attack.walker.open("/account")).page, "login");
    assert.equal((await signIn(email, PASSWORD)).answer.page, "password");
  });

  it("trojan identifier: sign-ins elsewhere, passkeys and apps of the attacker are gone", async () => {
    const email = victimOf("trojan");
    const provider = await aProvider();
    const squatter = await squatted(email);
    await withPassword(squatter);
    const trojan = { subject: named("trojan") };
    await linkIdentity(server.database.knex, {
      ...arrival(provider, trojan),
      userId: squatter,
    });
    await aPasskey(server, squatter);
    await anApp(server, squatter);
    assert.ok(isIn(await recover(email)), "nothing of the attacker's is asked for");
    const back = await arrive(provider, { ...trojan, email: "eve@attacker.example" });
    assert.ok(back.outcome === "made");
    assert.notEqual(back.user.id, squatter);
    for (const table of ["identities", "webauthn_credentials", "mfa_factors"])
      assert.deepEqual(await server.database.knex(table).where({ userId: squatter }), [], table);
  });

  it("unexpired change of address: an address that waited to be proven is gone", async () => {
    const email = victimOf("change");
    const squatter = await squatted(email);
    await withPassword(squatter);
    const by = { actor: { type: "user", id: squatter } } as const;
    const typed = `${named("eve")}@attacker.example`;
    await addEmail(server.database.knex, { userId: squatter, typed, by }, new Date());
    assert.ok(isIn(await recover(email)));
    const left = await emailsOf(server.database.knex, squatter);
    assert.deepEqual(
      left.map((row) => [row.email, row.isPrimary, row.verifiedAt !== null]),
      [[email, true, true]],
    );
  });

  it("non-verifying provider: its account stays a stranger's, and the owner of the address registers as if it were not there", async () => {
    const email = victimOf("registers");
    const squatter = await squatted(email);
    const walker = new Walker(server);
    const register = await walker.open(app.authorization({ prompt: "create" }));
    const verify = await walker.submit(register, { email });
    const { code } = await mailTo(server, email, "verify_email");
    const proven = await walker.submit(verify, { otp: code });
    const details = await walker.submit(proven, { password: NEW });
    const done = await walker.submit(details, { given_name: "", family_name: "" });
    assert.ok(isIn(done), done.text);
    const owner = await server.database
      .knex("user_emails")
      .where({ emailNorm: email })
      .whereNotNull("verifiedAt")
      .first();
    assert.notEqual(owner?.userId, squatter);
  });

  it("non-verifying provider: what it calls verified is verified by nobody, and names nobody's account", async () => {
    const email = victimOf("nobody");
    const victim = await aUser(server, { email });
    const arrived = await arrive(await aProvider({ trustEmailVerified: true }), {
      email,
      emailVerified: true,
    });
    assert.deepEqual(arrived, { outcome: "to_link", userId: victim.id });
  });

  it("leaves an account alone of which an address was proven", async () => {
    const user = await aUser(server);
    const provider = await aProvider();
    await linkIdentity(server.database.knex, {
      ...arrival(provider, {}),
      userId: user.id,
    });
    assert.ok(isIn(await recover(user.email)));
    assert.equal((await Identity.query(server.database.knex).where({ userId: user.id })).length, 1);
  });
});
