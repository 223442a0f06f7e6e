import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import type { Server } from "node:http";
import Koa from "koa";
import { Assets } from "../src/http/assets.ts";
import { listenOn, portOf } from "../src/http/listen.ts";
import { createPage } from "../src/http/page.ts";
import { issuerOf } from "../src/issuers.ts";
import { Templates } from "../src/http/templates.ts";
import { Catalogues } from "../src/i18n/catalogue.ts";
import { directionOf, LANGUAGES, PSEUDO_LANGUAGES } from "../src/i18n/languages.ts";
import { createMailRenderer } from "../src/mail/render.ts";
import type { MailTemplate } from "../src/mail/messages.ts";
import type { Views } from "../src/views.ts";
import { lint, readTemplates, typeErrors } from "./support/templates.ts";
import { mailFixtures } from "../src/demo/mail-fixtures.ts";
import { fixtures } from "../src/demo/view-fixtures.ts";

const LOCALES = [...LANGUAGES, ...PSEUDO_LANGUAGES];
const pages = Object.keys(fixtures) as (keyof Views)[];

describe("templates", () => {
  const templates = readTemplates();

  it("fit the types of views.ts, every one of them (C30)", () => {
    assert.ok(templates.size > 15);
    assert.deepEqual(typeErrors(templates), []);
  });

  it("keep the rules that no type expresses (C31)", () => {
    const problems = [...templates].flatMap(([name, template]) =>
      lint(name, template).map((problem) => `${name} ${problem}`),
    );
    assert.deepEqual(problems, []);
  });

  it("would not pass with a mistake in them: the check sees each kind", () => {
    const mistakes: Readonly<Record<string, string>> = {
      login: "<%= view.usrename %>",
      password: "\n<% if (view.reauthenticate) { %><%= view.signedInAs %><% } %>",
      consent: "<%= view.client.policyUri %>",
      logout: "<%= t('logout.titel') %>",
      stale: "<%= t(`stale.${view.variant}.headline`) %>",
      "signed-out": "<%- include('/partials/client', { view, t }) %>",
      error: "<%- include('/partials/nowhere', { view, t }) %>",
      home: "<% for (const app of view.apps) { %><%= app.title %><% } %>",
      setup: "<%= locals.email %>",
    };
    const found = typeErrors(new Map(Object.entries(mistakes)));
    for (const name of Object.keys(mistakes)) {
      assert.ok(
        found.some((line) => line.startsWith(`${name}.ts(`)),
        `the mistake in ${name} is not seen:\n${found.join("\n")}`,
      );
    }
    assert.match(found.join("\n"), /password\.ts\(2,/, "the line is the template’s");
  });

  it("would not pass the rules with an injection in them: the check sees each kind", () => {
    const bad = {
      unescaped: "<p><%- view.username %></p>",
      unquoted: "<a href=<%= view.href %>>x</a>",
      "half-quoted": "<a id='x'>x</a>",
      handler: '<button onclick="go()">x</button>',
      style: '<p style="color: red">x</p>',
      "style-sheet": "<style>p { color: red }</style>",
      script: "<script>go()</script>",
      "script-file": '<script src="/x.js"></script>',
      "code-address": '<a href="javascript:go()">x</a>',
      foreign: '<img src="https://cdn.example/x.png">',
      fallback: "<noscript>x</noscript>",
    };
    for (const [name, template] of Object.entries(bad))
      assert.notDeepEqual(lint(name, template), [], name);
    assert.deepEqual(
      lint("fine", '<p class="<%= view.a %>"<% if (view.b) { %> hidden<% } %>>x</p>'),
      [],
    );
    assert.notDeepEqual(lint("layout", "<%- view.contents %>"), []);
  });

  it("are all rendered below: each page has a fixture", () => {
    const partial = /^(?:partials\/|mail\/|layout$)/;
    const named = [...templates.keys()].filter((name) => !partial.test(name));
    assert.deepEqual(named.sort(), [...pages].sort());
  });

  it("do not run code that data smuggles in through options of EJS (T-50)", () => {
    const hostile = JSON.parse(
      '{"settings":{"view options":{"client":true,"escapeFunction":"1;throw new Error(\'ran\')"}},"outputFunctionName":"x;throw new Error(\'ran\');s","client":true,"escape":"throw"}',
    ) as object;
    const html = new Templates().fill("signed-out", {
      view: { ...hostile, others: [], shell: { productName: "<i>" } },
      t: new Catalogues().translator("en"),
      ...hostile,
    });
    assert.match(html, /<h1>You are signed out<\/h1>/);
    assert.match(html, /&lt;i&gt;/);
  });

  it("do not run code that a polluted prototype smuggles in (T-50)", () => {
    const polluted = {
      outputFunctionName: 'x;throw new Error("ran");s',
      escapeFunction: 'throw new Error("ran")',
      client: true,
      localsName: 'x){throw new Error("ran")}//',
    };
    try {
      for (const [key, value] of Object.entries(polluted))
        Object.defineProperty(Object.prototype, key, { value, configurable: true, writable: true });
      const html = new Templates().fill("signed-out", {
        view: { others: [], shell: { productName: "Lintel" } },
        t: new Catalogues().translator("en"),
      });
      assert.match(html, /<h1>You are signed out<\/h1>/);
    } finally {
      for (const key of Object.keys(polluted)) Reflect.deleteProperty(Object.prototype, key);
    }
  });
});

describe("the style sheet", () => {
  const css = readFileSync(new URL("../views/assets/app.css", import.meta.url), "utf8");

  it("knows start and end, not left and right, so that pages run either way (ux.md §4.3)", () => {
    const rules = css.replaceAll(/\/\*[\s\S]*?\*\/|\([^()]*\)/g, "");
    assert.deepEqual(rules.match(/.*\b(?:left|right)\b.*/g), null);
    assert.doesNotMatch(rules, /(?:margin|padding|inset):(?:\s+[^\s;]+){4};/, "four sides at once");
    assert.doesNotMatch(rules, /translateX|float:|border-(?:top|bottom)-(?:left|right)/);
  });

  it("asks nobody else for anything", () => {
    assert.doesNotMatch(css, /url\(|@import|https?:/);
  });
});

/** What stands between `<name …>` and its end, one entry for each element; good enough for our own templates. */
function elements(html: string, name: string): Readonly<Record<string, string>>[] {
  return [...html.matchAll(new RegExp(`<${name}\\b((?:"[^"]*"|[^">])*)>`, "g"))].map(
    ([, text = ""]) =>
      Object.fromEntries(
        [...text.matchAll(/\s([a-z-]+)(?:="([^"]*)")?/g)].map(([, key = "", value = ""]) => [
          key,
          value,
        ]),
      ),
  );
}

describe("pages", () => {
  let server: Server;
  let origin: string;

  before(async () => {
    const page = createPage({
      config: {
        productName: "Lintel",
        locales: LOCALES,
        issuers: [issuerOf("", "http://localhost:3000", "production")],
      },
      templates: new Templates(),
      catalogues: new Catalogues(),
      assets: new Assets(),
    });
    const app = new Koa();
    app.use(async (ctx) => {
      const [, name = "", variant = ""] = ctx.path.split("/");
      ctx.state["correlationId"] = "0123456789";
      const views: Readonly<Record<string, unknown>> = fixtures[name as keyof Views];
      await page(ctx, name as "login", views[variant] as Views["login"]);
    });
    server = await listenOn(app.callback(), 0, "127.0.0.1");
    origin = `http://127.0.0.1:${portOf(server)}`;
  });
  after(() => void server.close());

  const show = async (name: string, variant: string, locale: string): Promise<string> => {
    const response = await fetch(`${origin}/${name}/${variant}?ui_lang=${locale}`);
    assert.equal(response.status, 200, await response.clone().text());
    assert.equal(response.headers.get("content-type"), "text/html; charset=utf-8");
    assert.equal(response.headers.get("cache-control"), "no-store");
    assert.equal(response.headers.get("content-language"), locale);
    return response.text();
  };

  for (const locale of LOCALES) {
    it(`are whole in ${locale}: one h1, named fields, unique ids, no gap and no message id left`, async () => {
      for (const name of pages) {
        for (const variant of Object.keys(fixtures[name])) {
          const html = await show(name, variant, locale);
          const where = `${name}/${variant} in ${locale}`;
          assert.ok(html.includes(`<html lang="${locale}" dir="${directionOf(locale)}">`), where);
          assert.ok(html.includes(`<body data-page="${name}">`), where);
          assert.equal(elements(html, "h1").length, 1, where);
          assert.equal(elements(html, "main").length, 1, where);
          assert.match(html, /<title>[^<]{2,} – Lintel<\/title>/, where);

          const all = elements(html, "[a-z][a-z0-9]*");
          const ids = all.flatMap(({ id }) => (id === undefined ? [] : [id]));
          assert.deepEqual(ids, [...new Set(ids)], `${where} has an id twice`);
          for (const { "aria-describedby": describedBy } of all)
            for (const id of describedBy?.split(" ") ?? [])
              assert.ok(ids.includes(id), `${where}: ${id}`);

          const labelled = new Set(elements(html, "label").map((label) => label["for"]));
          for (const input of elements(html, "input")) {
            if (input["type"] === "hidden" || input["aria-hidden"] === "true") continue;
            assert.ok(labelled.has(input["id"] ?? ""), `${where}: ${input["id"]} has no label`);
          }
          const fields = new Set([...ids, ...labelled]);
          for (const [, target = ""] of html.matchAll(/<li><a href="#([^"]*)"/g))
            assert.ok(fields.has(target), `${where}: the summary leads to ${target}`);

          const text = html.replaceAll(/<[^>]*>/g, " ");
          assert.doesNotMatch(text, /<%|%>|undefined|\[object|\bnull\b/, where);
          assert.doesNotMatch(
            text,
            /\b(?:page|client|login|password|consent|scope|logout|stale|error|home|setup|mailbox|err)\.[a-z_]+\b(?!@)/,
            where,
          );
          assert.doesNotMatch(html, /<b onclick|<script>alert|<i>x/, where);
        }
      }
    });
  }

  it("say nothing in English that the catalogue does not say: en-XA marks every word", async () => {
    for (const name of pages) {
      for (const variant of Object.keys(fixtures[name])) {
        if (name === "mailbox" || name === "mailbox-message" || variant === "odd") continue;
        const html = await show(name, variant, "en-XA");
        const [, main = ""] = /<main[^>]*>([\s\S]*)<\/main>/.exec(html) ?? [];
        const said = main
          .replaceAll(/<(code|bdi|time)\b[^>]*>[\s\S]*?<\/\1>/g, "")
          .replaceAll(/<[^>]*>/g, " ");
        const plain = said.match(/(?<!\p{L})[a-z]{5,}(?!\p{L})/giu) ?? [];
        const given = JSON.stringify(fixtures[name]);
        assert.deepEqual(
          plain.filter(
            (word) =>
              !given.includes(word) && !["Lintel", "error", "error_description"].includes(word),
          ),
          [],
          `${name}/${variant}`,
        );
      }
    }
  });

  it("say “Error:” first in the title when something must be mended", async () => {
    assert.match(await show("login", "error", "en"), /<title>Error: Sign in – Lintel</);
    assert.match(await show("login", "empty", "en"), /<title>Sign in – Lintel</);
  });

  it("offer each enabled language at the same address, with its query", async () => {
    const html = await (await fetch(`${origin}/error/request?client_id=a%26b&ui_lang=en`)).text();
    assert.match(html, /href="\?client_id=a%26b&amp;ui_lang=de" lang="de">Deutsch</);
    assert.match(html, /lang="en" aria-current="true">English</);
  });

  /** The public contract of ids and names (ux.md §1.3): conformance runs and customers’ tests hold on to these. */
  const CONTRACT: readonly [page: keyof Views, variant: string, parts: readonly string[]][] = [
    [
      "login",
      "empty",
      [
        "form#login-form",
        "input#username[name=username]",
        "input#password-hint[name=password]",
        "button#login-submit.login-submit",
        "button#cancel",
        "a#client-policy",
        "a#client-tos",
      ],
    ],
    [
      "login",
      "combined",
      [
        "form#login-form",
        "input#username[name=username]",
        "input#password[name=password]",
        "input#remember[name=remember]",
        "button#login-submit.login-submit",
      ],
    ],
    ["login", "error", ["div#error-summary", "p#username-error"]],
    [
      "password",
      "wrong",
      [
        "form#password-form",
        "input#password[name=password]",
        "input#remember[name=remember]",
        "button#login-submit.login-submit",
        "a#not-you",
        "div#error-summary",
        "p#password-error",
        "button#cancel",
      ],
    ],
    [
      "consent",
      "web",
      [
        "form#consent-form",
        ...[
          "openid",
          "profile",
          "email",
          "phone",
          "address",
          "groups",
          "roles",
          "organizations",
          "offline_access",
          "organization",
        ].map((scope) => `input#scope-${scope}[name=scope]`),
        "button#consent-allow[name=decision]",
        "button#consent-deny[name=decision]",
      ],
    ],
    [
      "logout",
      "plain",
      [
        "form#op.logoutForm",
        "input[name=xsrf]",
        "button#logout-confirm[name=logout]",
        "a#logout-stay",
      ],
    ],
    [
      "logout",
      "client",
      ["form#op.logoutForm", "button#logout-confirm[name=logout]", "button#logout-stay"],
    ],
    [
      "error",
      "client",
      ["code#error-code", "dd#error-description", "code#correlation-id", "a#back-to-app"],
    ],
    ["stale", "finished", ["a#continue-app"]],
    ["stale", "unknown", ["a#account-home"]],
    ["home", "apps", ["bdi#who", "ul#apps", "a#sign-out"]],
    [
      "setup",
      "empty",
      [
        "form#setup-form",
        "input#email[name=email]",
        "input#display_name[name=display_name]",
        "input#password[name=password]",
        "button#setup-submit",
      ],
    ],
  ];

  for (const [name, variant, parts] of CONTRACT) {
    it(`keep their public ids and names: ${name}, ${variant}`, async () => {
      const html = await show(name, variant, "en");
      for (const part of parts) {
        const [, element = "", id, className, fieldName] =
          /^([a-z]+)(?:#([\w-]+(?:\.logoutForm)?))?(?:\.([\w-]+))?(?:\[name=([\w-]+)\])?$/.exec(
            part,
          ) ?? [];
        assert.notEqual(element, "", `${part} cannot be read`);
        const match = elements(html, element).some(
          (found) =>
            (id === undefined || found["id"] === id) &&
            (className === undefined || (found["class"] ?? "").split(" ").includes(className)) &&
            (fieldName === undefined || found["name"] === fieldName),
        );
        assert.ok(match, `${part} is not on ${name}`);
      }
    });
  }

  it("let password managers and phones help: types and autocomplete of the fields (ux.md P1, P2)", async () => {
    const [username] = elements(await show("login", "empty", "en"), "input");
    assert.equal(username?.["type"], "text");
    assert.equal(username?.["autocomplete"], "username webauthn");
    assert.equal(username?.["autocapitalize"], "none");
    const byId = (html: string, id: string) =>
      elements(html, "input").find((input) => input["id"] === id);
    const password = byId(await show("password", "empty", "en"), "password");
    assert.equal(password?.["autocomplete"], "current-password");
    assert.equal(password?.["maxlength"], undefined);
    const chosen = byId(await show("setup", "empty", "en"), "password");
    assert.equal(chosen?.["autocomplete"], "new-password");
  });

  it("put the cursor into the first field only where nothing important precedes it (ux.md §1.1)", async () => {
    for (const [name, variant, focused] of [
      ["login", "empty", true],
      ["login", "error", false],
      ["password", "empty", true],
      ["password", "wrong", false],
      ["consent", "web", false],
    ] as const)
      assert.equal(
        / autofocus/.test(await show(name, variant, "en")),
        focused,
        `${name}/${variant}`,
      );
  });
});

describe("mails", () => {
  const render = createMailRenderer({
    config: { productName: "Lintel", issuer: "https://id.example" },
    templates: new Templates(),
    catalogues: new Catalogues(),
  });
  it("show a code in the order in which it is typed, from right to left too", async () => {
    for (const [locale, code] of [
      ["en", "1234 5678"],
      ["ar", "1234\u00a05678"],
    ] as const) {
      const { text, html } = await render("sign_in_code", mailFixtures.sign_in_code, locale);
      assert.ok(text.includes(`\n${code}\n`), locale);
      assert.ok(html.includes(`>${code}</p>`), locale);
    }
  });

  for (const locale of LOCALES) {
    it(`are whole in ${locale}, as HTML and as text`, async () => {
      for (const name of Object.keys(mailFixtures) as MailTemplate[]) {
        const { subject, text, html } = await render(name, mailFixtures[name], locale);
        const where = `${name} in ${locale}`;
        assert.equal(elements(html, "h1").length, 1, where);
        assert.doesNotMatch(
          html,
          /<(?:img|script|link|style|a)\b|https?:(?!\/\/id\.example)|url\(/,
          where,
        );
        assert.ok(html.length < 40_000, where);
        assert.doesNotMatch(html, /<b>Acme/, where);
        for (const part of [subject, text, html])
          assert.doesNotMatch(part, /%>|\bmail\.[a-z]|undefined/, where);
        if (locale === "en") assert.ok(subject.length <= 60, `${where}: ${subject}`);
        assert.ok(text.includes("\n\n-- \n"), `${where} has a signature`);
        const [first = ""] = text.split("\n");
        assert.match(
          first,
          locale === "ar-XB" ? /^\u202e/ : /^[\p{Lu}\p{Lo}\p{N}]/u,
          `${where} begins a sentence`,
        );
        if (name === "token_reused")
          assert.ok(text.includes("<b>Acme</b> & Co"), `${where} is plain text`);
      }
    });
  }
});
