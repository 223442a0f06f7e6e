import assert from "node:assert/strict";
import { globSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { IntlMessageFormat } from "intl-messageformat";
import { Catalogues, type MessageId } from "../../src/i18n/catalogue.ts";
import { directionOf, LANGUAGES, nameOf } from "../../src/i18n/languages.ts";
import { fixtures } from "../../src/demo/view-fixtures.ts";

const ROOT = fileURLToPath(new URL("../../", import.meta.url));
const read = (file: string) => readFileSync(`${ROOT}${file}`, "utf8");
const locales = globSync("*.json", { cwd: `${ROOT}views/locales` })
  .map((file) => file.replace(".json", ""))
  .sort();
const messages = Object.fromEntries(
  locales.map((locale) => [
    locale,
    JSON.parse(read(`views/locales/${locale}.json`)) as Readonly<Record<string, string>>,
  ]),
);
const english = messages["en"] ?? {};

/** Code that says things: templates, and TypeScript outside of the tests. */
const sources = [
  ...globSync("views/**/*.ejs", { cwd: ROOT }),
  ...globSync("src/**/*.ts", { cwd: ROOT }),
].map((file) => ({ file, text: read(file) }));

type Element = ReturnType<IntlMessageFormat["getAst"]>[number];
/** The kind of an element that is only words (`TYPE.literal` of the parser). */
const LITERAL = 0;

/** The kinds of elements that choose among words (`TYPE.select` and `TYPE.plural`). */
const SELECT = 5;
const PLURAL = 6;

/** The gaps of a message, as `name:kind`, and what those that choose among words know. */
function gapsOf(text: string, locale: string) {
  const gaps = new Set<string>();
  const choices: { gap: string; kind: number; cases: string[] }[] = [];
  const walk = (elements: readonly Element[]) => {
    for (const element of elements) {
      const kind: number = element.type;
      if (!("value" in element) || kind === LITERAL) continue;
      gaps.add(`${element.value}:${kind}`);
      if (!("options" in element)) continue;
      choices.push({ gap: element.value, kind, cases: Object.keys(element.options).sort() });
      for (const option of Object.values(element.options)) walk(option.value);
    }
  };
  walk(new IntlMessageFormat(text, locale).getAst());
  return { gaps: [...gaps].sort(), choices };
}

/** Something for every gap of a message: a case that it knows, a number where it counts or tells a time, or a word. */
function valuesFor(text: string): Record<string, string | number> {
  const { gaps, choices } = gapsOf(text, "en");
  return Object.fromEntries(
    gaps.map((entry) => {
      const [gap = "", kind = ""] = entry.split(":");
      const choice = choices.find((each) => each.gap === gap && each.kind === SELECT);
      return [gap, choice?.cases[0] ?? (["0", "1"].includes(kind) ? "x" : 2)];
    }),
  );
}

/** What is the same word in English and another language. */
const SAME = new Set(["de Mail", "de Passkeys", "de Name", "es No", "es Error:"]);

/** What has no words of its own. */
const ONLY_GAPS = /^(?:\{[^}]*\}|[, ])+$/;

/** What printers would mark, by language. */
const TYPESETTING: Readonly<Record<string, readonly [rule: string, mistake: RegExp][]>> = {
  fr: [
    ["a space that does not break before ? : ; »", /[^\s\u00a0\u202f][ ]?[?;»]|[ ]:/],
    ["a space that does not break after «", /«[^\u00a0\u202f]/],
    ["people are spoken to as vous", /(?<!\p{L})(?:tu|ton|ta|tes)(?!\p{L})/iu],
  ],
  es: [
    ["a question begins with ¿", /^[^¿]*\?/],
    ["people are spoken to as usted", /(?<!\p{L})(?:tú|tus?|contigo)(?!\p{L})/iu],
  ],
  de: [["people are spoken to as Sie", /\b(?:du|dein|deine[mnrs]?|dich|dir)\b/i]],
  ja: [
    ["no half-width punctuation after Japanese", /[\p{sc=Han}\p{sc=Hira}\p{sc=Kana}][,.?!;]/u],
    ["a space between scripts is the browser’s business", /[\p{sc=Hira}\p{sc=Kana}] [a-z{]/iu],
  ],
  "zh-Hans": [
    ["no half-width punctuation after Chinese", /\p{sc=Han}[,.?!;:]/u],
    ["a space between Chinese and what fills a gap", /\p{sc=Han}\{(?!seconds|minutes)/u],
    ["people are spoken to as 您", /你/],
  ],
  ar: [["Arabic punctuation after Arabic", /\p{sc=Arab}[,;?]/u]],
};

const namesOf = (gaps: readonly string[]) => gaps.map((gap) => gap.split(":")[0] ?? "");

describe("catalogues", () => {
  it("are there", () => assert.deepEqual(locales, LANGUAGES.toSorted()));

  for (const locale of locales) {
    it(`say the same things, each with the same gaps: ${locale}`, () => {
      const own = messages[locale] ?? {};
      assert.deepEqual(Object.keys(own), Object.keys(english), "same ids, in the same order");
      for (const [id, text] of Object.entries(own)) {
        assert.deepEqual(gapsOf(text, locale).gaps, gapsOf(english[id] ?? "", "en").gaps, id);
      }
    });

    it(`are text that a translator would be proud of: ${locale}`, () => {
      for (const [id, text] of Object.entries(messages[locale] ?? {})) {
        assert.match(id, /^[a-z][a-z0-9_-]*(\.[a-z0-9_-]+)+$/);
        assert.equal(text.trim(), text, id);
        assert.doesNotMatch(
          text,
          /[<>&]|["']|\.\.\.|  |!/,
          `${id}: no HTML, straight quotes or shouting`,
        );
        assert.doesNotMatch(
          text,
          /\b(?:invalid|oops|please|click here|ungültig|bitte)\b/i,
          `${id}: blames or begs`,
        );
        if (locale !== "en") {
          const long = (english[id] ?? "").length * 2 + 16;
          assert.ok(text.length <= long, `${id} is twice as long as in English`);
        }
      }
    });

    it(`are translated, and not left in English: ${locale}`, () => {
      if (locale === "en") return;
      const left = Object.entries(messages[locale] ?? {}).filter(
        ([id, text]) =>
          text === english[id] && !SAME.has(`${locale} ${text}`) && !ONLY_GAPS.test(text),
      );
      assert.deepEqual(left, []);
    });

    it(`are set as the language is: ${locale}`, () => {
      for (const [id, text] of Object.entries(messages[locale] ?? {}))
        for (const [rule, mistake] of TYPESETTING[locale] ?? [])
          assert.doesNotMatch(text, mistake, `${id}: ${rule}`);
    });

    it(`count in the way of the language: ${locale}`, () => {
      const needed = new Intl.PluralRules(locale).resolvedOptions().pluralCategories;
      for (const [id, text] of Object.entries(messages[locale] ?? {}))
        for (const { gap, kind, cases } of gapsOf(text, locale).choices)
          for (const category of kind === PLURAL ? needed : [])
            assert.ok(cases.includes(category), `${id}: ${gap}, ${category}`);
    });

    it(`choose among the same cases as English: ${locale}`, () => {
      const selectsOf = (text: string, of: string) =>
        gapsOf(text, of).choices.filter(({ kind }) => kind === SELECT);
      for (const [id, text] of Object.entries(messages[locale] ?? {}))
        assert.deepEqual(selectsOf(text, locale), selectsOf(english[id] ?? "", "en"), id);
    });
  }

  it("have what templates and code say, and are given what fills the gaps", () => {
    let calls = 0;
    for (const { file, text } of sources) {
      for (const [, id = "", given = ""] of text.matchAll(
        /\bt\(\s*['"]([^'"]+)['"](?:,\s*\{([^}]*)\})?,?\s*\)/g,
      )) {
        calls += 1;
        assert.ok(id in english, `${file} says ${id}`);
        const names = given.split(",").map((entry) => entry.split(":")[0]?.trim() ?? "");
        for (const gap of namesOf(gapsOf(english[id] ?? "", "en").gaps))
          assert.ok(names.includes(gap), `${file} does not say ${gap} of ${id}`);
      }
      for (const [, id = ""] of text.matchAll(
        /['"]((?:err|page|mail)\.[a-z_]+(?:\.[a-z_]+)?)['"]/g,
      ))
        assert.ok(id in english, `${file} names ${id}`);
    }
    assert.ok(calls > 60, "the scan finds the calls");
  });

  it("have nothing that nobody says", () => {
    const literal = new Set<string>();
    const families: ((id: string) => boolean)[] = [];
    for (const { text } of sources) {
      for (const [, id = ""] of text.matchAll(/['"]([a-z][a-z-]*\.[a-z0-9_.-]+)['"]/g))
        literal.add(id);
      // `stale.${variant}.heading`; that of titles has a list of its own, below.
      for (const [, start = "", end = ""] of text.matchAll(/`([a-z-]+\.)\$\{[^}`]*\}(\.[a-z_]+)`/g))
        families.push(
          (id) => id.startsWith(start) && id.endsWith(end) && id.split(".").length === 3,
        );
    }
    assert.ok(families.length >= 6);
    const titles = Object.keys(fixtures).map((page) => `${page}.title`);
    const isSaid = (id: string) =>
      literal.has(id) || titles.includes(id) || families.some((family) => family(id));
    assert.deepEqual(
      Object.keys(english).filter((id) => !isSaid(id)),
      [],
    );
    for (const title of titles) assert.ok(title in english, `${title} is missing`);
  });
});

describe("translator", () => {
  const catalogues = new Catalogues();

  it("fills gaps, counts, and says minutes as minutes", () => {
    const en = catalogues.translator("en");
    const de = catalogues.translator("de");
    assert.equal(en("page.home", { product: "Lintel" }), "Go to Lintel");
    assert.equal(
      en("err.throttled", { minutes: 0, seconds: 1 }),
      "Too many tries. Wait 1 second and try again.",
    );
    assert.match(en("err.throttled", { minutes: 0, seconds: 45 }), /Wait 45 seconds/);
    assert.match(en("err.throttled", { minutes: 15, seconds: 900 }), /Wait 15 minutes/);
    assert.match(de("err.throttled", { minutes: 1, seconds: 60 }), /Warten Sie 1 Minute und/);
  });

  it("returns text: what fills a gap is never read as a message or as HTML", () => {
    const en = catalogues.translator("en");
    assert.equal(en("page.home", { product: "<b>{x}</b> '{" }), "Go to <b>{x}</b> '{");
  });

  it("keeps a name that runs the other way from turning the words around it (Trojan Source)", () => {
    const en = catalogues.translator("en");
    assert.equal(en("page.home", { product: "שלום" }), "Go to \u2068שלום\u2069");
    assert.equal(en("page.home", { product: "a\u202eb\u2069c" }), "Go to \u2068abc\u2069");
    assert.equal(en("page.home", { product: "Zoë" }), "Go to Zoë");
  });

  it("counts as each language counts, Arabic in six ways", () => {
    const say = (locale: string, minutes: number) =>
      catalogues.translator(locale)("device-confirm.asked_at", { minutes });
    const times = (locale: string, ...counts: number[]) => counts.map((each) => say(locale, each));
    assert.deepEqual(times("ar", 0, 1, 2, 3, 11, 100), [
      "قبل أقل من دقيقة",
      "قبل دقيقة واحدة",
      "قبل دقيقتين",
      "قبل 3 دقائق",
      "قبل 11 دقيقة",
      "قبل 100 دقيقة",
    ]);
    assert.deepEqual(times("fr", 0, 1, 2), [
      "il y a moins d’une minute",
      "il y a 1 minute",
      "il y a 2 minutes",
    ]);
    assert.deepEqual(times("pt-BR", 1, 2), ["há 1 minuto", "há 2 minutos"]);
    assert.deepEqual(times("ja", 1, 2), ["1分前", "2分前"]);
  });

  it("chooses words by what is no word, from right to left too", () => {
    const say = catalogues.translator("ar");
    const browser = say("browser.name", { known: "both", browser: "Firefox", os: "Linux" });
    assert.equal(browser, "\u2068Firefox\u2069 على \u2068Linux\u2069");
  });

  it("keeps the order of words within words: a browser on a system, in a sentence about it", () => {
    const say = catalogues.translator("ar");
    const browser = say("browser.name", { known: "both", browser: "Firefox", os: "Linux" });
    const said = say("mail.new_device.what", { email: "a@b.example", time: "1", browser });
    assert.ok(
      said.includes(`\u2068${browser}\u2069`),
      "what is isolated in it finds its direction",
    );
    const breakout = say("page.home", { product: "a\u2069b\u2068c" });
    assert.ok(breakout.includes("\u2068abc\u2069"), "what would leave its isolate loses its marks");
  });

  it("says every message in every language, whatever its gaps", () => {
    for (const locale of LANGUAGES)
      for (const [id, text] of Object.entries(english))
        assert.doesNotMatch(
          catalogues.translator(locale)(id as MessageId, valuesFor(text)),
          /[{}]|undefined|Invalid/,
          `${locale} ${id}`,
        );
  });

  it("tells moments in UTC, as the language writes them, wherever the server is", () => {
    const at = Date.UTC(2026, 1, 3, 23, 5, 6);
    const say = (locale: string) => catalogues.translator(locale)("moment.full", { at });
    assert.equal(say("en").replaceAll("\u202f", " "), "Feb 3, 2026, 11:05 PM UTC");
    assert.equal(say("de"), "3. Feb. 2026, 23:05 UTC");
    assert.equal(say("ja"), "2026年2月3日 23:05 UTC");
  });

  it("makes a pseudo-language of English that is a third longer, plurals and all", () => {
    const say = catalogues.translator("en-XA");
    assert.equal(say("page.home", { product: "Lintel" }), "Góó tóó Lintel");
    assert.equal(say("device-confirm.asked_at", { minutes: 2 }), "2 míínúútéés áágóó");
    const lengths = (locale: string) =>
      (Object.keys(english) as MessageId[])
        .filter((id) => !(english[id] ?? "").includes("{"))
        .reduce((sum, id) => sum + catalogues.translator(locale)(id).length, 0);
    const ratio = lengths("en-XA") / lengths("en");
    assert.ok(ratio > 1.3 && ratio < 1.45, `${ratio} times as long`);
  });

  it("changes every word of a pseudo-language and no gap", () => {
    for (const locale of ["en-XA", "ar-XB"]) {
      const say = catalogues.translator(locale);
      for (const id of Object.keys(english) as MessageId[]) {
        const said = say(id, valuesFor(english[id] ?? ""));
        assert.notEqual(said, english[id], `${locale} ${id}`);
        assert.doesNotMatch(said, /[{}]/, `${locale} ${id}`);
      }
    }
  });

  it("knows which way languages run and what they call themselves", () => {
    assert.deepEqual(["en", "de", "ar", "ar-XB", "he-IL", "fa", "en-XA"].map(directionOf), [
      "ltr",
      "ltr",
      "rtl",
      "rtl",
      "rtl",
      "rtl",
      "ltr",
    ]);
    assert.deepEqual(LANGUAGES.map(nameOf), [
      "English",
      "Deutsch",
      "Français",
      "Español",
      "Português (Brasil)",
      "日本語",
      "简体中文",
      "العربية",
    ]);
    assert.equal(nameOf("en-XA"), "en-XA");
  });
});
