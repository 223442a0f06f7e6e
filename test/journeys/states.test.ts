import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { brotliCompressSync } from "node:zlib";
import type { AxeResults } from "axe-core";
import type { Browser, BrowserContext, BrowserContextOptions, Page } from "playwright-core";
import { fixtures } from "../../src/demo/view-fixtures.ts";
import { aBrowser } from "../support/browser.ts";
import { aServer, type TestServer } from "../support/server.ts";

const AXE = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");

/** ux.md §0: the sign-in page with its style and script fits the first flight of a new connection. */
const BUDGET = 14_000;
const MOST_REQUESTS = 6;

const states = Object.entries(fixtures).flatMap(([name, all]) =>
  Object.keys(all).map((state) => `${name}/${state}`),
);

/** What a keyboard reaches on a page, one after the other, and what it should have reached. */
interface Walk {
  readonly stops: readonly Stop[];
  readonly expected: readonly string[];
}

/** How many times Tab is pressed in a field of a date before the next: it has a stop for each of its parts. */
const PARTS_OF_A_DATE = 5;

interface Stop {
  readonly what: string;
  readonly outline: string;
  readonly isHidden: boolean;
  readonly top: number;
  readonly bottom: number;
  /** From the side where reading begins. */
  readonly start: number;
}

/**
 * Runs in a page of the gallery: puts another in its place, and runs its scripts. That is the page as it would be
 * loaded, without what loading costs; the style sheet is the same for all.
 */
const SHOW = `async (path) => {
  const html = await (await fetch(path)).text();
  const other = new DOMParser().parseFromString(html, "text/html");
  for (const { name, value } of other.documentElement.attributes)
    document.documentElement.setAttribute(name, value);
  document.title = other.title;
  document.body = document.adoptNode(other.body);
  globalThis.shown = (globalThis.shown ?? 0) + 1;
  scrollTo(0, 0);
  const scripts = [...document.body.querySelectorAll("script[src]")];
  await Promise.all(scripts.map(({ src }) => import(src + "?" + globalThis.shown)));
}`;

/** Runs in the page: everything that can have the focus and is shown, and how to name it. */
const IN_PAGE = `
  const nameOf = (element) => element.id || element.className || element.textContent.trim().slice(0, 30);
  const isShown = (element) => element.checkVisibility() && element.tabIndex >= 0 && !element.disabled;
  const isNextOfGroup = (element) =>
    element.type === "radio" &&
    [...document.getElementsByName(element.name)].some((other) => other !== element && (other.checked || other.compareDocumentPosition(element) & 4) && !element.checked);
  const reachable = () =>
    [...document.querySelectorAll("a[href], button, input, select, textarea, summary, [tabindex]")]
      .filter((element) => isShown(element) && !isNextOfGroup(element) && element.type !== "hidden");
`;

describe("every state of every page", function () {
  this.timeout(600_000);
  let server: TestServer;
  let browser: Browser;

  before(async () => {
    [server, browser] = await Promise.all([aServer(), aBrowser()]);
  });
  after(async () => {
    await browser?.close();
    await server?.stop();
  });

  /** Looks at every state, two at a time, and gathers what is wrong. */
  async function lookAtAll(
    options: BrowserContextOptions,
    query: string,
    look: (page: Page) => Promise<readonly string[]>,
    prelude = "",
    which: readonly string[] = states,
  ): Promise<string[]> {
    const waiting = [...which];
    const problems: string[] = [];
    const visit = async (context: BrowserContext) => {
      const page = await context.newPage();
      await page.goto(`${server.issuer}/dev/pages/${which[0]}?${query}`);
      await page.evaluate(prelude);
      for (let state = waiting.shift(); state !== undefined; state = waiting.shift()) {
        await page.evaluate(`(${SHOW})("/dev/pages/${state}?${query}")`);
        for (const problem of await look(page)) problems.push(`${state}: ${problem}`);
      }
    };
    const contexts = await Promise.all(
      [1, 2].map(() => browser.newContext({ ...options, bypassCSP: true })),
    );
    await Promise.all(contexts.map(visit));
    await Promise.all(contexts.map((context) => context.close()));
    return problems;
  }

  it("has nothing for axe to find, in the light and in the dark (ux.md §9)", async () => {
    const problems = await lookAtAll(
      { reducedMotion: "reduce", colorScheme: "light" },
      "ui_lang=en",
      async (page) => {
        const light: AxeResults = await page.evaluate(
          "axe.run({ preload: false, resultTypes: ['violations'] })",
        );
        await page.emulateMedia({ colorScheme: "dark" });
        const dark: AxeResults = await page.evaluate(
          'axe.run({ preload: false, runOnly: ["color-contrast"] })',
        );
        await page.emulateMedia({ colorScheme: "light" });
        assert.ok(light.passes.length > 0);
        return [...light.violations, ...dark.violations].flatMap(({ id, nodes }) =>
          nodes.map((node) => `${id}: ${node.html}`),
        );
      },
      AXE,
    );
    assert.deepEqual(problems, []);
  });

  for (const locale of ["de", "ja", "ar"])
    it(`fits a screen 320 pixels wide without scrolling sideways: ${locale} (WCAG 2.2 §1.4.10)`, async () => {
      const problems = await lookAtAll(
        { viewport: { width: 320, height: 640 } },
        `ui_lang=${locale}`,
        async (page) => {
          await page.evaluate(
            "document.querySelectorAll('details').forEach((each) => { each.open = true; })",
          );
          const tooWide: number = await page.evaluate(
            "document.documentElement.scrollWidth - document.documentElement.clientWidth",
          );
          return tooWide === 0 ? [] : [`${tooWide} pixels too wide`];
        },
      );
      assert.deepEqual(problems, []);
    });

  for (const locale of ["en", "ar"])
    it(`can be used with a keyboard alone, in the order in which it is read, and shows where the focus is: ${locale} (ux.md §1.6, WCAG 2.2 §2.4.3, §2.4.7)`, async () => {
      const problems = await lookAtAll({}, `ui_lang=${locale}`, async (page) =>
        problemsOf(await walkThrough(page)),
      );
      assert.deepEqual(problems, []);
    });

  /** Presses Tab from the first thing on the page to the last; the page notes where the focus comes. */
  async function walkThrough(page: Page): Promise<Walk> {
    // Where a decision is asked for, the buttons sleep for half a second.
    await page.locator("[data-settle] button:disabled").first().waitFor({ state: "detached" });
    const { expected, dates }: { expected: string[]; dates: number } = await page.evaluate(
      `(() => {
        ${IN_PAGE}
        const all = reachable();
        globalThis.stops = new Map();
        document.body.addEventListener("focusin", ({ target }) => {
          if (stops.has(target)) return;
          const { outlineStyle, outlineWidth } = getComputedStyle(target);
          const { top, bottom, left, right } = target.getBoundingClientRect();
          const start = document.documentElement.dir === "rtl" ? innerWidth - right : left;
          stops.set(target, {
            what: nameOf(target),
            outline: outlineStyle + " " + outlineWidth,
            isHidden: target.matches("[aria-hidden=true], [aria-hidden=true] *"),
            top: top + scrollY, bottom: bottom + scrollY, start,
          });
        });
        document.activeElement.blur();
        all[0].focus();
        return { expected: all.map(nameOf), dates: document.querySelectorAll("input[type=date]").length };
      })()`,
    );
    const presses = expected.length - 1 + dates * PARTS_OF_A_DATE;
    for (let pressed = 0; pressed < presses; pressed += 1) await page.keyboard.press("Tab");
    const stops: Stop[] = await page.evaluate("[...stops.values()]");
    return { stops, expected };
  }

  function problemsOf({ stops, expected }: Walk): string[] {
    const reached = stops.map(({ what }) => what);
    const problems: string[] = [];
    for (const what of expected)
      if (!reached.includes(what)) problems.push(`${what} is not reached`);
    for (const { what, outline, isHidden } of stops) {
      if (outline !== "solid 3px") problems.push(`${what} has the focus, and nobody sees it`);
      if (isHidden) problems.push(`${what} has the focus, and no reader says so`);
    }
    // The link that skips to the content is above everything while it has the focus.
    for (const [index, stop] of stops.entries()) {
      const before = stops[index - 1];
      if (index < 2 || before === undefined) continue;
      const isBelow = stop.top >= before.bottom - 1;
      const isBeside = stop.bottom > before.top && stop.start >= before.start;
      if (!isBelow && !isBeside) problems.push(`${stop.what} comes after ${before.what}`);
    }
    return problems;
  }

  describe("the sign-in page", () => {
    const signIn = states.filter((state) => state.startsWith("login/"));

    /** A page and everything that it loads: where from, and how large it is when compressed. */
    async function load(state: string): Promise<{ url: string; size: number }[]> {
      const context = await browser.newContext();
      try {
        const page = await context.newPage();
        const bodies: Promise<{ url: string; size: number }>[] = [];
        page.on("response", (response) =>
          bodies.push(
            response.body().then((body) => ({
              url: response.url(),
              size: brotliCompressSync(body).length,
            })),
          ),
        );
        await page.goto(`${server.issuer}/dev/pages/${state}`, { waitUntil: "load" });
        const icon = await page.getAttribute("link[rel=icon]", "href");
        const loaded = await Promise.all(bodies);
        if (icon === null || loaded.some(({ url }) => url.endsWith(icon))) return loaded;
        const url = new URL(icon, server.issuer).href;
        const body = Buffer.from(await (await fetch(url)).arrayBuffer());
        return [...loaded, { url, size: brotliCompressSync(body).length }];
      } finally {
        await context.close();
      }
    }

    for (const state of signIn)
      it(`arrives in the first flight, with nothing from anybody else: ${state} (ux.md §0)`, async () => {
        const loaded = await load(state);
        const total = loaded.reduce((sum, { size }) => sum + size, 0);
        assert.ok(total <= BUDGET, `${total} bytes: ${JSON.stringify(loaded)}`);
        assert.ok(loaded.length <= MOST_REQUESTS, `${loaded.length} requests`);
        assert.ok(loaded.some(({ url }) => url.endsWith(".css") || url.includes("style.css")));
        assert.deepEqual(
          loaded.filter(({ url }) => new URL(url).origin !== server.issuer),
          [],
        );
      });
  });
});
