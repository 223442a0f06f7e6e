import assert from "node:assert/strict";
import type { Browser, BrowserContext, Page } from "playwright-core";
import { IdentityProvider } from "../../src/models/identity-provider.ts";
import { aBrowser } from "../support/browser.ts";
import { LOCALHOST_PEM } from "../support/https.ts";
import { parseMetadata } from "../../src/federation/saml/metadata.ts";
import { SamlConnection } from "../../src/models/saml-connection.ts";
import { RelyingParty } from "../support/rp.ts";
import { aConnection, sharedKey } from "../support/saml.ts";
import { hasSimpleSaml, startSimpleSaml } from "../support/simplesamlphp.ts";
import { aClient, aServer, aUser, freePort, PASSWORD, type TestServer } from "../support/server.ts";

/**
 * A person whose provider is on another site: `127.0.0.1`, while we are `https://localhost`. What comes from there by
 * POST comes without our own cookies, as with Apple and with SAML (T-45).
 */
describe("journey: signing in elsewhere", () => {
  let home: TestServer;
  let work: TestServer;
  let browser: Browser;
  let app: RelyingParty;
  let provider: IdentityProvider;
  let context: BrowserContext;
  let page: Page;

  before(async () => {
    const [port, workPort] = [await freePort(), await freePort()];
    const tls = { TLS_CERT_FILE: LOCALHOST_PEM, TLS_KEY_FILE: LOCALHOST_PEM };
    [home, work, browser] = await Promise.all([
      aServer({ PORT: String(port), ISSUER: `https://localhost:${port}`, ...tls }),
      aServer({ PORT: String(workPort), ISSUER: `http://127.0.0.1:${workPort}` }),
      aBrowser(),
    ]);
    const { clientId, clientSecret } = await aClient(work, {
      redirect_uris: [`${home.issuer}/federation/work/callback`],
      first_party: true,
    });
    const { knex } = home.database;
    const place = { table: "identity_providers", column: "client_secret_enc" };
    provider = await IdentityProvider.query(knex).insertAndFetch({
      slug: "work",
      kind: "oidc",
      name: "Work",
      issuer: work.issuer,
      clientId,
    });
    const clientSecretEnc = home.deps.seal.encrypt(clientSecret, { ...place, id: provider.id });
    await provider.$query(knex).patch({ clientSecretEnc });
    app = new RelyingParty(home, await aClient(home, { first_party: true }));
  });
  after(async () => {
    await browser?.close();
    await home?.stop();
    await work?.stop();
  });

  for (const responseMode of ["query", "form_post"])
    for (const javaScriptEnabled of [true, false])
      it(`is brought back by ${responseMode} (${javaScriptEnabled ? "with" : "without"} JavaScript)`, async () => {
        const settings = { response_mode: responseMode };
        await provider
          .$query(home.database.knex)
          .patch({ settings, version: provider.version + 1 });
        provider = await provider.$query(home.database.knex);
        context = await browser.newContext({ javaScriptEnabled, ignoreHTTPSErrors: true });
        try {
          page = await context.newPage();
          const arrives = page.waitForRequest(/^https:\/\/rp\.example\/callback\?(.*&)?code=/);
          const { email } = await aUser(work);
          await page.goto(home.issuer + app.authorization());
          await page.click("#connection-work");
          assert.equal(new URL(page.url()).origin, work.issuer);
          await page.fill("#username", email);
          await page.click("#login-submit");
          await page.fill("#password", PASSWORD);
          await page.click("#login-submit");
          if (responseMode === "form_post" && !javaScriptEnabled)
            await page.click("button[type=submit], input[type=submit]");
          await arrives;
        } finally {
          await context.close();
        }
      });

  it("is brought back from SimpleSAMLphp, where it is installed", async function () {
    if (!hasSimpleSaml()) this.skip();
    const idp = await startSimpleSaml(await sharedKey());
    context = await browser.newContext({ ignoreHTTPSErrors: true });
    try {
      const issuer = parseMetadata(idp.metadata).entityId;
      const { saml, ...row } = await aConnection(home.deps.seal, {
        xml: idp.metadata,
        provider: { issuer },
      });
      const { knex } = home.database;
      await IdentityProvider.query(knex).insert(row);
      await SamlConnection.query(knex).insert({ ...saml, updatedAt: new Date() });
      page = await context.newPage();
      const ours = await context.request.get(`${home.issuer}/federation/acme/metadata`);
      idp.trust(await ours.text());
      const arrives = page.waitForRequest(/^https:\/\/rp\.example\/callback\?(.*&)?code=/);
      await page.goto(home.issuer + app.authorization());
      await page.click("#connection-acme");
      await page.fill("[name=username]", "ada");
      await page.fill("[name=password]", "adapass");
      await page.click("[type=submit]");
      // PHP's own web server does not serve the script that would press it.
      await page.click("#postLoginSubmitButton");
      await arrives;
    } finally {
      idp.stop();
      await context.close();
    }
  });
});
