import assert from "node:assert/strict";
import { setTimeout as delay } from "node:timers/promises";
import { aPasskey, questionOf } from "../support/passkeys.ts";
import { RelyingParty, response, walk, WebBrowser, type Answer } from "../support/rp.ts";
import { aClient, aServer, aUser, type TestServer } from "../support/server.ts";

/**
 * What people ask of the database who have used their browser before: the statements of all requests beside BEGIN and
 * COMMIT. As with the costs of single requests, a number that falls belongs here, and one that rises must be worth it.
 */
const COSTS = { "password sign-in": 25, "passkey sign-in": 27, "sign-out": 7 };

describe("costs: statements of a person", () => {
  let server: TestServer;
  let app: RelyingParty;
  let statements = 0;

  before(async () => {
    server = await aServer();
    app = new RelyingParty(server, await aClient(server));
    server.deps.knex.on("query", ({ sql }: { sql: string }) => {
      if (!/^(BEGIN|COMMIT|ROLLBACK)/i.test(sql)) statements += 1;
    });
    // The notification that the client is new empties the cache of clients; what follows finds it filled.
    await delay(200);
  });
  after(() => server.stop());

  const authorization = () => app.authorization({ prompt: "consent" });

  async function cost(what: () => Promise<unknown>): Promise<number> {
    statements = 0;
    await what();
    return statements;
  }

  /** The same browser without whoever was signed in. */
  function again(browser: WebBrowser): void {
    for (const [key, { name }] of browser.jar)
      if (name.startsWith("lintel_session")) browser.jar.delete(key);
  }

  it("stay what they are for a password", async () => {
    const user = await aUser(server);
    const browser = new WebBrowser(server);
    const signIn = async () => {
      again(browser);
      assert.ok(response(await walk(server, browser, authorization(), user))["code"]);
    };
    await signIn();
    assert.equal(await cost(signIn), COSTS["password sign-in"]);
  });

  it("stay what they are for a passkey", async () => {
    const user = await aUser(server);
    const device = await aPasskey(server, user.id);
    const browser = new WebBrowser(server);
    const signIn = async () => {
      again(browser);
      const page = await walk(server, browser, authorization());
      const passkey = {
        passkey_response: device.get(questionOf(page.text)),
        passkey_via: "button",
      };
      const fields = { username: "", password: "", ...passkey };
      const { location = "" } = await browser.submit(page.url.href, fields);
      assert.ok(response(await walk(server, browser, location, user))["code"]);
    };
    await signIn();
    assert.equal(await cost(signIn), COSTS["passkey sign-in"]);
  });

  it("stay what they are for a sign-out", async () => {
    const browser = new WebBrowser(server);
    await walk(server, browser, authorization(), await aUser(server));
    const signOut = async (): Promise<Answer> => {
      const page = await browser.open("/session/end");
      const xsrf = /name="xsrf" value="([^"]+)"/.exec(page.text)?.[1] ?? "";
      return browser.submit("/session/end/confirm", { xsrf, logout: "yes" });
    };
    assert.equal(await cost(signOut), COSTS["sign-out"]);
  });
});
