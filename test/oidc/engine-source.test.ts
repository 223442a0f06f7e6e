import assert from "node:assert/strict";

const CHECKS = new URL(
  "../../node_modules/oidc-provider/lib/shared/access_token.js",
  import.meta.url,
);

describe("the engine, as it is loaded", () => {
  it("makes no error for an access token with which nothing is wrong", async () => {
    const checks = Object.values((await import(CHECKS.href)) as Record<string, unknown>);
    for (const check of checks) assert.doesNotMatch(String(check), /assert\(/);
    assert.match(checks.join(), /if \(!accessToken\) throw new InvalidToken/);
  });
});
