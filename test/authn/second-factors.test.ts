import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { createHashQueue } from "../../src/authn/hash-queue.ts";
import {
  checkEmailCode,
  emailCodeWait,
  makeEmailCode,
  readEmailCode,
} from "../../src/authn/email-codes.ts";
import { addEmailFactor, factorsOf, removeFactors } from "../../src/authn/factors.ts";
import {
  base32,
  codeOf,
  keyUri,
  PERIOD,
  readCode,
  stepsAt,
} from "../../src/authn/one-time-password.ts";
import { createPasswords } from "../../src/authn/password.ts";
import {
  checkRecoveryCode,
  makeRecoveryCodes,
  readRecoveryCode,
  saveRecoveryCodes,
} from "../../src/authn/recovery-codes.ts";
import { throttleFactor, throttleFactorSuccess } from "../../src/authn/throttle.ts";
import { checkTotp, confirmTotp, listTotp, pendingTotp, removeTotp } from "../../src/authn/totp.ts";
import {
  forgetTrustedBrowsers,
  isTrusted,
  listTrustedBrowsers,
  trustBrowser,
} from "../../src/authn/trusted-browsers.ts";
import { connect } from "../../src/database/connect.ts";
import { openSeal, type Seal } from "../../src/keys/seal.ts";
import { EmailCode } from "../../src/models/email-code.ts";
import { MfaFactor } from "../../src/models/mfa-factor.ts";
import { RecoveryCode } from "../../src/models/recovery-code.ts";
import { TrustedBrowser } from "../../src/models/trusted-browser.ts";
import { User } from "../../src/models/user.ts";
import { testDatabase, type TestDatabase } from "../support/database.ts";
import { aPasskey } from "../support/passkeys.ts";

const START = new Date("2026-03-01T12:00:00Z");
const secondsIn = (seconds: number): Date => new Date(START.getTime() + seconds * 1000);
const stepOf = (at: Date): number => Math.floor(at.getTime() / 1000 / PERIOD);

describe("one-time passwords", () => {
  it("are those of the test vectors, cut to six digits (RFC 6238 Appendix B)", () => {
    const seed = Buffer.from("12345678901234567890");
    const vectors: [number, string][] = [
      [59, "94287082"],
      [1111111109, "07081804"],
      [1111111111, "14050471"],
      [1234567890, "89005924"],
      [2000000000, "69279037"],
      [20000000000, "65353130"],
    ];
    for (const [time, code] of vectors)
      assert.equal(codeOf(seed, Math.floor(time / PERIOD)), code.slice(2));
  });

  it("write seeds as apps take them (RFC 4648 §10)", () => {
    const vectors = { "": "", f: "MY", fo: "MZXQ", foo: "MZXW6", foobar: "MZXW6YTBOI" };
    for (const [text, encoded] of Object.entries(vectors))
      assert.equal(base32(Buffer.from(text)), encoded);
  });

  it("name issuer and account in the address that apps open", () => {
    const uri = keyUri(Buffer.from("12345678901234567890"), {
      issuer: "Acme & Söhne",
      account: "ada@example.com",
    });
    const url = new URL(uri);
    assert.equal(url.protocol, "otpauth:");
    assert.match(uri, /^otpauth:\/\/totp\/Acme%20%26%20S%C3%B6hne:ada%40example.com\?/);
    assert.equal(url.searchParams.get("secret"), "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ");
    assert.equal(url.searchParams.get("issuer"), "Acme & Söhne");
    assert.doesNotMatch(uri, /\+/);
  });

  it("live forty seconds: their own thirty and ten of the next (T-72)", () => {
    const step = stepOf(START);
    assert.deepEqual(stepsAt(START), [step, step - 1]);
    assert.deepEqual(stepsAt(secondsIn(9.999)), [step, step - 1]);
    assert.deepEqual(stepsAt(secondsIn(10)), [step]);
    assert.deepEqual(stepsAt(secondsIn(29.999)), [step]);
  });

  it("are six digits and nothing that looks like them (T-74)", () => {
    assert.equal(readCode("123456"), "123456");
    assert.equal(readCode(" 123 456 "), "123456");
    for (const typed of ["１２３４５６", "123456\n", "12345", "1234567", "12345a", "", "٣٣٣٣٣٣"])
      assert.equal(readCode(typed), undefined, JSON.stringify(typed));
  });
});

describe("second factors", function () {
  this.timeout(60_000);
  const passwords = createPasswords(createHashQueue({ maxWaiting: 1000, maxWaitMs: 60_000 }));
  let database: TestDatabase;
  let other: ReturnType<typeof connect>;
  let seal: Seal;
  let userId: string;

  before(async () => {
    database = await testDatabase();
    other = connect({ url: database.url, applicationName: "another node" });
    seal = await openSeal(database.knex, { encryptionKey: randomBytes(32) });
  });
  after(async () => {
    await other.destroy();
    await database.drop();
  });
  beforeEach(async () => {
    userId = await aPerson();
  });

  const db = () => database.knex;
  const aPerson = async () => (await User.query(db()).insertAndFetch({ createdVia: "admin" })).id;
  const binding = () => randomBytes(32);

  /** An app that was set up an hour before. */
  async function anApp(of = userId, name = "Phone") {
    const now = secondsIn(-3600);
    const pending = await pendingTotp(db(), seal, { userId: of, bindingHash: binding(), now });
    assert.ok(pending !== undefined);
    const code = codeOf(pending.seed, stepOf(now));
    assert.ok(await confirmTotp(db(), pending, { code, name, now }));
    return pending;
  }
  const at = (seed: Buffer, when: Date, now = when, on = db(), of = userId) =>
    checkTotp(on, seal, { userId: of, code: codeOf(seed, stepOf(when)), now });
  const wrong = async (seed: Buffer, now: Date) => {
    const right = stepsAt(now).map((step) => codeOf(seed, step));
    const code = ["000000", "000001", "000002"].find((each) => !right.includes(each)) ?? "";
    return checkTotp(db(), seal, { userId, code, now });
  };

  describe("an authenticator app", () => {
    it("keeps its seed while it is set up, for one interaction and for fifteen minutes", async () => {
      const bindingHash = binding();
      const first = await pendingTotp(db(), seal, { userId, bindingHash, now: START });
      const [again, together, elsewhere] = await Promise.all([
        pendingTotp(db(), seal, { userId, bindingHash, now: secondsIn(600) }),
        pendingTotp(other, seal, { userId, bindingHash, now: secondsIn(600) }),
        pendingTotp(db(), seal, { userId, bindingHash: binding(), now: START }),
      ]);
      assert.deepEqual(again?.seed, first?.seed);
      assert.deepEqual(together?.seed, first?.seed);
      assert.notDeepEqual(elsewhere?.seed, first?.seed);
      assert.equal(first?.seed.length, 20);
      const later = await pendingTotp(db(), seal, { userId, bindingHash, now: secondsIn(900) });
      assert.notDeepEqual(later?.seed, first?.seed);
      assert.deepEqual(await factorsOf(db(), userId), [], "it is no factor yet");
    });

    it("is a factor once its first code was shown, and that code is spent (T-73)", async () => {
      const bindingHash = binding();
      const pending = await pendingTotp(db(), seal, { userId, bindingHash, now: START });
      assert.ok(pending !== undefined);
      const code = codeOf(pending.seed, stepOf(START));
      const mistyped = { code: code === "000000" ? "000001" : "000000", name: "", now: START };
      assert.equal(await confirmTotp(db(), pending, mistyped), false);
      assert.ok(await confirmTotp(db(), pending, { code, name: "Phone", now: START }));
      assert.equal(await confirmTotp(db(), pending, { code, name: "x", now: START }), false);
      assert.deepEqual(await factorsOf(db(), userId), ["totp"]);
      const replay = await at(pending.seed, START);
      assert.deepEqual(replay, { ok: false, reason: "used", isDisabledNow: false });
    });

    it("has its seed sealed to its row (T-64)", async () => {
      const { id, seed } = await anApp();
      const row = await MfaFactor.query(db()).findById(id).throwIfNotFound();
      assert.ok(row.secretEnc !== null && !row.secretEnc.includes(seed));
      assert.throws(() =>
        seal.decrypt(row.secretEnc ?? Buffer.of(), {
          table: "mfa_factors",
          column: "secret_enc",
          id: "another",
        }),
      );
    });

    it("accepts the code of now, and none twice (RFC 6238 §5.2, T-73)", async () => {
      const { seed } = await anApp();
      assert.equal((await at(seed, START)).ok, true);
      const again = await at(seed, START, secondsIn(1));
      assert.deepEqual(again, { ok: false, reason: "used", isDisabledNow: false });
    });

    it("accepts one of many that show the same code at once, on two nodes (T-73)", async () => {
      const { seed } = await anApp();
      const checks = await Promise.all(
        Array.from({ length: 20 }, (_, index) =>
          at(seed, START, START, index % 2 === 0 ? db() : other),
        ),
      );
      assert.equal(checks.filter(({ ok }) => ok).length, 1);
    });

    it("refuses the code before one that was accepted (T-73)", async () => {
      const { seed } = await anApp();
      assert.equal((await at(seed, secondsIn(30))).ok, true);
      assert.equal((await at(seed, START, secondsIn(35))).ok, false);
    });

    it("refuses a code that is more than forty seconds old, or of the future (T-73, CVE-2024-7318)", async () => {
      const { seed } = await anApp();
      assert.equal((await at(seed, START, secondsIn(40))).ok, false);
      assert.equal((await at(seed, secondsIn(30), START)).ok, false);
      assert.equal((await at(seed, START, secondsIn(39))).ok, true);
    });

    it("is one of several, each with seeds and steps of its own", async () => {
      const [phone, tablet] = [await anApp(), await anApp(userId, "Tablet")];
      assert.deepEqual(
        (await listTotp(db(), userId)).map(({ name }) => name),
        ["Phone", "Tablet"],
      );
      assert.equal((await at(phone.seed, START)).ok, true);
      assert.equal((await at(tablet.seed, START)).ok, true);
      assert.equal((await at(tablet.seed, START)).ok, false);
    });

    it("is nobody else’s: not their code, not their seed, not to be removed by them", async () => {
      const { id, seed } = await anApp();
      const stranger = await aPerson();
      assert.equal((await at(seed, START, START, db(), stranger)).ok, false);
      assert.equal(await removeTotp(db(), { userId: stranger, id }), false);
      assert.equal((await at(seed, START)).ok, true);
      assert.equal(await removeTotp(db(), { userId, id }), true);
      assert.deepEqual(await factorsOf(db(), userId), []);
    });

    it("is turned off by the hundredth wrong code in a row, and stays a factor (T-72, T-70)", async () => {
      const { seed } = await anApp();
      await wrong(seed, START);
      assert.equal((await at(seed, START)).ok, true, "a right one in between");
      await MfaFactor.query(db()).patch({ failures: 98 }).where({ userId });
      assert.deepEqual(await wrong(seed, secondsIn(30)), {
        ok: false,
        reason: "wrong",
        isDisabledNow: false,
      });
      assert.deepEqual(await wrong(seed, secondsIn(30)), {
        ok: false,
        reason: "wrong",
        isDisabledNow: true,
      });
      const right = await at(seed, secondsIn(60));
      assert.deepEqual(right, { ok: false, reason: "wrong", isDisabledNow: false });
      assert.deepEqual(await factorsOf(db(), userId), ["totp"]);
    });

    it("is looked at by none of fifty parallel guesses after the hundredth (T-72)", async () => {
      const { seed } = await anApp();
      await MfaFactor.query(db()).patch({ failures: 100 }).where({ userId });
      const checks = await Promise.all(Array.from({ length: 50 }, () => at(seed, START)));
      assert.ok(checks.every(({ ok }) => !ok));
      assert.equal(checks.filter((check) => !check.ok && check.isDisabledNow).length, 1);
    });
  });

  describe("counting codes (T-72, T-79)", () => {
    const interaction = () => randomBytes(8).toString("hex");
    const guess = (
      of: string,
      method: "totp" | "recovery_code" = "totp",
      who = userId,
      now = START,
    ) => throttleFactor(db(), seal, { method, interaction: of, who, now });

    it("five are looked at in one interaction, of fifty at once", async () => {
      const here = interaction();
      const tries = await Promise.all(Array.from({ length: 50 }, () => guess(here)));
      assert.equal(tries.filter(({ allowed }) => allowed).length, 5);
    });

    it("ten in an hour are looked at for one person, whatever the interaction", async () => {
      const tries = [];
      for (let index = 0; index < 12; index += 1) tries.push(await guess(interaction()));
      assert.equal(tries.filter(({ allowed }) => allowed).length, 10);
      assert.equal((await guess(interaction(), "totp", await aPerson())).allowed, true);
      assert.equal((await guess(interaction(), "totp", userId, secondsIn(3601))).allowed, true);
    });

    it("of recovery codes five in an hour", async () => {
      const tries = [];
      for (let index = 0; index < 7; index += 1)
        tries.push(await guess(interaction(), "recovery_code"));
      assert.equal(tries.filter(({ allowed }) => allowed).length, 5);
      assert.equal((await guess(interaction(), "totp")).allowed, true, "other methods stay open");
    });

    it("a right one is taken back from the person, not from the interaction", async () => {
      const here = interaction();
      for (let index = 0; index < 5; index += 1) {
        const counted = await guess(here);
        assert.ok(counted.allowed);
        await throttleFactorSuccess(db(), counted);
      }
      assert.equal((await guess(here)).allowed, false);
      for (let index = 0; index < 10; index += 1)
        assert.equal((await guess(interaction())).allowed, true);
    });
  });

  describe("recovery codes (T-79)", () => {
    async function codes(of = userId): Promise<readonly string[]> {
      const made = await makeRecoveryCodes(passwords);
      await saveRecoveryCodes(db(), of, made, START);
      return made.codes;
    }
    const use = (typed: string, on = db(), of = userId) =>
      checkRecoveryCode(on, passwords, {
        userId: of,
        code: readRecoveryCode(typed) ?? "",
        now: START,
      });

    it("are ten, different, of eighty bits beside the four letters that find them", async () => {
      const made = await codes();
      assert.equal(new Set(made).size, 10);
      for (const code of made)
        assert.match(code, /^[0-9a-hjkmnp-tv-z]{4}(-[0-9a-hjkmnp-tv-z]{4}){4}$/);
    });

    it("work once, in any case, with any dashes, with o for 0 and l for 1", async () => {
      const [first = "", second = ""] = await codes();
      assert.equal(await use(first.toUpperCase().replaceAll("-", " ").replaceAll("0", "O")), 9);
      assert.equal(await use(first), undefined);
      assert.equal(await use(second.replaceAll("1", "l").replaceAll("-", "")), 8);
      assert.ok(readRecoveryCode(`\u00a0${first}\n`), "as it may be copied");
      for (const typed of ["", "abcd", `${first}0`, first.replace(/.$/, "u")])
        assert.equal(readRecoveryCode(typed), undefined, typed);
    });

    it("one of many that show the same code at once is let in, on two nodes", async () => {
      const [code = ""] = await codes();
      const uses = await Promise.all(
        Array.from({ length: 10 }, (_, index) => use(code, index % 2 === 0 ? db() : other)),
      );
      assert.equal(uses.filter((left) => left !== undefined).length, 1);
    });

    it("are void when there are new ones, and nobody else’s", async () => {
      const [former = ""] = await codes();
      const [current = ""] = await codes();
      const stranger = await aPerson();
      await codes(stranger);
      assert.equal(await use(former), undefined);
      assert.equal(await use(current, db(), stranger), undefined);
      assert.equal(await use(current), 9);
    });

    it("are in the database as argon2id, and nothing of their secret half is (T-64)", async () => {
      const made = await codes();
      const rows = JSON.stringify(await RecoveryCode.query(db()).where({ userId }));
      assert.match(rows, /\$argon2id\$/);
      for (const code of made) {
        assert.ok(!rows.includes(code.slice(5)));
        assert.ok(!rows.includes(code.replaceAll("-", "").slice(4)));
      }
    });

    it("are no second step by themselves", async () => {
      await codes();
      assert.deepEqual(await factorsOf(db(), userId), []);
      await anApp();
      assert.deepEqual(await factorsOf(db(), userId), ["totp", "recovery"]);
    });
  });

  describe("codes by e-mail (T-75)", () => {
    const aBinding = (interaction = randomBytes(8).toString("hex")) =>
      ({ interaction, purpose: "sign_in", who: "ada@example.com" }) as const;
    async function code(bound = aBinding(), now = START): Promise<string> {
      const made = await makeEmailCode(db(), seal, { ...bound, userId, now });
      assert.ok("code" in made);
      return made.code;
    }
    const show = (typed: string, bound: ReturnType<typeof aBinding>, now = START, on = db()) =>
      checkEmailCode(on, seal, { ...bound, code: typed, now });
    const not = (right: string) => (right === "00000000" ? "00000001" : "00000000");

    it("are eight digits, and say whose they are, once", async () => {
      const bound = aBinding();
      const right = await code(bound);
      assert.match(right, /^[0-9]{8}$/);
      assert.equal(await show(right, bound), userId);
      assert.equal(await show(right, bound), undefined);
    });

    it("one of many that show the same code at once is let in, on two nodes", async () => {
      const bound = aBinding();
      const right = await code(bound);
      const shown = await Promise.all(
        Array.from({ length: 5 }, (_, index) =>
          show(right, bound, START, index % 2 === 0 ? db() : other),
        ),
      );
      assert.equal(shown.filter((id) => id === userId).length, 1);
    });

    it("are void after five wrong ones, even the right one", async () => {
      const bound = aBinding();
      const right = await code(bound);
      for (let index = 0; index < 5; index += 1)
        assert.equal(await show(not(right), bound), undefined);
      assert.equal(await show(right, bound), undefined);
    });

    it("are good for ten minutes", async () => {
      const bound = aBinding();
      const right = await code(bound);
      assert.equal(await show(right, bound, secondsIn(600)), undefined);
      assert.equal(await show(right, bound, secondsIn(599)), userId);
    });

    it("are worth nothing in another interaction, for another purpose or for another name", async () => {
      const bound = aBinding();
      const right = await code(bound);
      const { interaction } = bound;
      assert.equal(await show(right, aBinding()), undefined);
      for (const elsewhere of [
        { ...bound, purpose: "second_step" },
        { ...bound, who: "eve@example.com" },
      ] as const)
        assert.equal(
          await checkEmailCode(db(), seal, { ...elsewhere, code: right, now: START }),
          undefined,
        );
      assert.equal(await show(right, aBinding(interaction)), userId);
    });

    it("void the one before, and come a minute apart", async () => {
      const bound = aBinding();
      const first = await code(bound);
      const hasty = await makeEmailCode(db(), seal, { ...bound, userId, now: secondsIn(20) });
      assert.deepEqual(hasty, { wait: 40 });
      assert.equal(await emailCodeWait(db(), seal, { ...bound, now: secondsIn(20) }), 40);
      const second = await code(bound, secondsIn(60));
      if (first !== second) assert.equal(await show(first, bound, secondsIn(61)), undefined);
      assert.equal(await show(second, bound, secondsIn(61)), userId);
    });

    it("of somebody we do not know are made as well, and are nobody’s", async () => {
      const bound = aBinding();
      const made = await makeEmailCode(db(), seal, { ...bound, userId: undefined, now: START });
      assert.ok("code" in made);
      assert.equal(await show(made.code, bound), undefined);
    });

    it("are in the database under a key only (T-64)", async () => {
      const bound = aBinding();
      const right = await code(bound);
      const [row] = await EmailCode.query(db()).where({ userId });
      assert.doesNotMatch(JSON.stringify(row), new RegExp(right));
      assert.equal(row?.codeHash.length, 32);
    });

    it("are eight digits and nothing that looks like them (T-74)", () => {
      for (const typed of ["1234 5678", "\u00a012345678\n"])
        assert.equal(readEmailCode(typed), "12345678");
      for (const typed of ["１２３４５６７８", "1234567", "123456789", ""])
        assert.equal(readEmailCode(typed), undefined);
    });
  });

  describe("a trusted browser (T-86)", () => {
    const FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0";
    const trust = (token?: string, of = userId) =>
      trustBrowser(db(), { userId: of, token, userAgent: FIREFOX, name: "Firefox", now: START });
    const asked = (token: string | undefined, changes = {}) =>
      isTrusted(db(), { userId, token, userAgent: FIREFOX, now: START, ...changes });

    it("is known by its cookie for thirty days, and by its hash only (T-64)", async () => {
      const token = await trust();
      assert.equal(await asked(token), true);
      assert.equal(await asked(token, { now: secondsIn(30 * 86_400) }), false);
      assert.equal(await asked(undefined), false);
      const row = await TrustedBrowser.query(db()).findOne({ userId });
      assert.ok(row !== undefined && !JSON.stringify(row).includes(token));
    });

    it("is trusted by one person, and is itself: a cookie elsewhere is worth nothing", async () => {
      const token = await trust();
      assert.equal(await asked(token, { userId: await aPerson() }), false);
      assert.equal(await asked(token, { userAgent: "curl/8.17" }), false);
      assert.equal(await asked(token, { userAgent: FIREFOX.replaceAll("140", "141") }), true);
    });

    it("gets another cookie when it is trusted again", async () => {
      const former = await trust();
      const current = await trust(former);
      assert.equal(await asked(former), false);
      assert.equal(await asked(current), true);
      assert.equal((await listTrustedBrowsers(db(), userId, START)).length, 1);
    });

    it("is forgotten by its person, one or all, and by nobody else", async () => {
      const [first, second] = [await trust(), await trust()];
      const [listed] = await listTrustedBrowsers(db(), userId, START);
      const id = listed?.id ?? "";
      assert.equal(await forgetTrustedBrowsers(db(), { userId: await aPerson(), id }), 0);
      assert.equal(await forgetTrustedBrowsers(db(), { userId, id }), 1);
      assert.equal(Number(await asked(first)) + Number(await asked(second)), 1);
      assert.equal(await forgetTrustedBrowsers(db(), { userId }), 1);
      assert.equal(Number(await asked(first)) + Number(await asked(second)), 0);
    });

    it("is one of twenty at most", async () => {
      for (let index = 0; index < 22; index += 1) await trust();
      assert.equal((await listTrustedBrowsers(db(), userId, START)).length, 20);
    });
  });

  it("are all gone when an operator takes them away (T-87)", async () => {
    await anApp();
    await addEmailFactor(db(), userId, START);
    await addEmailFactor(db(), userId, START);
    await saveRecoveryCodes(db(), userId, await makeRecoveryCodes(passwords), START);
    await aPasskey({ database, issuer: "https://id.example" }, userId);
    await User.query(db()).findById(userId).patch({ passkeyIsSecondStep: true });
    assert.deepEqual(await factorsOf(db(), userId), ["webauthn", "totp", "email", "recovery"]);
    assert.equal(await removeFactors(db(), userId), 3);
    assert.deepEqual(await factorsOf(db(), userId), []);
    assert.equal((await User.query(db()).findById(userId))?.passkeyIsSecondStep, false);
    assert.equal(await RecoveryCode.query(db()).where({ userId }).resultSize(), 0);
  });
});
