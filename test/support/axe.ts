import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import type { AxeResults } from "axe-core";
import type { Page } from "playwright-core";

const AXE = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");

/** What axe finds on a page in the light, and what the dark does to its contrasts. */
export async function axe(page: Page): Promise<string[]> {
  // What has no styles yet has no contrasts.
  await page.waitForLoadState();
  await page.evaluate(AXE);
  const run = async (colorScheme: "light" | "dark", options: string) => {
    await page.emulateMedia({ colorScheme, reducedMotion: "reduce" });
    const { violations, passes }: AxeResults = await page.evaluate(`axe.run(${options})`);
    assert.ok(passes.length > 0);
    return violations.flatMap(({ id, nodes }) =>
      nodes.map((node) => `${colorScheme}, ${id}: ${node.html}`),
    );
  };
  const dark = await run("dark", '{ runOnly: ["color-contrast"] }');
  return [...dark, ...(await run("light", ""))];
}
