import { existsSync } from "node:fs";
import chromium from "@sparticuz/chromium";
import { chromium as playwright, type Browser } from "playwright-core";

const INSTALLED = [
  "/usr/bin/chromium",
  "/usr/bin/chromium-browser",
  "/usr/bin/google-chrome",
  "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
  "C:\\Program Files\\Google\\Chrome\\Application\\chrome.exe",
];

/**
 * A real Chromium: the one of CHROMIUM_PATH, one that is installed, or else the one that came with the packages.
 */
export async function aBrowser(): Promise<Browser> {
  const given = process.env["CHROMIUM_PATH"] ?? INSTALLED.find((path) => existsSync(path));
  try {
    return await playwright.launch(
      given === undefined
        ? {
            executablePath: await chromium.executablePath(),
            args: ["--no-sandbox", "--disable-gpu"],
          }
        : { executablePath: given, args: ["--no-sandbox"] },
    );
  } catch (cause) {
    throw new Error("The browser tests need Chromium: install it, or set CHROMIUM_PATH to it.", {
      cause,
    });
  }
}
