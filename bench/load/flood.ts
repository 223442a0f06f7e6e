import { randomInt } from "node:crypto";
import { setTimeout as delay } from "node:timers/promises";
import { authorizationPath } from "./visitor.ts";
import { Browser } from "./browser.ts";
import type { Flow } from "./flows.ts";

const BUSY = 503;
/** Whoever has tried too often, whose password is not looked at. */
const REFUSED = 429;

/**
 * Wrong passwords for people that there are not, each from another network, so that nothing slows them down but hashing.
 * Whoever is told to come back later does so. An operation is a password that was checked.
 */
export const flood: Flow = async (place, slots) => {
  let tries = 0;
  const address = () => `${12 + (tries >> 16)}.${(tries >> 8) & 255}.${tries & 255}.1`;
  const browsers: Browser[] = [];
  for (let slot = 0; slot < slots; slot += 1) {
    const browser = new Browser(place.pool, address());
    await browser.open(authorizationPath());
    browsers.push(browser);
  }
  return async (slot) => {
    tries += 1;
    const browser = browsers[slot]?.from(address());
    if (browser === undefined) throw new Error("nobody is there");
    const fields = { username: `nobody-${tries}@example.com`, password: `a guess, the ${tries}th` };
    let answer = await browser.submit(fields);
    while (answer.status === BUSY) {
      // Not all in step: people are not.
      await delay(randomInt(1000, 2000));
      answer = await browser.submit(fields);
    }
    if (answer.status === REFUSED || !/data-page="(?:login|password)"/.test(answer.text))
      throw new Error(`a guess ends at ${answer.status} ${answer.text.slice(0, 300)}`);
  };
};
