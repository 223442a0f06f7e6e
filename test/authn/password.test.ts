import assert from "node:assert/strict";
import argon2 from "argon2";
import { createHashQueue } from "../../src/authn/hash-queue.ts";
import { createPasswords } from "../../src/authn/password.ts";
import { readPhc } from "../../src/authn/hashes/argon2.ts";

const queue = createHashQueue({ maxWaiting: 1000, maxWaitMs: 60_000 });
const passwords = createPasswords(queue);

describe("password hashing", function () {
  this.timeout(20_000);

  it("makes argon2id hashes with 19 MiB, two passes and one lane (T-61)", async () => {
    const hash = await passwords.hash("correct horse battery");
    assert.match(hash, /^\$argon2id\$v=19\$m=19456,/);
    assert.equal(readPhc(hash)?.isCurrent, true);
    assert.deepEqual(await passwords.verify(hash, "correct horse battery"), {
      ok: true,
      needsRehash: false,
    });
    assert.deepEqual(await passwords.verify(hash, "correct horse batterx"), {
      ok: false,
      needsRehash: false,
    });
    assert.notEqual(await passwords.hash("correct horse battery"), hash);
  });

  it("passes its own test before the server listens", async () => {
    await passwords.selfTest();
  });

  it("takes the whole password: 64 and 256 characters, and not 257 (T-60)", async () => {
    for (const length of [64, 256]) {
      const password = "😀".repeat(length);
      const hash = await passwords.hash(password);
      assert.equal((await passwords.verify(hash, password)).ok, true);
      assert.equal((await passwords.verify(hash, `${"😀".repeat(length - 1)}x`)).ok, false);
      assert.equal((await passwords.verify(hash, `${password} `)).ok, false);
    }
    await assert.rejects(passwords.hash("a".repeat(257)), { code: "weak_password", status: 400 });
    assert.equal((await passwords.verify(undefined, "a".repeat(100_000))).ok, false);
  });

  it("knows a password from a keyboard that composes its characters differently (NFD)", async () => {
    const hash = await passwords.hash("schöne Grüße 🎉 überall");
    assert.equal(
      (await passwords.verify(hash, "schöne Grüße 🎉 überall".normalize("NFD"))).ok,
      true,
    );
    assert.equal((await passwords.verify(hash, "Schöne Grüße 🎉 überall")).ok, false);
  });

  it("asks for a new hash where the old one was made with other parameters", async () => {
    const older = { memoryCost: 8192, timeCost: 3, parallelism: 1 };
    const [id, i] = await Promise.all([
      argon2.hash("correct horse battery", { ...older, type: argon2.argon2id }),
      argon2.hash("correct horse battery", {
        memoryCost: 19_456,
        timeCost: 2,
        parallelism: 1,
        type: argon2.argon2i,
      }),
    ]);
    for (const hash of [id, i]) {
      assert.deepEqual(await passwords.verify(hash, "correct horse battery"), {
        ok: true,
        needsRehash: true,
      });
      assert.deepEqual(await passwords.verify(hash, "wrong"), { ok: false, needsRehash: false });
    }
  });

  it("reads parameters in any order", async () => {
    const hash = await passwords.hash("correct horse battery");
    const shuffled = hash.replace(/m=19456,[^$]*/, "t=2,p=1,m=19456");
    assert.equal((await passwords.verify(shuffled, "correct horse battery")).ok, true);
  });

  it("refuses a stored hash that asks for too much, at the cost of an ordinary one (T-61)", async () => {
    const hostile = [
      "$argon2id$v=19$m=4194304,t=2,p=1$c2FsdHNhbHQ$aGFzaGhhc2hoYXNoaGFzaA",
      "$argon2id$v=19$m=19456,t=4000000000,p=1$c2FsdHNhbHQ$aGFzaGhhc2hoYXNoaGFzaA",
      "$argon2id$v=19$m=262144,t=2,p=4096$c2FsdHNhbHQ$aGFzaGhhc2hoYXNoaGFzaA",
      "$argon2id$v=19$m=0,t=2,p=1$c2FsdHNhbHQ$aGFzaGhhc2hoYXNoaGFzaA",
      "$argon2id$v=19$m=19456,m=19456,p=1$c2FsdHNhbHQ$aGFzaGhhc2hoYXNoaGFzaA",
      "$2b$10$abcdefghijklmnopqrstuvabcdefghijklmnopqrstuvabcdefghijk",
      "$argon2id$",
      "",
    ];
    for (const hash of hostile) {
      assert.equal(readPhc(hash), undefined, hash);
      const startedAt = performance.now();
      assert.deepEqual(await passwords.verify(hash, "anything at all"), {
        ok: false,
        needsRehash: false,
      });
      assert.ok(performance.now() - startedAt < 1000, hash);
    }
  });

  it("answers 503 where the queue is full (T-71)", async () => {
    const small = createPasswords(createHashQueue({ concurrency: 1, maxWaiting: 2 }));
    const results = await Promise.allSettled(
      Array.from({ length: 20 }, () => small.verify(undefined, "x")),
    );
    const refused = results.filter((result) => result.status === "rejected");
    assert.equal(refused.length, 17);
    for (const { reason } of refused) assert.equal(reason.code, "temporarily_unavailable");
  });
});
