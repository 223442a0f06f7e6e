import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { LANGUAGES } from "../../src/i18n/languages.ts";
import { negotiateLocale, type LanguageWishes } from "../../src/i18n/negotiate.ts";

const ENABLED = ["en", "de", "ar-XB"];
const choose = (wishes: Partial<LanguageWishes>, enabled: readonly string[] = ENABLED) =>
  negotiateLocale({ accepted: [], ...wishes }, enabled);

describe("the language of an answer", () => {
  it("is what was chosen on the page, then ui_locales, then the profile, then what is remembered, then Accept-Language, then the first (ux.md §5)", () => {
    const all: LanguageWishes = {
      chosen: "de",
      uiLocales: "en",
      own: "ar-XB",
      remembered: "ar-XB",
      accepted: ["en"],
    };
    assert.equal(choose(all), "de");
    assert.equal(choose({ ...all, chosen: undefined, uiLocales: "ar-XB en" }), "ar-XB");
    assert.equal(
      choose({ ...all, chosen: undefined, uiLocales: undefined, remembered: "de" }),
      "ar-XB",
      "the profile of who is signed in",
    );
    assert.equal(choose({ ...all, chosen: undefined, uiLocales: "xx", own: undefined }), "ar-XB");
    assert.equal(choose({ accepted: ["de", "en"] }), "de");
    assert.equal(choose({}), "en");
    assert.equal(choose({}, ["de", "en"]), "de");
  });

  it("passes over wishes that nobody can meet (OIDC Core §3.1.2.1: ui_locales never make an error)", () => {
    assert.equal(choose({ uiLocales: "fr ja de" }), "de");
    assert.equal(choose({ uiLocales: "fr", accepted: ["de"] }), "de");
    assert.equal(choose({ uiLocales: "fr", remembered: "tlh", accepted: ["*"] }), "en");
    assert.equal(choose({ uiLocales: "fr" }, ["de", "en"]), "de", "the first, not English");
  });

  it("takes a language for its regions, and the other way round", () => {
    assert.equal(choose({ uiLocales: "de-CH" }), "de");
    assert.equal(choose({ uiLocales: "DE-at" }), "de");
    assert.equal(choose({ accepted: ["en-GB"] }), "en");
    assert.equal(choose({ accepted: ["de-Latn-CH-1996"] }), "de");
  });

  for (const [wish, answer] of [
    ["zh", "zh-Hans"],
    ["zh-CN", "zh-Hans"],
    ["zh-SG", "zh-Hans"],
    ["zh-Hans-HK", "zh-Hans"],
    ["pt", "pt-BR"],
    ["pt-PT", "pt-BR"],
    ["es-419", "es"],
    ["fr-CA", "fr"],
    ["ar-EG", "ar"],
    ["ja-JP", "ja"],
    ["gsw", "de"],
  ] as const)
    it(`answers ${wish} in ${answer} (ux.md §5)`, () => {
      assert.equal(choose({ uiLocales: wish }, LANGUAGES), answer);
    });

  it("does not take one script for another: who reads traditional Chinese gets what they want next", () => {
    for (const wish of ["zh-TW", "zh-HK", "zh-Hant", "zh-Hant-TW"])
      assert.equal(choose({ accepted: [wish, "ja"] }, LANGUAGES), "ja", wish);
  });

  it("never answers in a language that is not enabled", () => {
    assert.equal(
      choose({ chosen: "de", uiLocales: "de", remembered: "de", accepted: ["de"] }, ["en"]),
      "en",
    );
  });

  it("never fails, whatever somebody sends", () => {
    const odd = [
      "",
      " ",
      "*",
      "-",
      "--",
      "x",
      "x-private",
      "i-klingon",
      "und",
      "root",
      "zh-min-nan",
      "en-US-u-ca-gregory",
      "de-DE-x-goethe",
      "sl-rozaj-biske-1994",
      "art-lojban",
      "a".repeat(200),
      "en_US",
      "en-US-",
      "-en",
      "en--US",
      "de;q=0.5",
      "../../etc/passwd",
      "__proto__",
      "constructor",
      "<script>",
      "\u0000",
      "🦄",
      "é",
      "123",
      "e",
      "de\tfr",
      "en-a-bbb-x-a-ccc",
      "de-1996-1996",
      "en-u-nu-latn-u-nu-thai",
      "sr-Latn",
      "zh-Hant-TW",
      "nb-NO",
      "iw",
    ];
    const random = Array.from({ length: 500 }, () => randomBytes(6).toString("latin1"));
    for (const tag of [...odd, ...random, odd.join(" ")]) {
      for (const wishes of [
        { chosen: tag },
        { uiLocales: tag },
        { remembered: tag },
        { accepted: [tag] },
      ])
        assert.ok(ENABLED.includes(choose(wishes)), tag);
    }
  });

  it("costs little even for a header full of languages", () => {
    const accepted = Array.from(
      { length: 4000 },
      (_, index) => `a${String.fromCharCode(97 + (index % 26))}-${100 + (index % 900)}`,
    );
    const startedAt = performance.now();
    assert.equal(choose({ accepted }), "en");
    assert.ok(performance.now() - startedAt < 1_000, `${performance.now() - startedAt} ms`);
  });
});
