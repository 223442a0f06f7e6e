import assert from "node:assert/strict";
import type { Visit } from "../../src/conformance/browser.ts";
import type { Answer, WebBrowser } from "../support/rp.ts";

/**
 * Goes through our pages as the suite's browser does with its configuration: no modern scripts, elements by their ids,
 * a task whose address does not match is passed over if it is optional. Says which pictures were taken on the way.
 */
export async function visit(
  browser: WebBrowser,
  origin: string,
  visits: readonly Visit[],
  start: string,
): Promise<{ at: string; page: Answer; pictures: string[] }> {
  const first = new URL(start, origin).href;
  const entry = visits.find(({ match }) => matches(match, first));
  assert.ok(entry, `no entry for ${first}`);
  let { at, page } = await follow(browser, origin, first);
  const pictures: string[] = [];
  for (const { task, match, optional, commands = [] } of entry.tasks) {
    if (!matches(match, at)) {
      assert.ok(optional, `${task}: at ${at}, which does not match ${match}\n${page.text}`);
      continue;
    }
    const typed: Record<string, string> = {};
    for (const [verb, by, id, ...rest] of commands) {
      if (at.startsWith("https://suite.")) break;
      assert.equal(by, "id");
      const element = elementOf(page.text, String(id));
      if (element === undefined) {
        assert.ok(rest.includes("optional"), `${task}: no #${id} at ${at}\n${page.text}`);
        continue;
      }
      if (verb === "text") typed[nameOf(element)] = String(rest[0]);
      if (verb === "wait" && String(rest[2]).startsWith("update-image")) pictures.push(at);
      const link = /^<a [^>]*href="([^"]*)"/.exec(element)?.[1];
      if (verb === "click" && link !== undefined)
        ({ at, page } = await follow(browser, origin, link.replaceAll("&amp;", "&"), page));
      else if (verb === "click")
        ({ at, page } = await press(browser, origin, { at, page, typed, element }));
    }
  }
  return { at, page, pictures };
}

function matches(pattern: string, address: string): boolean {
  return new RegExp(
    `^${pattern.replaceAll(/[.?+^${}()|[\]\\]/g, "\\$&").replaceAll("*", ".*")}$`,
    "s",
  ).test(address);
}

function elementOf(html: string, id: string): string | undefined {
  return new RegExp(`<[a-z]+ [^>]*id="${id}"[^>]*>`).exec(html)?.[0];
}

function nameOf(element: string): string {
  return /\bname="([^"]*)"/.exec(element)?.[1] ?? "";
}

/** Sends the form around a button, with its hidden fields, what was typed, what is ticked, and the button itself. */
async function press(
  browser: WebBrowser,
  origin: string,
  now: { at: string; page: Answer; typed: Record<string, string>; element: string },
): Promise<{ at: string; page: Answer }> {
  const forms = [...now.page.text.matchAll(/<form[^>]*>.*?<\/form>/gs)].map(([form]) => form);
  const form = forms.find((each) => each.includes(now.element)) ?? "";
  const action = /^<form[^>]*\saction="([^"]*)"/.exec(form)?.[1]?.replaceAll("&amp;", "&");
  const fields: Record<string, string | string[]> = {};
  for (const [input] of form.matchAll(/<input [^>]*>/g)) {
    const value = /\bvalue="([^"]*)"/.exec(input)?.[1] ?? "";
    if (/type="checkbox"/.test(input) && !/\schecked/.test(input)) continue;
    if (/\sdisabled/.test(input)) continue;
    const name = nameOf(input);
    const before = fields[name];
    fields[name] = before === undefined ? value : [before, value].flat();
  }
  Object.assign(fields, now.typed);
  const button = /\bvalue="([^"]*)"/.exec(now.element)?.[1];
  if (nameOf(now.element) !== "") fields[nameOf(now.element)] = button ?? "";
  const answer = await browser.submit(new URL(action ?? "", now.at).href, fields);
  return answer.location === undefined
    ? { at: answer.url.href, page: answer }
    : follow(browser, origin, answer.location, answer);
}

/** Follows redirects while they stay here. */
async function follow(
  browser: WebBrowser,
  origin: string,
  start: string,
  from?: Answer,
): Promise<{ at: string; page: Answer }> {
  let at = start;
  let page = from;
  for (let steps = 0; steps < 10; steps += 1) {
    if (new URL(at).origin !== origin && page !== undefined) return { at, page };
    page = await browser.open(at);
    if (page.location === undefined) return { at, page };
    at = page.location;
  }
  throw new Error(`never arrives: ${at}`);
}
