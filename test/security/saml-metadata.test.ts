import assert from "node:assert/strict";
import { UpstreamError } from "../../src/federation/connector.ts";
import { parseMetadata } from "../../src/federation/saml/metadata.ts";
import { metadata, sharedKey } from "../support/saml.ts";

const many = (count: number, write: (at: string) => string) =>
  Array.from({ length: count }, (_, at) => write(at.toString(36))).join("");

/** As much as is fetched from an address, made to take long. */
describe("metadata that was written to stall whoever reads it (T-95, T-106)", function () {
  this.timeout(60_000);

  for (const [what, xml] of [
    ["comments that do not end", "<!--".repeat(64_000)],
    ["comments that end at once", "<!---->".repeat(36_000)],
    ["namespaces in one another", many(8_000, (at) => `<a xmlns:b${at}="u">`)],
    ["elements of other names each", `<r>${many(16_000, (at) => `<e${at}></e${at}>`)}</r>`],
    ["elements without end", `<r>${"<a/>".repeat(64_000)}</r>`],
    ["tags that do not close", "<a ".repeat(80_000)],
  ] as const)
    it(`is refused soon, of ${what} @alone`, () => {
      const began = performance.now();
      assert.throws(() => parseMetadata(xml), UpstreamError);
      const took = performance.now() - began;
      assert.ok(took < 200, `the only thread did nothing else for ${Math.round(took)} ms`);
    });

  it("is read beside comments, wherever they are", async () => {
    const { certificate } = await sharedKey();
    const plain = metadata([certificate]);
    const commented = `<!-- < & <a> -->${plain.replaceAll("><", "><!----><!-- - > -->\n<")}<!-- x -->`;
    assert.deepEqual(parseMetadata(commented), parseMetadata(plain));
  });
});
