import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import {
  addPasskey,
  askForNewPasskey,
  askForPasskey,
  signInWithPasskey,
  type Occasion,
  type PasskeySignIn,
} from "../../src/authn/passkeys.ts";
import { passkeyName } from "../../src/authn/passkeys.ts";
import { factorsOf, isAlwaysAskedFor, removeFactors } from "../../src/authn/factors.ts";
import { issuerOf } from "../../src/issuers.ts";
import { AuthChallenge } from "../../src/models/auth-challenge.ts";
import { PasskeyOffer } from "../../src/models/passkey-offer.ts";
import { UserPassword } from "../../src/models/user-password.ts";
import { User } from "../../src/models/user.ts";
import { WebauthnCredential } from "../../src/models/webauthn-credential.ts";
import { SoftwareAuthenticator, type Twist } from "../support/authenticator.ts";
import { testDatabase, type TestDatabase } from "../support/database.ts";
import { aUser } from "../support/server.ts";

const ISSUER = "https://id.example.com";
const relyingParty = issuerOf("", ISSUER, "production", {
  passkeyOrigins: ["https://login.example.org"],
}).relyingParty ?? { id: "", origins: [] };
const now = new Date();
const until = new Date(now.getTime() + 30 * 60_000);
const sooner = { now, until };

describe("passkeys", () => {
  let database: TestDatabase;
  let user: User;

  before(async () => {
    database = await testDatabase();
  });
  after(() => database.drop());
  beforeEach(async () => {
    user = await aPerson();
  });

  const knex = () => database.knex;

  async function aPerson(): Promise<User> {
    const { id } = await aUser({ database });
    const found = await User.query(knex()).findById(id);
    assert.ok(found);
    return found;
  }

  const signInAt = (more: Partial<Occasion> = {}): Occasion => ({
    purpose: "sign_in",
    of: randomBytes(8).toString("hex"),
    ...more,
  });

  const enrolAt = (of: User) => ({ ...signInAt({ purpose: "register" }), userId: of.id });
  const ownerOf = (of: User) => ({
    owner: { user: of, name: "ada@example.com", displayName: "Ada" },
    productName: "Lintel",
  });

  async function enrol(
    device: SoftwareAuthenticator,
    twist: Twist = {},
    of: User = user,
    options: { isSilent?: boolean } = {},
  ) {
    const occasion = enrolAt(of);
    const question = await askForNewPasskey(knex(), relyingParty, occasion, ownerOf(of), sooner);
    return addPasskey(knex(), relyingParty, occasion, device.create(question, twist), {
      now,
      ...options,
    });
  }

  async function enrolled(
    options: { counts?: boolean } = {},
    of: User = user,
  ): Promise<SoftwareAuthenticator> {
    const device = new SoftwareAuthenticator(ISSUER, options);
    assert.ok("passkey" in (await enrol(device, {}, of)));
    return device;
  }

  async function signIn(
    device: SoftwareAuthenticator,
    twist: Twist = {},
    occasion = signInAt(),
  ): Promise<PasskeySignIn> {
    const question = await askForPasskey(knex(), relyingParty, occasion, sooner);
    return signInWithPasskey(knex(), relyingParty, occasion, device.get(question, twist), now);
  }

  const reason = (outcome: object) => ("refused" in outcome ? outcome.refused : "accepted");

  describe("the question", () => {
    it("has a challenge of 32 random bytes (WebAuthn §13.4.3)", async () => {
      const seen = new Set<string>();
      for (let tries = 0; tries < 20; tries += 1) {
        const { challenge } = await askForPasskey(knex(), relyingParty, signInAt(), sooner);
        assert.equal(Buffer.from(challenge, "base64url").length, 32);
        seen.add(challenge);
      }
      assert.equal(seen.size, 20);
    });

    it("asks for user verification, and says nothing of anybody (WebAuthn §14.6.2)", async () => {
      await enrolled();
      const question = await askForPasskey(knex(), relyingParty, signInAt(), sooner);
      assert.equal(question.userVerification, "required");
      assert.deepEqual(question.allowCredentials, []);
      assert.equal(question.rpId, "id.example.com");
    });

    it("names the passkeys of whoever is known, with how to reach them (WebAuthn §7.2)", async () => {
      const device = await enrolled();
      const occasion = signInAt({ purpose: "second_factor", userId: user.id });
      const question = await askForPasskey(knex(), relyingParty, occasion, sooner);
      assert.deepEqual(question.allowCredentials, [
        { id: device.id, transports: ["internal", "hybrid"], type: "public-key" },
      ]);
    });

    it("stays the same until it is answered, so that two tabs work, and the table stays small (T-85)", async () => {
      const occasion = signInAt();
      const first = await askForPasskey(knex(), relyingParty, occasion, sooner);
      const before = await AuthChallenge.query(knex()).resultSize();
      for (let tries = 0; tries < 10; tries += 1)
        assert.deepEqual(await askForPasskey(knex(), relyingParty, occasion, sooner), first);
      assert.equal(await AuthChallenge.query(knex()).resultSize(), before);
      const device = await enrolled();
      await signInWithPasskey(knex(), relyingParty, occasion, device.get(first), now);
      const next = await askForPasskey(knex(), relyingParty, occasion, sooner);
      assert.notEqual(next.challenge, first.challenge);
    });

    it("of a new passkey wants one that finds its user, and excludes those they have (WebAuthn §5.4)", async () => {
      const device = await enrolled();
      const question = await askForNewPasskey(
        knex(),
        relyingParty,
        enrolAt(user),
        ownerOf(user),
        sooner,
      );
      assert.equal(question.authenticatorSelection?.residentKey, "required");
      assert.equal(question.authenticatorSelection?.userVerification, "required");
      assert.equal(question.attestation, "none");
      assert.deepEqual(
        question.excludeCredentials?.map(({ id }) => id),
        [device.id],
      );
    });

    it("names the user by 64 random bytes that are not the id (WebAuthn §14.6.1)", async () => {
      const other = await aPerson();
      for (const person of [user, other]) {
        const { user: named } = await askForNewPasskey(
          knex(),
          relyingParty,
          enrolAt(person),
          ownerOf(person),
          sooner,
        );
        const handle = Buffer.from(named.id, "base64url");
        assert.equal(handle.length, 64);
        assert.ok(!handle.includes(Buffer.from(person.id.replaceAll("-", ""), "hex")));
        assert.ok(!handle.toString("latin1").includes(person.id));
      }
      assert.notDeepEqual(user.webauthnUserHandle, other.webauthnUserHandle);
    });
  });

  describe("an honest answer", () => {
    it("signs its user in, without a name typed (WebAuthn §7.2)", async () => {
      const outcome = await signIn(await enrolled());
      assert.ok("user" in outcome);
      assert.equal(outcome.user.id, user.id);
    });

    it("signs in whoever was asked, also where it leaves the user handle out (WebAuthn §7.2, step 6)", async () => {
      const device = await enrolled();
      const occasion = signInAt({ purpose: "second_factor", userId: user.id });
      assert.equal(reason(await signIn(device, { userHandle: undefined }, occasion)), "accepted");
    });

    it("counts from another origin of the relying party (WebAuthn §5.11)", async () => {
      const outcome = await signIn(await enrolled(), { origin: "https://login.example.org" });
      assert.equal(reason(outcome), "accepted");
    });

    it("keeps what the authenticator says of itself (WebAuthn §4, credential record)", async () => {
      const device = new SoftwareAuthenticator(ISSUER, {
        counts: true,
        aaguid: "d548826e-79b4-db40-a3d8-11116f7e8349",
      });
      device.counter = 7;
      const outcome = await enrol(device);
      assert.ok("passkey" in outcome);
      const row = await WebauthnCredential.query(knex()).findById(outcome.passkey.id);
      assert.equal(row?.aaguid, "d548826e-79b4-db40-a3d8-11116f7e8349");
      assert.equal(row.name, "Bitwarden");
      assert.equal(Number(row.signCount), 7);
      assert.equal(row.backupEligible, false);
      assert.deepEqual(row.transports, ["internal", "hybrid"]);
    });

    it("updates the backup state (WebAuthn §7.2, step 25)", async () => {
      const device = new SoftwareAuthenticator(ISSUER);
      await enrol(device, { isBackedUp: false });
      const state = async () =>
        (await WebauthnCredential.of(knex(), user.id, relyingParty.id).first())?.backedUp;
      assert.equal(await state(), false);
      assert.equal(reason(await signIn(device, { isBackedUp: true })), "accepted");
      assert.equal(await state(), true);
    });

    it("may stay at zero for ever, as synced passkeys do (WebAuthn §6.1.1)", async () => {
      const device = await enrolled();
      for (let uses = 0; uses < 3; uses += 1)
        assert.equal(reason(await signIn(device)), "accepted");
    });

    it("may be made by the browser alone after a password, with nobody there (WebAuthn §5.1.3)", async () => {
      const twist = { isPresent: false, isVerified: false };
      const device = new SoftwareAuthenticator(ISSUER);
      assert.equal(reason(await enrol(device, twist)), "not_verified");
      assert.equal(reason(await enrol(device, twist, user, { isSilent: true })), "accepted");
      assert.equal(reason(await signIn(device, twist)), "not_verified", "but never signs in so");
    });
  });

  describe("T-80: an answer to another question", () => {
    const wrong: Readonly<Record<string, readonly [Twist, string]>> = {
      "of another origin (WebAuthn §7.2, step 13)": [
        { origin: "https://id.example.com.evil.example" },
        "not_verified",
      ],
      "of the same host on another port (WebAuthn §7.2, step 13)": [
        { origin: "https://id.example.com:8443" },
        "not_verified",
      ],
      "of http (WebAuthn §7.2, step 13)": [{ origin: "http://id.example.com" }, "not_verified"],
      "of another relying party (WebAuthn §7.2, step 15)": [
        { rpId: "evil.example" },
        "not_verified",
      ],
      "of a parent domain (WebAuthn §7.2, step 15)": [{ rpId: "example.com" }, "not_verified"],
      "without user verification (WebAuthn §7.2, step 17)": [{ isVerified: false }, "not_verified"],
      "without anybody present (WebAuthn §7.2, step 16)": [{ isPresent: false }, "not_verified"],
      "of a registration (WebAuthn §7.2, step 11)": [{ type: "webauthn.create" }, "not_verified"],
      "to a challenge that nobody set (WebAuthn §7.2, step 12)": [
        { challenge: randomBytes(32).toString("base64url") },
        "stale_challenge",
      ],
      "to an empty challenge (WebAuthn §7.2, step 12)": [{ challenge: "" }, "malformed"],
      "whose backup eligibility changed (WebAuthn §7.2, step 19)": [
        { isBackupEligible: false },
        "not_verified",
      ],
      "that is backed up although it cannot be (WebAuthn §6.1.3)": [
        { isBackupEligible: false, isBackedUp: true },
        "not_verified",
      ],
      "from a frame in another site (WebAuthn §7.2, step 14; T-81)": [
        { clientData: { crossOrigin: true, topOrigin: "https://evil.example" } },
        "cross_origin",
      ],
      "from a frame, as Safari says it (T-81)": [
        { clientData: { crossOrigin: true } },
        "cross_origin",
      ],
      "from a frame, whatever else it says (T-81)": [
        { clientData: { crossOrigin: "yes" } },
        "cross_origin",
      ],
      "with a top origin alone (WebAuthn §5.8.1)": [
        { clientData: { crossOrigin: false, topOrigin: "https://id.example.com" } },
        "cross_origin",
      ],
    };
    for (const [name, [twist, refused]] of Object.entries(wrong)) {
      it(`refuses one ${name}`, async () => {
        assert.equal(reason(await signIn(await enrolled(), twist)), refused);
      });
    }

    it("refuses one that comes a second time (WebAuthn §13.4.3)", async () => {
      const device = await enrolled();
      const occasion = signInAt();
      const question = await askForPasskey(knex(), relyingParty, occasion, sooner);
      const answer = device.get(question);
      const send = () => signInWithPasskey(knex(), relyingParty, occasion, answer, now);
      assert.equal(reason(await send()), "accepted");
      assert.equal(reason(await send()), "stale_challenge");
    });

    it("accepts one of ten that come at once (WebAuthn §13.4.3)", async () => {
      const device = await enrolled();
      const occasion = signInAt();
      const answer = device.get(await askForPasskey(knex(), relyingParty, occasion, sooner));
      const outcomes = await Promise.all(
        Array.from({ length: 10 }, () =>
          signInWithPasskey(knex(), relyingParty, occasion, answer, now),
        ),
      );
      assert.equal(outcomes.filter((outcome) => "user" in outcome).length, 1);
    });

    it("spends the challenge also where the answer is wrong (WebAuthn §13.4.3)", async () => {
      const device = await enrolled();
      const occasion = signInAt();
      const question = await askForPasskey(knex(), relyingParty, occasion, sooner);
      const send = (twist: Twist) =>
        signInWithPasskey(knex(), relyingParty, occasion, device.get(question, twist), now);
      assert.equal(reason(await send({ isVerified: false })), "not_verified");
      assert.equal(reason(await send({})), "stale_challenge");
    });

    it("refuses one that comes when the page is over (WebAuthn §13.4.3)", async () => {
      const device = await enrolled();
      const occasion = signInAt();
      const answer = device.get(await askForPasskey(knex(), relyingParty, occasion, sooner));
      const outcome = await signInWithPasskey(knex(), relyingParty, occasion, answer, until);
      assert.equal(reason(outcome), "stale_challenge");
    });

    it("refuses one of another sign-in, purpose or person (T-80)", async () => {
      const device = await enrolled();
      const asked = signInAt();
      for (const answered of [
        { ...asked, of: "another" },
        { ...asked, purpose: "second_factor" as const },
        { ...asked, userId: user.id },
      ]) {
        const answer = device.get(await askForPasskey(knex(), relyingParty, asked, sooner));
        const outcome = await signInWithPasskey(knex(), relyingParty, answered, answer, now);
        assert.equal(reason(outcome), "stale_challenge", JSON.stringify(answered));
      }
    });

    it("refuses the answer to a registration where a sign-in is asked for (WebAuthn §7.2, step 11)", async () => {
      const device = await enrolled();
      const occasion = signInAt();
      const { challenge } = await askForPasskey(knex(), relyingParty, occasion, sooner);
      const created = device.create({
        challenge,
        rp: { id: relyingParty.id },
        user: { id: user.webauthnUserHandle.toString("base64url") },
      });
      const outcome = await signInWithPasskey(knex(), relyingParty, occasion, created, now);
      assert.equal(reason(outcome), "malformed");
    });

    it("refuses a signature that somebody else made (WebAuthn §7.2, step 21)", async () => {
      const device = await enrolled();
      const forger = new SoftwareAuthenticator(ISSUER, {
        id: device.id,
        userHandle: user.webauthnUserHandle.toString("base64url"),
      });
      assert.equal(reason(await signIn(forger)), "not_verified");
    });

    for (const [name, text] of Object.entries({
      "no JSON": "{",
      "a word": '"passkey"',
      null: "null",
      "an empty object": "{}",
      "an id that is no base64url": JSON.stringify({ id: "a b", rawId: "a b", type: "public-key" }),
      "client data that is no JSON": JSON.stringify({
        id: "AAAA",
        rawId: "AAAA",
        type: "public-key",
        response: { clientDataJSON: "AAAA", authenticatorData: "AAAA", signature: "AAAA" },
      }),
    }))
      it(`refuses ${name} (WebAuthn §5.1.8)`, async () => {
        const outcome = await signInWithPasskey(knex(), relyingParty, signInAt(), text, now);
        assert.equal(reason(outcome), "malformed");
      });
  });

  describe("T-82: somebody else’s passkey", () => {
    it("is refused where another person is asked (WebAuthn §7.2, step 6)", async () => {
      const device = await enrolled({}, await aPerson());
      const occasion = signInAt({ userId: user.id });
      assert.equal(reason(await signIn(device, {}, occasion)), "other_user");
    });

    it("is refused where it names a user who does not own it (WebAuthn §7.2, step 6)", async () => {
      const device = await enrolled({}, await aPerson());
      const userHandle = user.webauthnUserHandle.toString("base64url");
      assert.equal(reason(await signIn(device, { userHandle })), "other_user");
    });

    it("is refused where it names nobody and nobody was asked (WebAuthn §7.2, step 6)", async () => {
      const device = await enrolled();
      assert.equal(reason(await signIn(device, { userHandle: undefined })), "other_user");
    });

    it("is not one that nobody has: that one is said to be unknown (WebAuthn §5.1.10.1)", async () => {
      const device = new SoftwareAuthenticator(ISSUER, {
        userHandle: user.webauthnUserHandle.toString("base64url"),
      });
      const outcome = await signIn(device);
      assert.deepEqual(outcome, { refused: "unknown", credentialId: device.id });
    });

    it("cannot be registered a second time, by nobody (WebAuthn §7.1, step 26)", async () => {
      const device = await enrolled();
      assert.equal(reason(await enrol(device, {}, await aPerson())), "taken");
      assert.equal(reason(await enrol(device)), "taken");
      assert.equal(reason(await signIn(device, {}, signInAt())), "accepted");
    });

    it("is not found by another relying party (WebAuthn §4, scope)", async () => {
      const device = await enrolled();
      const other = { id: "bank.example", origins: ["https://bank.example"] };
      const occasion = signInAt();
      const question = await askForPasskey(knex(), other, occasion, sooner);
      const answer = device.get(question, { origin: "https://bank.example" });
      assert.equal(
        reason(await signInWithPasskey(knex(), other, occasion, answer, now)),
        "unknown",
      );
    });
  });

  describe("T-83: the counter", () => {
    it("must go up where the authenticator counts (WebAuthn §6.1.1)", async () => {
      const device = await enrolled({ counts: true });
      assert.equal(reason(await signIn(device)), "accepted");
      assert.equal(reason(await signIn(device)), "accepted");
      for (const counter of [device.counter, 1, 0]) {
        const outcome = await signIn(device, { counter });
        assert.equal(reason(outcome), "cloned", String(counter));
        assert.ok("userId" in outcome && outcome.userId === user.id);
      }
      const row = await WebauthnCredential.of(knex(), user.id, relyingParty.id).first();
      assert.deepEqual(row?.cloneWarningAt, now);
      assert.equal(Number(row.signCount), 2, "and a refused one moves nothing");
    });

    it("is believed only under a signature: nobody else can make it look copied (WebAuthn §6.1.1)", async () => {
      const device = await enrolled({ counts: true });
      await signIn(device);
      const forger = new SoftwareAuthenticator(ISSUER, {
        id: device.id,
        userHandle: user.webauthnUserHandle.toString("base64url"),
        counts: true,
      });
      const outcome = await signIn(forger, { counter: 0 });
      assert.equal(reason(outcome), "not_verified");
      const row = await WebauthnCredential.of(knex(), user.id, relyingParty.id).first();
      assert.equal(row?.cloneWarningAt, null);
    });

    it("lets one of two with the same number pass, also at once (WebAuthn §6.1.1)", async () => {
      const device = await enrolled({ counts: true });
      const outcomes = await Promise.all([
        signIn(device, { counter: 5 }),
        signIn(device, { counter: 5 }),
      ]);
      assert.deepEqual(outcomes.map(reason).sort(), ["accepted", "cloned"]);
    });
  });

  describe("registration", () => {
    const wrong: Readonly<Record<string, readonly [Twist, string]>> = {
      "of another origin (WebAuthn §7.1, step 9)": [
        { origin: "https://evil.example" },
        "not_verified",
      ],
      "of another relying party (WebAuthn §7.1, step 14)": [
        { rpId: "evil.example" },
        "not_verified",
      ],
      "without user verification (WebAuthn §7.1, step 16)": [{ isVerified: false }, "not_verified"],
      "without anybody present (WebAuthn §7.1, step 15)": [{ isPresent: false }, "not_verified"],
      "of a sign-in (WebAuthn §7.1, step 7)": [{ type: "webauthn.get" }, "not_verified"],
      "to a challenge that nobody set (WebAuthn §7.1, step 8)": [
        { challenge: randomBytes(32).toString("base64url") },
        "stale_challenge",
      ],
      "from a frame in another site (WebAuthn §7.1, step 10)": [
        { clientData: { crossOrigin: true } },
        "cross_origin",
      ],
      "that is backed up although it cannot be (WebAuthn §7.1, step 17)": [
        { isBackupEligible: false, isBackedUp: true },
        "not_verified",
      ],
    };
    for (const [name, [twist, refused]] of Object.entries(wrong)) {
      it(`refuses an answer ${name}`, async () => {
        assert.equal(reason(await enrol(new SoftwareAuthenticator(ISSUER), twist)), refused);
        assert.equal(
          await WebauthnCredential.query(knex()).where({ userId: user.id }).resultSize(),
          0,
        );
      });
    }

    it("refuses an answer that was asked of another person (T-82)", async () => {
      const victim = await aPerson();
      const asked = enrolAt(victim);
      const question = await askForNewPasskey(knex(), relyingParty, asked, ownerOf(victim), sooner);
      const answer = new SoftwareAuthenticator(ISSUER).create(question);
      const own = { ...asked, userId: user.id };
      const outcome = await addPasskey(knex(), relyingParty, own, answer, { now });
      assert.equal(reason(outcome), "stale_challenge");
    });

    it("names what has no name, and counts what has one already", async () => {
      const names: string[] = [];
      for (let number = 0; number < 3; number += 1) {
        const outcome = await enrol(new SoftwareAuthenticator(ISSUER));
        if ("passkey" in outcome) names.push(outcome.passkey.name);
      }
      assert.deepEqual(names, ["Passkey", "Passkey 2", "Passkey 3"]);
      assert.equal(passkeyName("  Ada’s phone "), "Ada’s phone");
      for (const bad of ["", "   ", "x".repeat(101), "a\u0000b"])
        assert.equal(passkeyName(bad), undefined);
    });

    it("stops at twenty", async () => {
      for (let number = 0; number < 20; number += 1) await enrolled();
      assert.equal(reason(await enrol(new SoftwareAuthenticator(ISSUER))), "taken");
    });
  });

  describe("removal", () => {
    const passkeysOf = () => WebauthnCredential.of(knex(), user.id, relyingParty.id);
    const remove = (id: string, userId = user.id) =>
      knex().transaction((trx) => WebauthnCredential.remove(trx, { id, userId }));

    it("takes a person’s own passkey and nobody else’s (T-78)", async () => {
      await enrolled();
      const [passkey] = await passkeysOf();
      const other = await aPerson();
      assert.equal(await remove(passkey?.id ?? "", other.id), undefined);
      assert.equal(await passkeysOf().resultSize(), 1);
      assert.deepEqual(await remove(passkey?.id ?? ""), { name: "Passkey" });
      assert.equal(await passkeysOf().resultSize(), 0);
    });

    it("is what an operator does for somebody who lost everything (T-87)", async () => {
      await enrolled();
      await User.query(knex()).findById(user.id).patch({ passkeyIsSecondStep: true });
      assert.deepEqual(await factorsOf(knex(), user.id), ["webauthn"]);
      assert.equal(await removeFactors(knex(), user.id), 1);
      assert.deepEqual(await factorsOf(knex(), user.id), []);
      assert.equal((await User.query(knex()).findById(user.id))?.passkeyIsSecondStep, false);
    });

    it("leaves the last way in, also where two are removed at once (T-78)", async () => {
      await UserPassword.query(knex()).deleteById(user.id);
      await enrolled();
      await enrolled();
      const both = await passkeysOf();
      const removed = await Promise.all(both.map(({ id }) => remove(id)));
      assert.equal(removed.filter((passkey) => passkey !== undefined).length, 1);
      assert.equal(await passkeysOf().resultSize(), 1);
    });
  });

  it("are asked for after a password where their owner or a policy wants that (T-70)", async () => {
    await enrolled();
    const here = await factorsOf(knex(), user.id, relyingParty.id);
    assert.deepEqual(here, ["webauthn"]);
    assert.deepEqual(await factorsOf(knex(), user.id, "bank.example"), [], "not elsewhere");
    const isAsked = (passkeyIsSecondStep: boolean, required: boolean) =>
      isAlwaysAskedFor(here, { passkeyIsSecondStep }, { required });
    assert.equal(isAsked(false, false), false);
    assert.equal(isAsked(true, false), true);
    assert.equal(isAsked(false, true), true);
  });

  describe("the offer to make one (ux.md P19)", () => {
    const DAY = 24 * 60 * 60 * 1000;
    const isDue = (at: Date) =>
      PasskeyOffer.isDue(knex(), {
        userId: user.id,
        rpId: relyingParty.id,
        isByOtherDevice: false,
        device: undefined,
        now: at,
      });
    const claim = (at: Date) => PasskeyOffer.claim(knex(), user.id, at);

    it("comes three times at most, ninety days apart", async () => {
      const after = (days: number) => new Date(now.getTime() + days * DAY);
      for (const [days, expected] of [
        [0, true],
        [1, false],
        [89, false],
        [91, true],
        [182, true],
        [900, false],
      ] as const) {
        assert.equal(await isDue(after(days)), expected, `due on day ${days}`);
        assert.equal(await claim(after(days)), expected, `claimed on day ${days}`);
      }
    });

    it("comes once where two tabs want to show it", async () => {
      const claims = await Promise.all(Array.from({ length: 5 }, () => claim(now)));
      assert.equal(claims.filter(Boolean).length, 1);
    });

    it("never comes again to who said so, nor to who has a passkey", async () => {
      const later = new Date(now.getTime() + 200 * DAY);
      await claim(now);
      await PasskeyOffer.query(knex()).findById(user.id).patch({ declinedAt: now });
      assert.equal(await isDue(later), false);
      user = await aPerson();
      assert.equal(await isDue(now), true);
      await enrolled();
      assert.equal(await isDue(now), false);
    });
  });

  it("are scoped to the host of the issuer unless a setting says otherwise (WebAuthn §4)", () => {
    const of = (url: string, choices = {}) => issuerOf("", url, "production", choices).relyingParty;
    assert.deepEqual(of("https://id.example.com/bank"), {
      id: "id.example.com",
      origins: ["https://id.example.com"],
    });
    assert.deepEqual(of("https://id.example.com:8443", { passkeyRpId: "example.com" }), {
      id: "example.com",
      origins: ["https://id.example.com:8443"],
    });
    assert.equal(of("http://127.0.0.1:3000"), undefined, "browsers make none for bare addresses");
    assert.equal(of("http://[::1]:3000"), undefined);
  });
});
