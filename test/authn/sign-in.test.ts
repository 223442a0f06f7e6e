import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import argon2 from "argon2";
import { findByIdentifier, readIdentifier } from "../../src/authn/identifier.ts";
import { createHashQueue } from "../../src/authn/hash-queue.ts";
import { createPasswords, type Passwords } from "../../src/authn/password.ts";
import { signInWithPassword, type SignIn } from "../../src/authn/sign-in.ts";
import {
  clearThrottle,
  recentFailures,
  throttleAttempt,
  throttleSuccess,
  type CountedTry,
  type Throttled,
} from "../../src/authn/throttle.ts";
import { connect } from "../../src/database/connect.ts";
import { errors } from "../../src/errors.ts";
import { openSeal, type Seal } from "../../src/keys/seal.ts";
import { LoginThrottle } from "../../src/models/login-throttle.ts";
import { UserEmail } from "../../src/models/user-email.ts";
import { UserDevice } from "../../src/models/user-device.ts";
import { UserPassword } from "../../src/models/user-password.ts";
import { User } from "../../src/models/user.ts";
import { testDatabase, type TestDatabase } from "../support/database.ts";

const RIGHT = "correct horse battery";
const HOME = "192.0.2.0/24";
const START = new Date("2026-03-01T12:00:00Z");
const minutesIn = (minutes: number): Date => new Date(START.getTime() + minutes * 60_000);

interface NewUser {
  readonly email: string;
  readonly username?: string;
  readonly hash?: string;
  readonly verified?: boolean;
  readonly status?: User["status"];
}

describe("signing in with a password", function () {
  this.timeout(60_000);
  const hashing = createPasswords(createHashQueue({ maxWaiting: 1000, maxWaitMs: 60_000 }));
  let verifications = 0;
  const passwords: Passwords = {
    ...hashing,
    verify: (stored, password) => {
      verifications += 1;
      return hashing.verify(stored, password);
    },
  };
  let database: TestDatabase;
  let seal: Seal;
  let rightHash: string;
  let serial = 0;

  before(async () => {
    database = await testDatabase();
    seal = await openSeal(database.knex, { encryptionKey: randomBytes(32) });
    rightHash = await passwords.hash(RIGHT);
  });
  after(() => database.drop());
  beforeEach(async () => {
    await LoginThrottle.query(database.knex).delete();
    verifications = 0;
  });

  async function aUser({
    email,
    username,
    hash,
    verified = true,
    status = "active",
  }: NewUser): Promise<User> {
    const user = await User.query(database.knex).insertAndFetch({
      createdVia: "admin",
      status,
      ...(username === undefined ? {} : { username, usernameNorm: username.toLowerCase() }),
    });
    await UserEmail.query(database.knex).insert({
      userId: user.id,
      email,
      emailNorm: email.toLowerCase(),
      isPrimary: true,
      verifiedAt: verified ? new Date() : null,
      createdAt: new Date(START.getTime() + (serial += 1)),
    });
    if (hash !== undefined)
      await UserPassword.query(database.knex).insert({ userId: user.id, hash });
    return user;
  }

  const find = (identifier: string) => findByIdentifier(database.knex, readIdentifier(identifier));
  const signIn = async (identifier: string, password: string): Promise<SignIn> =>
    signInWithPassword(database.knex, { passwords }, { found: await find(identifier), password });

  const attempt = async (identifier: string, ipPrefix = HOME, now = START): Promise<Throttled> => {
    const found = await find(identifier);
    return throttleAttempt(database.knex, seal, { identifier, found, ipPrefix, now });
  };

  async function allowedOf(
    tries: number,
    identifier: string,
    ipPrefix = HOME,
    now = START,
  ): Promise<number> {
    let allowed = 0;
    for (let index = 0; index < tries; index += 1)
      if ((await attempt(identifier, ipPrefix, now)).allowed) allowed += 1;
    return allowed;
  }

  async function counted(identifier: string, ipPrefix = HOME, now = START): Promise<CountedTry> {
    const result = await attempt(identifier, ipPrefix, now);
    assert.ok(result.allowed);
    return result;
  }

  it("finds a person by every spelling of their address and username", async () => {
    const user = await aUser({ email: "Grace@example.com", username: "Hopper", hash: rightHash });
    for (const identifier of [
      "grace@example.com",
      "GRACE@EXAMPLE.COM",
      " Grace@example.com ",
      "hopper",
      "HOPPER",
      "ｈｏｐｐｅｒ",
    ]) {
      const result = await signIn(identifier, RIGHT);
      assert.ok("user" in result, identifier);
      assert.ok(result.user instanceof User);
      assert.equal(result.user.id, user.id);
      assert.equal(result.user.username, "Hopper");
      assert.equal("passwordHash" in result.user, false);
    }
  });

  it("refuses a wrong password, an unknown person, a full-width @ and a person without a password alike", async () => {
    await aUser({ email: "known@example.com", hash: rightHash });
    await aUser({ email: "passkey@example.com" });
    for (const [identifier, password] of [
      ["known@example.com", "wrong"],
      ["unknown@example.com", RIGHT],
      ["known＠example.com", RIGHT],
      ["passkey@example.com", RIGHT],
      ["passkey@example.com", ""],
      ["", ""],
    ] as const)
      assert.deepEqual(await signIn(identifier, password), { refused: "wrong" }, identifier);
    assert.equal(verifications, 6);
  });

  it("says that an account is disabled only to who knows its password (T-62)", async () => {
    await aUser({ email: "gone@example.com", hash: rightHash, status: "deactivated" });
    assert.deepEqual(await signIn("gone@example.com", "wrong"), { refused: "wrong" });
    assert.deepEqual(await signIn("gone@example.com", RIGHT), { refused: "disabled" });
  });

  it("takes who verified an address before who only claims it", async () => {
    const [squatterHash, ownerHash] = await Promise.all([
      passwords.hash("squatter password"),
      passwords.hash("owner password .."),
    ]);
    await aUser({ email: "shared@example.com", hash: squatterHash, verified: false });
    const owner = await aUser({ email: "shared@example.com", hash: ownerHash });
    const result = await signIn("shared@example.com", "owner password ..");
    assert.ok("user" in result && result.user.id === owner.id);
    assert.deepEqual(await signIn("shared@example.com", "squatter password"), { refused: "wrong" });
  });

  it("replaces a hash made with older parameters, and no hash that changed meanwhile (T-61)", async () => {
    const old = await argon2.hash(RIGHT, { memoryCost: 8192, timeCost: 2, parallelism: 1 });
    const user = await aUser({ email: "old@example.com", hash: old });
    await signIn("old@example.com", "wrong");
    const stored = () => UserPassword.query(database.knex).findById(user.id).throwIfNotFound();
    assert.equal((await stored()).hash, old);
    assert.ok("user" in (await signIn("old@example.com", RIGHT)));
    assert.match((await stored()).hash, /m=19456/);
    assert.ok("user" in (await signIn("old@example.com", RIGHT)));

    await UserPassword.query(database.knex).findById(user.id).patch({ hash: old });
    const changing: Passwords = {
      ...passwords,
      hash: async (password) => {
        await UserPassword.query(database.knex).findById(user.id).patch({ hash: rightHash });
        return await passwords.hash(password);
      },
    };
    await signInWithPassword(
      database.knex,
      { passwords: changing },
      { found: await find("old@example.com"), password: RIGHT },
    );
    assert.equal((await stored()).hash, rightHash);
  });

  it("lets a person in whose hash cannot be replaced because the queue is full", async () => {
    const old = await argon2.hash(RIGHT, { memoryCost: 8192, timeCost: 2, parallelism: 1 });
    const user = await aUser({ email: "rush@example.com", hash: old });
    const full: Passwords = { ...passwords, hash: () => Promise.reject(errors.busy(1)) };
    const typed = { found: await find("rush@example.com"), password: RIGHT };
    assert.ok("user" in (await signInWithPassword(database.knex, { passwords: full }, typed)));
    const { hash } = await UserPassword.query(database.knex).findById(user.id).throwIfNotFound();
    assert.equal(hash, old);
  });

  it("takes as long for people we do not know as for those we do (T-62) @alone", async () => {
    await aUser({ email: "timed@example.com", hash: rightHash });
    await aUser({ email: "timed-passkey@example.com" });
    const who = ["timed@example.com", "nobody@example.com", "timed-passkey@example.com"] as const;
    const times: number[][] = who.map(() => []);
    for (let round = 0; round < 45; round += 1)
      for (let offset = 0; offset < who.length; offset += 1) {
        const index = (round + offset) % who.length;
        const startedAt = performance.now();
        await signIn(who[index] ?? "", "wrong password");
        times[index]?.push(performance.now() - startedAt);
      }
    const medians = times.map(
      (list) => list.sort((a, b) => a - b)[Math.floor(list.length / 2)] ?? 0,
    );
    assert.ok(
      Math.max(...medians) < Math.min(...medians) * 1.2,
      `medians in ms: ${medians.join(", ")}`,
    );
  });

  it("verifies no more passwords than allowed when 200 come at once from two nodes (T-63)", async () => {
    await aUser({ email: "target@example.com", username: "target", hash: rightHash });
    const other = connect({ url: database.url, applicationName: "lintel-test" });
    const spellings = [
      "target@example.com",
      "TARGET@example.com",
      "target",
      "Target",
      "ｔａｒｇｅｔ",
    ];
    try {
      const results = await Promise.all(
        Array.from({ length: 200 }, async (_, index) => {
          const db = index % 2 === 0 ? database.knex : other;
          const identifier = spellings[index % spellings.length] ?? "";
          const found = await findByIdentifier(db, readIdentifier(identifier));
          const typed = { identifier, found, ipPrefix: HOME, now: START };
          const tried = await throttleAttempt(db, seal, typed);
          if (!tried.allowed) return tried.retryAfter;
          assert.deepEqual(
            await signInWithPassword(db, { passwords }, { found, password: "guess" }),
            { refused: "wrong" },
          );
          return undefined;
        }),
      );
      // Five for each of the two names, however they are spelled.
      assert.equal(verifications, 10);
      assert.deepEqual(new Set(results), new Set([undefined, 60]));
    } finally {
      await other.destroy();
    }
  });

  describe("throttling (T-63)", () => {
    it("allows five tries, then one after each wait that doubles up to 15 minutes", async () => {
      for (const identifier of ["slow@example.com", "nobody-at-all@example.com"]) {
        let minutes = 0;
        assert.equal(await allowedOf(9, identifier, HOME, minutesIn(minutes)), 5);
        for (const wait of [1, 2, 4, 8, 15, 15]) {
          assert.deepEqual(await attempt(identifier, HOME, minutesIn(minutes)), {
            allowed: false,
            retryAfter: wait * 60,
          });
          minutes += wait;
          assert.equal(await allowedOf(3, identifier, HOME, minutesIn(minutes)), 1);
        }
        minutes += 15 + 15;
        assert.equal(await allowedOf(9, identifier, HOME, minutesIn(minutes)), 5);
        await LoginThrottle.query(database.knex).delete();
      }
    });

    it("forgets tries that did not reach the limit after 15 minutes", async () => {
      assert.equal(await allowedOf(4, "ada@example.com"), 4);
      assert.equal(await allowedOf(9, "ada@example.com", HOME, minutesIn(15)), 5);
    });

    it("treats known and unknown people alike, also in what is stored", async () => {
      await aUser({ email: "alike@example.com", hash: rightHash });
      const rows: unknown[] = [];
      for (const identifier of ["alike@example.com", "unlike@example.com"]) {
        const results = [];
        for (let index = 0; index < 7; index += 1)
          results.push({ ...(await attempt(identifier)), counted: "keyed hashes differ" });
        const stored = await LoginThrottle.query(database.knex).orderBy("scope");
        rows.push([
          results,
          stored.map((row) => [
            row.scope,
            row.failures,
            row.windowStart,
            row.blockedUntil,
            row.gcOn,
          ]),
        ]);
        await LoginThrottle.query(database.knex).delete();
      }
      assert.deepEqual(rows[0], rows[1]);
    });

    it("does not keep the owner out while somebody else hammers the account", async () => {
      await aUser({ email: "owner@example.com", hash: rightHash });
      for (let network = 0; network < 10; network += 1)
        await allowedOf(10, "owner@example.com", `198.51.${network}.0/24`);
      await throttleSuccess(database.knex, await counted("owner@example.com"));
      assert.equal((await attempt("owner@example.com", "198.51.3.0/24")).allowed, false);
    });

    it("stops an account after 100 tries in a row from anywhere, until somebody clears it", async () => {
      const user = await aUser({ email: "stopped@example.com", hash: rightHash });
      let allowed = 0;
      for (let network = 0; network < 25; network += 1)
        allowed += await allowedOf(5, "stopped@example.com", `198.51.${network}.0/24`);
      assert.equal(allowed, 100);
      assert.deepEqual(await attempt("stopped@example.com"), { allowed: false, retryAfter: 900 });
      assert.equal(
        (await attempt("stopped@example.com", HOME, minutesIn(390 * 24 * 60))).allowed,
        false,
      );
      await clearThrottle(database.knex, seal, user.id);
      assert.equal((await attempt("stopped@example.com")).allowed, true);
    });

    describe("on a browser that the person has signed in with", () => {
      const cookieHash = randomBytes(32);
      const here = async (identifier: string, device: Buffer | undefined, now = START) => {
        const found = await findByIdentifier(database.knex, readIdentifier(identifier), {
          device,
          now,
        });
        const typed = { identifier, found, ipPrefix: HOME, device, now };
        return throttleAttempt(database.knex, seal, typed);
      };
      const know = (user: User, now = START) =>
        UserDevice.note(database.knex, {
          userId: user.id,
          cookieHash,
          browserFamily: null,
          osFamily: null,
          country: null,
          now,
        });

      it("lets the owner in though the account is stopped and the network is blocked", async () => {
        const user = await aUser({ email: "known-device@example.com", hash: rightHash });
        await know(user);
        for (let network = 0; network < 25; network += 1)
          await allowedOf(5, "known-device@example.com", `198.51.${network}.0/24`);
        await allowedOf(30, "known-device@example.com");
        const tried = await here("Known-Device@example.com", cookieHash);
        assert.ok(tried.allowed);
        await throttleSuccess(database.knex, tried);
        assert.ok((await here("known-device@example.com", cookieHash)).allowed);
      });

      it("does not end the stop elsewhere when they sign in there", async () => {
        const user = await aUser({ email: "still-stopped@example.com", hash: rightHash });
        await know(user);
        for (let network = 0; network < 20; network += 1)
          await allowedOf(5, "still-stopped@example.com", `198.51.${network}.0/24`);
        const tried = await here("still-stopped@example.com", cookieHash);
        assert.ok(tried.allowed);
        await throttleSuccess(database.knex, tried);
        assert.equal((await attempt("still-stopped@example.com", "203.0.113.0/24")).allowed, false);
      });

      it("allows five tries there too, and a hundred in all", async () => {
        const user = await aUser({ email: "stolen@example.com", hash: rightHash });
        await know(user);
        let allowed = 0;
        for (let hours = 0; hours < 40; hours += 1)
          for (let index = 0; index < 6; index += 1)
            if ((await here("stolen@example.com", cookieHash, minutesIn(hours * 60))).allowed)
              allowed += 1;
        assert.equal(allowed, 100);
        await clearThrottle(database.knex, seal, user.id);
        assert.ok((await here("stolen@example.com", cookieHash, minutesIn(41 * 60))).allowed);
      });

      it("gives nothing to who has the cookie of somebody else, or of nobody", async () => {
        const owner = await aUser({ email: "cookie-owner@example.com", hash: rightHash });
        await know(owner);
        await aUser({ email: "victim@example.com", hash: rightHash });
        for (const [who, device] of [
          ["victim@example.com", cookieHash],
          ["nobody-here@example.com", cookieHash],
          ["cookie-owner@example.com", randomBytes(32)],
        ] as const) {
          await LoginThrottle.query(database.knex).delete();
          assert.equal(await allowedOf(5, who), 5);
          assert.equal((await here(who, device)).allowed, false, who);
        }
      });

      it("knows it for thirteen months after the last sign-in", async () => {
        const user = await aUser({ email: "long-ago@example.com", hash: rightHash });
        await know(user);
        await allowedOf(5, "long-ago@example.com", HOME, minutesIn(394 * 24 * 60));
        assert.ok(
          (await here("long-ago@example.com", cookieHash, minutesIn(394 * 24 * 60))).allowed,
        );
        await allowedOf(5, "long-ago@example.com", HOME, minutesIn(397 * 24 * 60));
        assert.equal(
          (await here("long-ago@example.com", cookieHash, minutesIn(397 * 24 * 60))).allowed,
          false,
        );
      });
    });

    it("counts how often an account was guessed at within the hour", async () => {
      const user = await aUser({ email: "hourly@example.com", hash: rightHash });
      assert.equal(await recentFailures(database.knex, seal, user.id, START), 0);
      for (let network = 0; network < 6; network += 1)
        await allowedOf(5, "hourly@example.com", `198.51.${network}.0/24`);
      await throttleSuccess(database.knex, await counted("hourly@example.com"));
      assert.equal(await recentFailures(database.knex, seal, user.id, START), 30);
      assert.equal(await recentFailures(database.knex, seal, user.id, minutesIn(60)), 0);
    });

    it("has nobody wait for somebody who waits for them", async () => {
      const people = ["first@example.com", "second@example.com"];
      const users = await Promise.all(people.map((email) => aUser({ email, hash: rightHash })));
      const others = connect({ url: database.url, applicationName: "lintel-test" });
      try {
        await Promise.all(
          Array.from({ length: 120 }, async (_, index) => {
            const db = index % 2 === 0 ? database.knex : others;
            const who = index % users.length;
            if (index % 5 === 0) return clearThrottle(db, seal, users[who]?.id ?? "");
            const tried = await attempt(people[who] ?? "");
            return tried.allowed ? throttleSuccess(db, tried) : undefined;
          }),
        );
      } finally {
        await others.destroy();
      }
    });

    it("lets nobody try while the counters cannot be reached", async () => {
      const gone = connect({ url: database.url, applicationName: "lintel-test" });
      await gone.destroy();
      const ada = { identifier: "ada@example.com", found: await find("ada@example.com") };
      const typed = { ...ada, ipPrefix: HOME, now: START };
      await assert.rejects(throttleAttempt(gone, seal, typed));
    });

    it("tells the owner once at each threshold", async () => {
      const told: number[] = [];
      for (let index = 1; index <= 100; index += 1)
        if ((await counted("told@example.com", `198.51.${index}.0/24`)).ownerShouldBeTold)
          told.push(index);
      assert.deepEqual(told, [20, 100]);
    });

    it("blocks a network that tries many people, for an hour", async () => {
      let allowed = 0;
      for (let index = 0; index < 25; index += 1)
        if ((await attempt(`person-${index}@example.com`)).allowed) allowed += 1;
      assert.equal(allowed, 20);
      assert.deepEqual(await attempt("another@example.com"), { allowed: false, retryAfter: 900 });
      assert.equal((await attempt("another@example.com", "203.0.113.0/24")).allowed, true);
      assert.equal((await attempt("another@example.com", HOME, minutesIn(59))).allowed, false);
      assert.equal((await attempt("another@example.com", HOME, minutesIn(60))).allowed, true);
    });

    it("counts a person once among those that a network tries, and not who signs in after all", async () => {
      for (let person = 0; person < 19; person += 1)
        await allowedOf(
          1,
          `person-${person}@example.com`,
          HOME,
          minutesIn(Math.floor(person / 5) * 10),
        );
      await allowedOf(2, "person-1@example.com", HOME, minutesIn(40));
      await allowedOf(1, "twentieth@example.com", HOME, minutesIn(40));
      assert.equal((await attempt("person-2@example.com", HOME, minutesIn(41))).allowed, false);
      await LoginThrottle.query(database.knex).delete();

      for (let person = 0; person < 19; person += 1) {
        const who = `person-${person}@example.com`;
        await attempt(who, HOME, minutesIn(person));
        await throttleSuccess(database.knex, await counted(who, HOME, minutesIn(person)));
      }
      assert.equal(await allowedOf(19, "more@example.com", HOME, minutesIn(40)), 5);
    });

    it("blocks a network that tries few people often, for ten minutes", async () => {
      let allowed = 0;
      for (let index = 0; index < 40; index += 1)
        if ((await attempt(`person-${index % 10}@example.com`)).allowed) allowed += 1;
      assert.equal(allowed, 30);
      assert.deepEqual(await attempt("another@example.com"), { allowed: false, retryAfter: 600 });
      assert.equal((await attempt("another@example.com", "203.0.113.0/24")).allowed, true);
      assert.equal((await attempt("another@example.com", HOME, minutesIn(10))).allowed, true);
    });

    it("never blocks a network of people who know their passwords", async () => {
      for (let index = 0; index < 60; index += 1)
        await throttleSuccess(database.knex, await counted(`person-${index}@example.com`));
    });

    it("forgets with a success only what belongs to it", async () => {
      for (let index = 0; index < 15; index += 1) await counted(`victim-${index}@example.com`);
      for (let index = 0; index < 20; index += 1) {
        const twice = [
          await counted("attacker@example.com"),
          await counted("attacker@example.com"),
        ];
        for (const each of twice) await throttleSuccess(database.knex, each);
      }
      assert.equal((await allowedOf(5, "victim-1@example.com")) <= 4, true);
      let more = 0;
      for (let index = 30; index < 60; index += 1)
        if ((await attempt(`victim-${index}@example.com`)).allowed) more += 1;
      assert.ok(more <= 5, `${more} more victims`);
    });

    it("keeps neither names nor addresses, and says when its rows may go", async () => {
      await attempt("secret-name@example.com", HOME, START);
      const rows = await LoginThrottle.query(database.knex).orderBy("scope");
      assert.deepEqual(
        rows.map((row) => row.scope),
        ["account", "account_hour", "account_ip", "ip", "spray", "sprayed"],
      );
      assert.equal(new Set(rows.map((row) => row.keyHash.toString("hex"))).size, 6);
      const soon = "2026-03-03";
      assert.deepEqual(
        rows.map((row) => row.gcOn),
        ["2026-06-01", soon, soon, soon, soon, soon],
      );
    });
  });
});
