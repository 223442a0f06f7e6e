import assert from "node:assert/strict";
import { cookieSignatures } from "../../src/http/cookie-signatures.ts";

const COOKIE = "lintel_session=abcdefghijklmnopqrstu";

describe("signatures of cookies", () => {
  const { sign, verify, index } = cookieSignatures("a key");
  const signature = sign(COOKIE);

  it("are what keygrip made, so that cookies outlive an upgrade", () => {
    assert.equal(signature, "zIh1v0zAoNxyZS3F9yXWDU4r3Ug");
  });

  it("hold for what was signed", () => {
    assert.equal(verify(COOKIE, signature), true);
    assert.equal(index(COOKIE, signature), 0);
  });

  it("do not hold for another value, another name, another key, or in part", () => {
    for (const [data, claimed] of [
      [`${COOKIE}v`, signature],
      [COOKIE.replace("session", "browser"), signature],
      [COOKIE, cookieSignatures("another key").sign(COOKIE)],
      [COOKIE, signature.slice(0, -1)],
      [COOKIE, `${signature}=`],
      [COOKIE, ""],
    ] as const) {
      assert.equal(verify(data, claimed), false, claimed);
      assert.equal(index(data, claimed), -1, claimed);
    }
  });
});
