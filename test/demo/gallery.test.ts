import assert from "node:assert/strict";
import { mailFixtures } from "../../src/demo/mail-fixtures.ts";
import { fixtures } from "../../src/demo/view-fixtures.ts";
import { LANGUAGES, PSEUDO_LANGUAGES } from "../../src/i18n/languages.ts";
import { ask } from "../support/raw.ts";
import { aServer, type TestServer } from "../support/server.ts";

const states = Object.entries(fixtures).flatMap(([name, all]) =>
  Object.keys(all).map((state) => `/dev/pages/${name}/${state}`),
);

describe("galleries of pages and mails", () => {
  let server: TestServer;

  before(async () => {
    server = await aServer();
  });
  after(() => server.stop());

  const html = { Accept: "text/html" };
  const get = (path: string) => ask(`${server.issuer}${path}`, { headers: html });
  const linksIn = (body: string) =>
    [...body.matchAll(/href="(\/dev\/[^"]*)"/g)].map(([, href = ""]) =>
      href.replaceAll("&amp;", "&"),
    );

  it("lead to every state of every page, in the way that was chosen (ux.md §9)", async () => {
    const { body } = await get("/dev/pages?ui_lang=ar&scheme=dark&width=320&state=x");
    assert.match(body, /<html lang="ar" dir="rtl">/);
    const links = linksIn(body);
    for (const path of states)
      assert.ok(links.includes(`${path}?ui_lang=ar&scheme=dark&width=320`), path);
  });

  it("offer every language and pseudo-language on every page, whatever people are offered", async () => {
    const { body } = await get("/dev/pages/login/empty?scheme=dark");
    for (const tag of [...LANGUAGES, ...PSEUDO_LANGUAGES])
      assert.ok(body.includes(`href="?scheme=dark&amp;ui_lang=${tag}" lang="${tag}"`), tag);
  });

  it("turn each way of looking on, and off again", async () => {
    const off = await get("/dev/pages?ui_lang=en");
    assert.match(off.body, /href="\?ui_lang=en&amp;scheme=dark">Dark/);
    const on = await get("/dev/pages?ui_lang=en&scheme=dark");
    assert.match(on.body, /href="\?ui_lang=en" aria-current="true">Dark/);
  });

  it("show a page in the scheme and width that was chosen", async () => {
    const { body } = await get("/dev/pages/login/empty?ui_lang=en&scheme=dark&width=320");
    const [, style = ""] = /rel="stylesheet" href="([^"]*)"/.exec(body) ?? [];
    const dark = await get(style.replaceAll("&amp;", "&"));
    assert.match(String(dark.headers["content-type"]), /text\/css/);
    assert.match(dark.body, /@media all \{\s*:root \{\s*color-scheme: dark/);
    assert.match(dark.body, /max-width: 320px/);
    const plain = await get("/dev/pages/style.css");
    assert.match(plain.body, /@media \(prefers-color-scheme: dark\)/);
    assert.doesNotMatch(plain.body, /max-width: 320px/);
    assert.match((await get("/dev/pages/style.css?scheme=light")).body, /@media not all/);
  });

  it("send nothing from the forms of a page", async () => {
    const { headers } = await get("/dev/pages/consent/web");
    assert.match(String(headers["content-security-policy"]), /; form-action 'none'$/);
  });

  it("know no other page, state or mail", async () => {
    for (const path of [
      "/dev/pages/login/nowhere",
      "/dev/pages/nowhere/empty",
      "/dev/pages/__proto__/toString",
      "/dev/pages/login/constructor",
      "/dev/mails/nowhere/html",
      "/dev/mails/test/pdf",
      "/dev/mails/constructor/html",
    ])
      assert.equal((await get(path)).status, 404, path);
  });

  it("show every mail in every language, as HTML and as text (ux.md §6)", async () => {
    for (const locale of LANGUAGES) {
      const links = linksIn((await get(`/dev/mails?ui_lang=${locale}`)).body);
      for (const name of Object.keys(mailFixtures)) {
        for (const form of ["html", "text"]) {
          const path = `/dev/mails/${name}/${form}?ui_lang=${locale}`;
          assert.ok(links.includes(path), path);
          const { status, body, headers } = await get(path);
          assert.equal(status, 200, path);
          assert.match(
            String(headers["content-type"]),
            form === "html" ? /^text\/html/ : /^text\/plain/,
          );
          if (form === "html") assert.ok(body.includes(`<html lang="${locale}"`), path);
        }
      }
    }
  });
});
