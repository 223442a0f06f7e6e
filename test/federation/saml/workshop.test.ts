import assert from "node:assert/strict";
import { UpstreamError } from "../../../src/federation/connector.ts";
import { workshop } from "../../../src/federation/saml/workshop.ts";
import { assertion, posted, response, sharedKey, signed } from "../../support/saml.ts";

describe("the thread that verifies SAML messages (T-104)", () => {
  const peek = (xml: string) => workshop.do("a", { task: "peek", text: posted(xml) });

  it("answers each of many at once with its own", async () => {
    const ids = Array.from({ length: 20 }, (_, n) => `_${n}`);
    const found = await Promise.all(
      ids.map((inResponseTo) => peek(response(assertion(), { inResponseTo }))),
    );
    assert.deepEqual(
      found.map(({ inResponseTo }) => inResponseTo),
      ids,
    );
  });

  it("turns more away than it can do soon", async () => {
    const outcomes = await Promise.allSettled(
      Array.from({ length: 60 }, () => peek(response(assertion()))),
    );
    const busy = outcomes.filter(({ status }) => status === "rejected");
    // One is looked at, and fifty wait.
    assert.equal(busy.length, 9);
  });

  it("is replaced when a message takes too long, while the server goes on; the next is answered", async () => {
    const { certificate, privateKey } = await sharedKey();
    const job = {
      task: "response" as const,
      trust: { certificates: [certificate], allowsLegacy: false },
      wantsResponseSigned: false,
      wantsAssertionSigned: true,
      wantsEncrypted: false,
      privateKeys: [privateKey],
    };
    const forged = (await signed(response(assertion()), "Assertion")).replace("ada-0001", "admin");
    // No message takes that long; a provider with as many certificates has them all tried.
    const endless = {
      certificates: Array.from({ length: 50_000 }, () => certificate),
      allowsLegacy: false,
    };
    let beats = 0;
    const heart = setInterval(() => (beats += 1), 20);
    await assert.rejects(
      workshop.do("a", { ...job, text: posted(forged), trust: endless }),
      (error) => error instanceof UpstreamError && error.rule === "saml.limits",
    );
    clearInterval(heart);
    assert.ok(beats > 20, `${beats} beats in two seconds`);
    const good = posted(await signed(response(assertion()), "Assertion"));
    assert.equal(
      (await workshop.do("a", { ...job, text: good })).assertion.nameId?.value,
      "ada-0001",
    );
  });
});
