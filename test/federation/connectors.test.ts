/**
 * The one suite that every connector passes, whatever it speaks. To add a kind: write a `Registration` in
 * `test/support/counterparts.ts` (or beside it) that starts the provider and opens the connector, and put it into
 * `COUNTERPARTS` there. `visit` is the person's browser: it takes what `leave` gave and returns what would come to our
 * callback. What not every kind has is in `has`, and is only then asked for.
 */
import assert from "node:assert/strict";
import { after, afterEach, before, describe, it } from "mocha";
import {
  UPSTREAM_REASONS,
  UpstreamError,
  type Answer,
  type Departure,
  type Leaving,
  type Trace,
  type UpstreamIdentity,
} from "../../src/federation/connector.ts";
import { newSecret } from "../../src/lib/secret.ts";
import {
  connectorNeeds,
  COUNTERPARTS,
  type Counterpart,
  type Deed,
} from "../support/counterparts.ts";
import { testDatabase, type TestDatabase } from "../support/database.ts";

const ADA = "ada-1815";
const BOB = "bob-1912";

/** What a promise fails with, which must be a failure that an operator can use. */
async function failureOf(promise: Promise<unknown>): Promise<UpstreamError> {
  const error = await promise.then(
    () => assert.fail("it succeeded"),
    (reason: unknown) => reason,
  );
  assert(error instanceof UpstreamError, String(error));
  assert(UPSTREAM_REASONS.includes(error.reason));
  assert.match(error.rule, /^[a-z0-9]+\.[a-z_]+$/i);
  assert.match(error.message, /^[A-Z].*\.$/s);
  assert.notEqual(error.hint ?? "", "", `${error.rule} has no hint`);
  return error;
}

for (const { name, has, open } of COUNTERPARTS)
  describe(`the connector for ${name}`, () => {
    let database: TestDatabase;
    let counterpart: Counterpart;
    let steps: { step: string; detail: unknown }[] = [];
    const trace: Trace = (step, detail) => steps.push({ step, detail });

    before(async () => {
      database = await testDatabase();
      counterpart = await open(await connectorNeeds(database));
    });
    afterEach(() => {
      steps = [];
      counterpart.mend();
    });
    after(async () => {
      await counterpart.stop();
      await database.drop();
    });

    const leave = async (departure: Partial<Departure> = {}): Promise<Leaving> =>
      await counterpart.connector.leave({ state: newSecret(), ...departure }, trace);

    /** Leaves, and does something there. */
    async function journey(
      deed: Deed = "agrees",
      who = ADA,
    ): Promise<{ leaving: Leaving; answer: Omit<Answer, "secrets"> }> {
      const leaving = await leave();
      return { leaving, answer: await counterpart.visit(leaving.to, deed, who) };
    }

    const arrive = async (
      answer: Omit<Answer, "secrets">,
      { secrets }: Pick<Leaving, "secrets">,
    ): Promise<UpstreamIdentity> =>
      await counterpart.connector.arrive({ ...answer, secrets }, trace);

    async function signIn(who = ADA): Promise<UpstreamIdentity> {
      const { leaving, answer } = await journey("agrees", who);
      return await arrive(answer, leaving);
    }

    it("sends the browser to an absolute address, with the state", async () => {
      const state = newSecret();
      const { to } = await leave({ state });
      assert(URL.canParse(to.url));
      const sent = [...new URL(to.url).searchParams.values(), ...Object.values(to.fields ?? {})];
      assert(sent.includes(state));
    });

    it("keeps texts only, and others each time", async () => {
      const [one, two] = [await leave(), await leave()];
      for (const value of Object.values(one.secrets)) assert.equal(typeof value, "string");
      assert.notDeepEqual(one.secrets, two.secrets);
      assert.notEqual(one.to.url, two.to.url);
    });

    it("takes a hint, languages and the wish for a fresh sign-in", async () => {
      const departure = { loginHint: "ada@example.com", locales: ["de", "en"], fresh: true };
      assert(URL.canParse((await leave(departure)).to.url));
    });

    it("says who it is, by whom and with what", async () => {
      const identity = await signIn();
      assert.notEqual(identity.issuer, "");
      assert.equal(identity.subject, ADA);
      assert.equal(typeof identity.emailVerified, "boolean");
      assert.equal(typeof identity.claims, "object");
      assert(identity.email === undefined || identity.email.includes("@"));
    });

    it("says the same of the same person, and something else of another", async () => {
      const [ada, again, bob] = [await signIn(ADA), await signIn(ADA), await signIn(BOB)];
      assert.equal(ada.subject, again.subject);
      assert.equal(ada.issuer, again.issuer);
      assert.notEqual(bob.subject, ada.subject);
    });

    it("takes no answer to another request", async () => {
      const { answer } = await journey();
      const other = await leave();
      const { reason } = await failureOf(arrive(answer, other));
      assert.equal(reason, "invalid");
    });

    it("takes no answer without what was kept", async () => {
      const { answer } = await journey();
      const { reason } = await failureOf(arrive(answer, { secrets: {} }));
      assert.equal(reason, "invalid");
    });

    it("takes no answer that is empty", async () => {
      await failureOf(arrive({ method: "GET", parameters: {} }, await leave()));
    });

    it("takes no answer that was changed", async () => {
      const { leaving, answer } = await journey();
      await failureOf(arrive(counterpart.forge(answer), leaving));
    });

    it("takes no answer twice", async () => {
      const { leaving, answer } = await journey();
      await arrive(answer, leaving);
      const { reason } = await failureOf(arrive(answer, leaving));
      assert(["replayed", "expired", "invalid"].includes(reason), reason);
    });

    it("takes one of two that come at once with the same answer", async () => {
      const { leaving, answer } = await journey();
      const both = await Promise.allSettled([arrive(answer, leaving), arrive(answer, leaving)]);
      assert.equal(both.filter(({ status }) => status === "fulfilled").length, 1);
    });

    it("tells who went back from who was refused", async () => {
      for (const [deed, expected] of [
        ["cancels", "cancelled"],
        ["is refused", "refused"],
      ] as const) {
        const { leaving, answer } = await journey(deed);
        assert.equal((await failureOf(arrive(answer, leaving))).reason, expected);
      }
    });

    it("takes nobody without a lasting identifier", async () => {
      counterpart.forgetSubjects();
      const { leaving, answer } = await journey();
      const { reason } = await failureOf(arrive(answer, leaving));
      assert(["incomplete", "invalid"].includes(reason), reason);
    });

    if (has.includes("back-channel"))
      it("says that the provider does not answer, where it does not", async () => {
        const { leaving, answer } = await journey();
        counterpart.breakDown?.();
        assert.equal((await failureOf(arrive(answer, leaving))).reason, "unavailable");
        assert.equal((await failureOf(counterpart.connector.test(trace))).reason, "unavailable");
      });

    it("notes what happens, and no secret", async () => {
      const state = newSecret();
      const leaving = await leave({ state });
      const answer = await counterpart.visit(leaving.to, "agrees", ADA);
      const { tokens, session } = await arrive(answer, leaving);
      assert(steps.length >= 2);
      const noted = JSON.stringify(steps);
      const { state: _state, iss: _iss, ...codes } = answer.parameters;
      const secrets = [
        state,
        ...Object.values(leaving.secrets),
        ...Object.values(codes),
        tokens?.accessToken,
        tokens?.refreshToken,
        session?.idToken,
      ];
      for (const secret of secrets)
        if (secret !== undefined) assert(!noted.includes(secret), `noted: ${secret}`);
    });

    it("can be tried without a person, step by step", async () => {
      await counterpart.connector.test(trace);
      assert(steps.length > 0);
      for (const { step } of steps) assert.notEqual(step, "");
    });

    if (has.includes("tokens"))
      it("gives tokens with their scopes, and new ones for old", async () => {
        const { tokens } = await signIn();
        assert(tokens?.refreshToken !== undefined && counterpart.connector.refresh !== undefined);
        assert.notEqual(tokens.accessToken, "");
        assert(tokens.scopes.every((scope) => scope !== ""));
        assert((tokens.expiresAt ?? Infinity) > Date.now() / 1000);
        const renewed = await counterpart.connector.refresh(tokens.refreshToken);
        assert.notEqual(renewed.accessToken, tokens.accessToken);
        await failureOf(counterpart.connector.refresh("never issued"));
      });

    if (has.includes("sign-out"))
      it("signs people out there", async () => {
        const { session = {} } = await signIn();
        const to = await counterpart.connector.signOut?.(session, "a-state");
        assert(to !== undefined);
        const sent = [...new URL(to.url).searchParams.values(), ...Object.values(to.fields ?? {})];
        assert(sent.includes("a-state"));
      });

    if (has.includes("logout"))
      it("reads whose sessions ended, once", async () => {
        const { connector, logout } = counterpart;
        assert(connector.readLogout !== undefined && logout !== undefined);
        const { issuer, subject, session } = await signIn();
        const message = await logout(ADA);
        const ended = await connector.readLogout(message, trace);
        assert.equal(ended.issuer, issuer);
        assert(ended.subject !== undefined || ended.index !== undefined);
        if (ended.subject !== undefined) assert.equal(ended.subject, subject);
        if (ended.index !== undefined) assert.equal(ended.index, session?.index);
        const { reason } = await failureOf(connector.readLogout(message, trace));
        assert.equal(reason, "replayed");
        await failureOf(connector.readLogout({ method: "POST", parameters: {} }, trace));
      });

    if (has.includes("description"))
      it("describes us without a private key", async () => {
        const described = await counterpart.connector.describe?.();
        assert.match(described?.type ?? "", /^application\//);
        assert.doesNotMatch(described?.body ?? "PRIVATE KEY", /PRIVATE KEY|"d":/);
      });
  });
