import assert from "node:assert/strict";
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { ask } from "./support/raw.ts";
import { aProcess, type TestProcess } from "./support/process.ts";

/** Says of every package that is loaded that it is, and how the engine defines what it knows of a request. */
const TELL = `data:text/javascript,${encodeURIComponent(`
  import { registerHooks } from "node:module";
  registerHooks({
    resolve(name, context, next) {
      if (/^[@a-z]/.test(name) && !name.includes(":")) process.stderr.write("loads " + name + "\\n");
      return next(name, context);
    },
  });
  const { defineProperty } = Object;
  Object.defineProperty = (object, key, descriptor) => {
    if (key === "oidc") process.stderr.write("oidc has " + Object.keys(descriptor).join() + "\\n");
    return defineProperty(object, key, descriptor);
  };
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

  it("has the engine keep a request in a value, not a getter", async () => {
    const { status, body } = await ask(`http://127.0.0.1:${server.port}/token`, {
      method: "POST",
      headers: { Host: "id.example" },
    });
    assert.equal(status, 400, body);
    const said = (): string[] | null => server.printed().err.match(/^oidc has .+$/gm);
    for (let tries = 0; said() === null && tries < 100; tries += 1) await delay(50);
    assert.deepEqual(said(), ["oidc has value"]);
  });

  it("has hashing give way to everything else", function () {
    if (process.platform !== "linux") this.skip();
    const threads = `/proc/${server.pid()}/task`;
    const niceness = readdirSync(threads).map((id) => {
      const [, name = "", rest = ""] =
        /^\d+ \((.+)\) (.+)/.exec(readFileSync(`${threads}/${id}/stat`, "utf8")) ?? [];
      return `${name} ${rest.split(" ")[16]}`;
    });
    assert.equal(niceness.filter((one) => one === "libuv-worker 15").length, 4);
    assert.ok(niceness.includes("MainThread 0"), niceness.join());
  });

  it("writes down what it compiled, however it ends", async () => {
    const written = (): number => readdirSync(cache, { recursive: true }).length;
    for (let tries = 0; written() < 1000 && tries < 100; tries += 1) await delay(50);
    await server.end("SIGKILL");
    assert.ok(written() >= 1000);
  });
});
