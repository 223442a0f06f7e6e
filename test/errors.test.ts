import assert from "node:assert/strict";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { errors as engineErrors } from "oidc-provider";
import { errors, type AppError } from "../src/errors.ts";
import { PROTOCOL_ERRORS } from "../src/protocol-errors.ts";
import { RelyingParty, send } from "./support/rp.ts";
import { aClient, aServer, type TestServer } from "./support/server.ts";

const LIST = new URL("../docs/errors.json", import.meta.url);
const CATALOGUE = new URL("../views/locales/en.json", import.meta.url);
/** Of engine features that Lintel does not have. */
const ELSEWHERE =
  /credential|software_statement|^invalid_(proof|nonce|client_attestation)$|^use_fresh_attestation$/;

/** Everything that people, clients and operators can be told, as docs/errors.json has it. */
function everyError(): object {
  const make = Object.values(errors) as unknown as ((...words: string[][]) => AppError)[];
  const own = make.map((error) => error(["…"], ["…"]));
  const catalogue = JSON.parse(readFileSync(CATALOGUE, "utf8")) as Record<string, string>;
  const byCode = (a: { code: string }, b: { code: string }) => a.code.localeCompare(b.code);
  return {
    protocol: Object.entries(PROTOCOL_ERRORS)
      .map(([code, { specification, fix }]) => ({ code, specification, fix }))
      .toSorted(byCode),
    server: own
      .map(({ code, status, description }) => ({ code, status, message: description }))
      .toSorted(byCode),
    forms: Object.entries(catalogue)
      .filter(([key]) => key.startsWith("err."))
      .map(([code, message]) => ({ code, message }))
      .toSorted(byCode),
  };
}

describe("errors", () => {
  it("are all in docs/errors.json, which UPDATE_DOCS=1 writes", () => {
    const wanted = `${JSON.stringify(everyError(), undefined, 2)}\n`;
    if (process.env["UPDATE_DOCS"] !== undefined) writeFileSync(LIST, wanted);
    assert.equal(existsSync(LIST) ? readFileSync(LIST, "utf8") : "", wanted);
  });

  it("of the engine all have a specification and a way to fix them", () => {
    const codes = Object.values(engineErrors).flatMap((type) => {
      if (typeof type !== "function" || type.name.includes("OIDCProvider")) return [];
      const error = new (type as new (...words: string[]) => Error)("…", "…");
      return [error.message];
    });
    const missing = codes.filter((code) => !(code in PROTOCOL_ERRORS) && !ELSEWHERE.test(code));
    assert.deepEqual(missing, []);
  });

  describe("on a page", () => {
    let server: TestServer;
    let app: RelyingParty;
    before(async () => {
      server = await aServer();
      app = new RelyingParty(server, await aClient(server));
    });
    after(() => server.stop());

    it("say in development what to change, with the names at hand", async () => {
      const redirectUri = "https://rp.example/elsewhere?a=<b>";
      const path = app.authorization({ redirect_uri: redirectUri });
      const page = await send(server, { path, headers: { accept: "text/html" } });
      const hint = /id="error-hint">(.*?)<\/dd>/.exec(page.text)?.[1] ?? "";
      assert.match(hint, new RegExp(`lintel client update ${app.credentials.clientId}`));
      assert.match(hint, /--redirect-uri https:\/\/rp\.example\/elsewhere\?a=&lt;b&gt;/);
    });
  });
});
