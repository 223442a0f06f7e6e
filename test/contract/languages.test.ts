import assert from "node:assert/strict";
import { LANGUAGES } from "../../src/i18n/languages.ts";
import { UserProfile } from "../../src/models/user-profile.ts";
import { json, RelyingParty, send, walk, WebBrowser, type Answer } from "../support/rp.ts";
import { aClient, aServerWith, aUser, issuerAt, type TestServer } from "../support/server.ts";

/** What the French and the Arabs are told of the client that others know as Acme Photos. */
const LOCALIZED = {
  "client_name#fr": "Photos Acme",
  "client_name#ar": "صور أكمي",
  "policy_uri#fr": "https://acme.example/confidentialite",
  "tos_uri#fr": "https://acme.example/conditions",
};

/** In which language people are answered, and what of a client they read in it. */
describe("languages of the pages", () => {
  let server: TestServer;
  let rp: RelyingParty;

  before(async () => {
    server = await aServerWith({ shop: "production" }, { REGISTRATION: "open" });
    rp = new RelyingParty(
      server,
      await aClient(server, {
        client_name: "Acme Photos",
        policy_uri: "https://acme.example/privacy",
        ...LOCALIZED,
      }),
    );
  });
  after(() => server.stop());

  /** The sign-in page that an authorization request leads to, as one browser gets it. */
  async function signInPage(
    asking: Record<string, string> = {},
    headers: Record<string, string> = {},
    browser = new WebBrowser(server, headers),
  ): Promise<Answer> {
    const { location = "" } = (await browser.open(rp.authorization(asking))).headers;
    return browser.open(location);
  }

  const languageOf = ({ text }: Answer) => /<html lang="([^"]*)"/.exec(text)?.[1];

  it("are listed as ui_locales_supported (OIDC Discovery §3)", async () => {
    const metadata = json(await send(server, { path: "/.well-known/openid-configuration" }));
    assert.deepEqual(metadata["ui_locales_supported"], [...LANGUAGES]);
  });

  it("are chosen by ui_locales, the first that there is (OIDC Core §3.1.2.1)", async () => {
    assert.equal(languageOf(await signInPage({ ui_locales: "fr de" })), "fr");
    assert.equal(languageOf(await signInPage({ ui_locales: "ko x-none fr-CA de" })), "fr");
  });

  it("make no error where ui_locales names none that there is (OIDC Core §3.1.2.1)", async () => {
    const page = await signInPage({ ui_locales: "ko not_a_tag" }, { "accept-language": "ja" });
    assert.equal(page.status, 200);
    assert.equal(languageOf(page), "ja");
  });

  it("follow the browser where the client asks for none, by its weights (RFC 9110 §12.5.4)", async () => {
    const page = await signInPage({}, { "accept-language": "de;q=0.2, es-MX;q=0.9, *;q=0.1" });
    assert.equal(languageOf(page), "es");
  });

  it("say which one was chosen, in the page and its header (RFC 9110 §8.5)", async () => {
    const page = await signInPage({ ui_locales: "zh-CN" });
    assert.equal(page.headers["content-language"], "zh-Hans");
    assert.match(page.text, /<html lang="zh-Hans" dir="ltr">/);
    assert.match((await signInPage({ ui_locales: "ar" })).text, /<html lang="ar" dir="rtl">/);
  });

  it("are what somebody chose on the page, for the rest of the sign-in (ux.md §5)", async () => {
    const browser = new WebBrowser(server, { "accept-language": "en" });
    const { location = "" } = (await browser.open(rp.authorization({ ui_locales: "fr" }))).headers;
    await browser.open(`${location}?ui_lang=pt-BR`);
    assert.equal(languageOf(await browser.open(location)), "pt-BR");
  });

  it("are what somebody chose on the page of an issuer with a path, too (ux.md §5)", async () => {
    const shop = issuerAt(server, "shop");
    const asker = new RelyingParty(shop, await aClient(server, {}, "shop"));
    const browser = new WebBrowser(shop, { "accept-language": "en" });
    const asking = asker.authorization({ ui_locales: "fr" });
    const { location = "" } = (await browser.open(asking)).headers;
    await browser.open(`${location}?ui_lang=pt-BR`);
    assert.equal(languageOf(await browser.open(location)), "pt-BR");
  });

  it("are those of the profile for who is signed in, before the browser's (ux.md §5)", async () => {
    const user = await aUser(server);
    await UserProfile.query(server.database.knex)
      .patch({ locale: "ja" })
      .where({ userId: user.id });
    const browser = new WebBrowser(server, { "accept-language": "en" });
    assert.equal(languageOf(await browser.open("/")), "en");
    await walk(server, browser, rp.authorization(), user);
    assert.equal(languageOf(await browser.open("/")), "ja");
    assert.equal(languageOf(await browser.open("/account")), "ja");
    assert.equal(languageOf(await browser.open("/?ui_lang=de")), "de", "but for what is chosen");
  });

  it("show the client by the name it has in them, and lead to its texts in them (OIDC Registration §2.1, RFC 7591 §2.2)", async () => {
    const { text } = await signInPage({ ui_locales: "fr" });
    assert.match(text, /Photos Acme/);
    assert.doesNotMatch(text, /Acme Photos/);
    assert.match(text, /href="https:\/\/acme\.example\/confidentialite"/);
    assert.match(text, /href="https:\/\/acme\.example\/conditions"/);
    assert.match((await signInPage({ ui_locales: "ar" })).text, /صور أكمي/);
  });

  it("show the client by its name without a tag where it has none in them (OIDC Registration §2.1)", async () => {
    const { text } = await signInPage({ ui_locales: "de" });
    assert.match(text, /Acme Photos/);
    assert.match(text, /href="https:\/\/acme\.example\/privacy"/);
  });

  describe("that a client registers texts in", () => {
    const register = async (metadata: object): Promise<Answer> =>
      send(server, {
        path: "/reg",
        method: "POST",
        body: JSON.stringify({
          client_name: "An app",
          redirect_uris: ["https://rp.example/callback"],
          ...metadata,
        }),
        headers: { "content-type": "application/json" },
      });

    it("are told back to it (RFC 7591 §2.2, §3.2.1)", async () => {
      const made = json(await register(LOCALIZED));
      for (const [field, text] of Object.entries(LOCALIZED)) assert.equal(made[field], text, field);
    });

    it("are left out where no page is in them (RFC 7591 §2)", async () => {
      const answer = await register({ "client_name#tlh": "nav" });
      assert.equal(answer.status, 201);
      assert.equal(json(answer)["client_name#tlh"], undefined);
    });

    it("hold their texts to what the text without a tag is held to (RFC 7591 §5)", async () => {
      for (const wrong of [
        { "client_name#fr": "A\u202eknab" },
        { "policy_uri#fr": "javascript:alert(1)" },
        { "tos_uri#fr": "http://acme.example/" },
      ]) {
        const answer = await register(wrong);
        assert.equal(answer.status, 400, JSON.stringify(wrong));
        assert.ok(answer.text.includes(Object.keys(wrong)[0] ?? "?"), answer.text);
      }
    });
  });
});
