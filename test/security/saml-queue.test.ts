import assert from "node:assert/strict";
import { UpstreamError } from "../../src/federation/connector.ts";
import { workshop } from "../../src/federation/saml/workshop.ts";
import { posted } from "../support/saml.ts";

/** What anybody can post to /federation/<slug>/slo, without a cookie and without a signature. */
const logout = (connection: string, xml: string) =>
  workshop.do(connection, {
    task: "logout",
    privateKeys: [],
    message: { binding: "post", text: posted(xml) },
    trust: { certificates: [], allowsLegacy: false },
  });
const peek = (connection: string, xml: string) =>
  workshop.do(connection, { task: "peek", text: posted(xml) });
const ruleOf = async (work: Promise<unknown>): Promise<string> => {
  const error: unknown = await work.then(
    () => undefined,
    (reason) => reason,
  );
  assert.ok(error instanceof UpstreamError, String(error));
  return error.rule;
};
const many = (count: number, write: (at: string) => string) =>
  Array.from({ length: count }, (_, at) => write(at.toString(36))).join("");

describe("messages that wait to be verified", function () {
  this.timeout(30_000);

  before(() => ruleOf(logout("a", "<a/>")));

  for (const [what, rule, xml] of [
    [
      "elements and namespaces in one another",
      "saml.limits",
      `${many(4_950, (at) => `<a xmlns:b${at}="u">`)}${"</a>".repeat(4_950)}`,
    ],
    [
      "namespaces beside one another in one another",
      "saml.limits",
      `<a ${many(60, (at) => `xmlns:b${at}="u" `)}><a ${many(60, (at) => `xmlns:c${at}="u" `)}/></a>`,
    ],
    [
      "elements of other names each",
      "saml.limits",
      `<r>${many(2_400, (at) => `<e${at}>${"x".repeat(90)}</e${at}>`)}</r>`,
    ],
    ["attributes without end", "saml.limits", `<a ${many(4_000, (at) => `a${at}="" `)}/>`],
    ["tags that do not close", "saml.xml", "<a ".repeat(80_000)],
    ["tags that close nothing", "saml.xml", `<r>${"</a>".repeat(60_000)}</r>`],
    ["space that closes nothing", "saml.xml", `<r></r${" ".repeat(250_000)}x>`],
    ["space before no attribute", "saml.xml", `<r${" ".repeat(250_000)}="x"/>`],
    ["quotes that do not end", "saml.xml", `<r ${'a="" a="'.repeat(30_000)}/>`],
  ] as const)
    it(`are refused in the time that a good one takes, of ${what} (T-104) @alone`, async () => {
      const began = performance.now();
      assert.equal(await ruleOf(logout("a", xml)), rule);
      const took = performance.now() - began;
      assert.ok(took < 200, `${Math.round(took)} ms in which nobody else's was looked at`);
    });

  it("wait in a line for each kind of work: who signs out keeps nobody from coming in (T-104)", async () => {
    const order: string[] = [];
    const flood = Array.from({ length: 40 }, async () => {
      await ruleOf(logout("a", "<a/>"));
      order.push("logout");
    });
    await ruleOf(peek("a", "<a/>"));
    order.push("peek");
    await Promise.all(flood);
    assert.ok(order.indexOf("peek") <= 2, order.join(" "));
  });

  it("take no more than half of a line for one connection", async () => {
    const flood = Array.from({ length: 60 }, () => ruleOf(logout("a", "<a/>")));
    const other = ruleOf(logout("b", "<a/>"));
    const turnedAway = (await Promise.all(flood)).filter((rule) => rule === "saml.busy");
    assert.equal(turnedAway.length, 9);
    assert.equal(await other, "saml.root");
  });

  it("are turned away where connections together send too many", async () => {
    const floods = ["a", "b", "c"].flatMap((connection) =>
      Array.from({ length: 45 }, () => ruleOf(logout(connection, "<a/>"))),
    );
    const rules = await Promise.all([...floods, ruleOf(peek("d", "<a/>"))]);
    assert.equal(rules.filter((rule) => rule === "saml.busy").length, 34);
    assert.equal(rules.at(-1), "saml.root");
  });
});
