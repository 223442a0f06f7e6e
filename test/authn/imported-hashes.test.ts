import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { monitorEventLoopDelay } from "node:perf_hooks";
import bcrypt from "bcrypt";
import { createHashQueue } from "../../src/authn/hash-queue.ts";
import { storedForm } from "../../src/authn/hashes/notation.ts";
import { readHash } from "../../src/authn/hashes/read.ts";
import { createPasswords } from "../../src/authn/password.ts";
import { findByIdentifier, readIdentifier } from "../../src/authn/identifier.ts";
import { signInWithPassword } from "../../src/authn/sign-in.ts";
import { UserPassword } from "../../src/models/user-password.ts";
import { importUser } from "../../src/users/import.ts";
import { testDatabase, type TestDatabase } from "../support/database.ts";

const EXAMPLES = new URL("../../docs/examples/import.jsonl", import.meta.url);
/** Of every example; Django 5.2, Werkzeug 3, passlib 1.7, argon2-cffi and bcrypt made their hashes. */
const PASSWORD = "Schöne Grüße, Ada 🎉";

const examples = readFileSync(EXAMPLES, "utf8")
  .trim()
  .split("\n")
  .map((line) => JSON.parse(line) as { email: string; password_hash: string });

const passwords = createPasswords(createHashQueue({ maxWaiting: 1000, maxWaitMs: 60_000 }));
const verify = (written: string, password: string) =>
  passwords.verify(storedForm(written) ?? "", password);
const RIGHT = { ok: true, needsRehash: true };
const WRONG = { ok: false, needsRehash: false };

describe("an imported hash (T-61)", function () {
  this.timeout(30_000);

  for (const { email, password_hash: written } of examples)
    it(`of ${email.split("@")[0]} takes its password, in any composition, and no other`, async () => {
      assert.match(storedForm(written) ?? "", /^\$/, "as the table demands");
      assert.deepEqual(await verify(written, PASSWORD), RIGHT);
      assert.deepEqual(await verify(written, PASSWORD.normalize("NFD")), RIGHT);
      for (const wrong of [PASSWORD.toLowerCase(), `${PASSWORD}?`])
        assert.deepEqual(await verify(written, wrong), WRONG, wrong);
    });

  it("is read as others have published it: Firebase, phpass, RFC 7914 §12", async () => {
    const published: [password: string, written: string][] = [
      [
        "user1password",
        "$firebase-scrypt$ln=14,r=8$42xEC+ixf3L2lw==$Bw==$jxspr8Ki0RYycVU8zykbdLGjFQ3McFUH0uiiTvC8pVMXAn210wjLNmdZJzxUECKbm0QsEmYUSDzZvpjeJ9WmXA==$lSrfV15cpx95/sZS2W9c9Kp6i/LVgQNDNC/qzrCnh1SAyZvqmZqAjTdn3aoItz+VHjoZilo78198JAdRuid5lQ==",
      ],
      ["test12345", "$P$9IQRaTwmfeRo7ud9Fh4E2PdI0S3r.L0"],
      ["U*U", "$2a$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW"],
      [
        "pleaseletmein",
        "scrypt:16384:8:1$SodiumChloride$7023bdcb3afd7348461c06cd81fd38ebfda8fbba904f8e3ea9b543f6545da1f2d5432955613f0fcf62d49705242a9af9e61e85dc0d651e40dfcf017b45575887",
      ],
    ];
    for (const [password, written] of published)
      assert.deepEqual(await verify(written, password), RIGHT, written);
  });

  it("of other notations is stored as the one that means the same", () => {
    const bcryptHash = "$2y$12$9ngzYkb4Lt2NZM8it0BIyuLhmCx7Ip2aqsVaFiPG/t4sgIoe2C7Fu";
    const argon =
      "m=8192,t=3,p=2$PN5RjKXDcy5jJ+91zIcrFQ$mtVM5RdttokKYiNWI0sbxdeWcFMryr++lSFaNwd0cVU";
    for (const [written, stored] of [
      [`{CRYPT}${bcryptHash}`, bcryptHash],
      [`{bcrypt}${bcryptHash}`, bcryptHash],
      [`{ARGON2}$argon2i$v=19$${argon}`, `$argon2i$v=19$${argon}`],
      [`$argon2i$${argon}`, `$argon2i$v=16$${argon}`],
    ] as const)
      assert.equal(storedForm(written), stored);
    assert.equal(
      storedForm(storedForm(examples[0]?.password_hash ?? "") ?? ""),
      storedForm(examples[0]?.password_hash ?? ""),
    );
  });

  it("may have its Argon2 parameters in any order", async () => {
    const written = examples.find(({ email }) =>
      email.startsWith("argon2-cffi-id-v19"),
    )?.password_hash;
    for (const order of ["t=3,m=8192,p=2", "p=2,t=3,m=8192"])
      assert.deepEqual(
        await verify((written ?? "").replace("m=8192,t=3,p=2", order), PASSWORD),
        RIGHT,
      );
  });

  it("that asks for too much is refused before any work is done", async () => {
    const salt = "c2FsdHNhbHRzYWx0";
    const key = "aGFzaGhhc2hoYXNoaGFzaGhhc2g";
    const hostile = [
      `$argon2id$v=19$m=4194304,t=2,p=1$${salt}$${key}`,
      `$argon2id$v=19$m=19456,t=11,p=1$${salt}$${key}`,
      `$argon2d$v=16$m=262144,t=2,p=17$${salt}$${key}`,
      "$2b$15$abcdefghijklmnopqrstuvabcdefghijklmnopqrstuvabcdefghijk",
      "$2b$31$abcdefghijklmnopqrstuvabcdefghijklmnopqrstuvabcdefghijk",
      "$2b$03$abcdefghijklmnopqrstuvabcdefghijklmnopqrstuvabcdefghijk",
      "$wp$2y$15$abcdefghijklmnopqrstuvabcdefghijklmnopqrstuvabcdefghijk",
      `$pbkdf2-sha256$5000001$${salt}$${key}`,
      `$pbkdf2-sha512$99999999999$${salt}$${key}`,
      `$pbkdf2-sha256$0$${salt}$${key}`,
      `$pbkdf2-sha256$1000$${salt}$${"A".repeat(100)}`,
      `$scrypt$ln=19,r=8,p=1$${salt}$${key}`,
      `$scrypt$ln=14,r=8,p=9999$${salt}$${key}`,
      `$scrypt$ln=10,r=9999,p=1$${salt}$${key}`,
      `$scrypt$ln=99,r=1,p=1$${salt}$${key}`,
      `$scrypt$ln=0,r=8,p=1$${salt}$${key}`,
      `scrypt:3:8:1$salt$${"ab".repeat(32)}`,
      `scrypt:1048576:8:1$salt$${"ab".repeat(32)}`,
      `$firebase-scrypt$ln=25,r=8$${salt}$Bw==$${key}$${key}`,
      "$P$ZIQRaTwmfeRo7ud9Fh4E2PdI0S3r.L0",
      "$P$1IQRaTwmfeRo7ud9Fh4E2PdI0S3r.L0",
    ];
    for (const written of hostile) {
      const startedAt = performance.now();
      assert.equal(storedForm(written), undefined, written);
      assert.equal(readHash(written), undefined, written);
      assert.deepEqual(await passwords.verify(written, "anything at all"), WRONG);
      assert.ok(performance.now() - startedAt < 1000, written);
    }
  });

  it("of no known kind is refused, and one too short to mean anything", () => {
    for (const written of [
      "",
      "$",
      "password",
      "5f4dcc3b5aa765d61d8327deb882cf99",
      "md5$salt$5f4dcc3b5aa765d61d8327deb882cf99",
      "sha1$salt$abcdef",
      "!",
      "{SSHA}AAAA",
      "{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g=",
      "{CRYPT}$1$salt$qJH7.N4xYta3aEG/dfqo/0",
      "$5$rounds=5000$salt$hash",
      "$pbkdf2-sha256$1000$c2FsdA$AAAA",
      "$2x$10$abcdefghijklmnopqrstuvabcdefghijklmnopqrstuvabcdefghijk",
      "$2b$10$abcdefghijklmnopqrstuvabcdefghijklmnopqrstuvabcdefghij",
      `${examples[0]?.password_hash}\n`,
    ])
      assert.equal(storedForm(written), undefined, written);
  });

  it("by bcrypt takes 72 bytes, as everywhere, and never stops at a NUL", async () => {
    const [long, nul] = await Promise.all([bcrypt.hash("x".repeat(72), 4), bcrypt.hash("abc", 4)]);
    assert.deepEqual(await verify(long, "x".repeat(200)), RIGHT);
    assert.deepEqual(await verify(long, `${"x".repeat(71)}y`), WRONG);
    assert.deepEqual(await verify(nul, "abc\0def"), WRONG);
  });

  it("leaves other requests their turn while it is verified @alone", async () => {
    const slow = ["bcrypt", "phpass", "django-pbkdf2-sha256", "firebase"].map(
      (name) => examples.find(({ email }) => email.startsWith(name))?.password_hash ?? "",
    );
    const cost13 = await bcrypt.hash(PASSWORD, 13);
    const delay = monitorEventLoopDelay({ resolution: 1 });
    delay.enable();
    await Promise.all([...slow, cost13].map((written) => verify(written, "wrong")));
    delay.disable();
    assert.ok(delay.max / 1e6 < 300, `the loop stood still for ${delay.max / 1e6} ms`);
  });

  it("waits in the bounded queue as every other (T-71)", async () => {
    const small = createPasswords(createHashQueue({ concurrency: 1, maxWaiting: 1 }));
    const hash = storedForm(examples[0]?.password_hash ?? "");
    const results = await Promise.allSettled(
      Array.from({ length: 6 }, () => small.verify(hash, "x")),
    );
    const refused = results.filter((result) => result.status === "rejected");
    assert.equal(refused.length, 4);
    for (const { reason } of refused) assert.equal(reason.code, "temporarily_unavailable");
  });

  it("that is cheap costs no less than somebody unknown where the password is wrong (T-62) @alone", async () => {
    const time = async (hash: string | undefined): Promise<number> => {
      const startedAt = performance.now();
      await passwords.verify(hash, "wrong");
      return performance.now() - startedAt;
    };
    const median = (times: number[]): number => times.toSorted((a, b) => a - b)[4] ?? 0;
    const share = async (hash: string | undefined): Promise<number> => {
      const [its, unknown]: [number[], number[]] = [[], []];
      for (let round = 0; round < 9; round += 1) {
        unknown.push(await time(undefined));
        its.push(await time(hash));
      }
      return median(its) / median(unknown);
    };
    const cheap = examples.find(({ email }) => email.startsWith("ldap-ssha@"))?.password_hash;
    for (const hash of [
      storedForm(cheap ?? ""),
      "$argon2i$v=19$m=8,t=1,p=1$c2FsdHNhbHQ$aGFzaGhhc2hoYXNoaGFzaA",
    ]) {
      // A busy machine may spoil one measurement; a real difference spoils all.
      const shares: number[] = [];
      while (shares.length < 3 && !(Math.max(...shares) > 0.7)) shares.push(await share(hash));
      assert.ok(Math.max(...shares) > 0.7, shares.join(", "));
    }
  });
});

describe("a user with an imported hash", function () {
  this.timeout(30_000);
  let db: TestDatabase;
  before(async () => {
    db = await testDatabase();
  });
  after(() => db.drop());

  async function signInAs(email: string, password: string) {
    const found = await findByIdentifier(db.knex, readIdentifier(email));
    return signInWithPassword(db.knex, { passwords }, { found, password });
  }

  it("signs in with the whole password, and from then on with a hash of today (T-61)", async () => {
    for (const name of ["bcrypt-2a", "ldap-ssha512", "phpass-phpbb"]) {
      const line = examples.find(({ email }) => email.startsWith(`${name}@`));
      const { id } = await db.knex.transaction((trx) =>
        importUser(trx, JSON.stringify(line), new Date()),
      );
      const hashNow = async () => (await UserPassword.query(db.knex).findById(id))?.hash ?? "";
      const signIn = (password: string) => signInAs(line?.email ?? "", password);
      const before = await hashNow();

      assert.deepEqual(await signIn(`${PASSWORD}?`), { refused: "wrong" });
      assert.equal(await hashNow(), before);
      assert.ok("user" in (await signIn(PASSWORD)));
      assert.match(await hashNow(), /^\$argon2id\$v=19\$m=19456,/);
      const upgraded = await hashNow();
      assert.ok("user" in (await signIn(PASSWORD)));
      assert.equal(await hashNow(), upgraded);
      assert.deepEqual(await signIn(`${PASSWORD}?`), { refused: "wrong" });
    }
  });

  it("by bcrypt has every byte of a long password count from then on (T-61)", async () => {
    const [long, email] = ["correct horse ".repeat(8), "long@example.com"];
    const line = { email, password_hash: await bcrypt.hash(long, 4) };
    await db.knex.transaction((trx) => importUser(trx, JSON.stringify(line), new Date()));
    const signIn = (password: string) => signInAs(email, password);
    assert.ok("user" in (await signIn(long)));
    assert.deepEqual(await signIn(long.slice(0, 72)), { refused: "wrong" });
    assert.deepEqual(await signIn(`${long}x`), { refused: "wrong" });
    assert.ok("user" in (await signIn(long)));
  });
});
