import assert from "node:assert/strict";
import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { aProcess, type TestProcess } from "./support/process.ts";

/** Says of every package that is loaded that it is. */
const TELL = `data:text/javascript,${encodeURIComponent(`
  import { registerHooks } from "node:module";
  registerHooks({
    resolve(name, context, next) {
      if (/^[@a-z]/.test(name) && !name.includes(":")) process.stderr.write("loads " + name + "\\n");
      return next(name, context);
    },
  });
`)}`;

/** Of a thousand modules and 5 MB of source together, and needed by few requests, or by none. */
const LARGE = [
  "@node-saml/node-saml/lib/xml.js",
  "@simplewebauthn/server",
  "@xmldom/xmldom",
  "image-size",
  "nodemailer",
  "openid-client",
  "undici",
  "xml-crypto",
];

describe("a server that has just started", function () {
  this.timeout(60_000);
  let server: TestProcess;
  let cache: string;

  before(async () => {
    cache = mkdtempSync(join(tmpdir(), "lintel-start-"));
    server = await aProcess({
      NODE_ENV: "production",
      NODE_OPTIONS: `--import ${TELL}`,
      NODE_COMPILE_CACHE: cache,
      ISSUER: "https://id.example",
      SMTP_URL: "smtp://127.0.0.1:9",
    });
  });
  after(async () => {
    await server?.dispose();
    rmSync(cache, { recursive: true, force: true });
  });

  it("has loaded no large library that it may never need", () => {
    const loaded: string[] = server.printed().err.match(/(?<=^loads ).+$/gm) ?? [];
    assert.ok(loaded.includes("oidc-provider"), server.printed().err);
    assert.deepEqual(
      LARGE.filter((name) => loaded.includes(name)),
      [],
    );
  });

  it("writes down what it compiled, however it ends", async () => {
    const written = (): number => readdirSync(cache, { recursive: true }).length;
    for (let tries = 0; written() < 1000 && tries < 100; tries += 1) await delay(50);
    await server.end("SIGKILL");
    assert.ok(written() >= 1000);
  });
});
