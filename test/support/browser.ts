import { randomBytes } from "node:crypto";
import { createReadStream, createWriteStream, existsSync, readFileSync } from "node:fs";
import { rename } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pipeline } from "node:stream/promises";
import { createBrotliDecompress } from "node:zlib";
import { chromium, type Browser } from "playwright-core";

const INSTALLED = [
  "/usr/bin/chromium",
  "/usr/bin/chromium-browser",
  "/usr/bin/google-chrome",
  "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
  "C:\\Program Files\\Google\\Chrome\\Application\\chrome.exe",
];

/**
 * A real Chromium: the one of CHROMIUM_PATH, or the one of the packages where it runs, or else one that is installed.
 * The one of the packages is everywhere the same, and has no windows to draw, which is half of what another costs.
 */
export async function aBrowser(): Promise<Browser> {
  const given = process.env["CHROMIUM_PATH"];
  const isPackaged = process.platform === "linux" && process.arch === "x64";
  try {
    return await chromium.launch({
      executablePath: given ?? (isPackaged ? await unpack() : installed()),
      args: ["--no-sandbox", "--disable-gpu"],
    });
  } catch (cause) {
    throw new Error("The browser tests need Chromium: install it, or set CHROMIUM_PATH to it.", {
      cause,
    });
  }
}

function installed(): string {
  const found = INSTALLED.find((path) => existsSync(path));
  if (found === undefined) throw new Error("none is installed");
  return found;
}

/** Unpacks the Chromium of the packages, once for each of its versions; of two processes one wins. */
async function unpack(): Promise<string> {
  const main = import.meta.resolve("@sparticuz/chromium");
  const manifest = readFileSync(new URL("../package.json", main), "utf8");
  const { version } = JSON.parse(manifest) as { version: string };
  const path = join(tmpdir(), `lintel-chromium-${version}-${process.getuid?.() ?? 0}`);
  if (existsSync(path)) return path;
  const partial = `${path}.${randomBytes(4).toString("hex")}`;
  await pipeline(
    createReadStream(new URL("../bin/chromium.br", main)),
    createBrotliDecompress(),
    createWriteStream(partial, { mode: 0o700 }),
  );
  await rename(partial, path);
  return path;
}
