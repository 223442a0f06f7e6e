import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { brotliCompressSync } from "node:zlib";
import type { Middleware } from "koa";
import { sha256 } from "../lib/secret.ts";

const DIRECTORY = fileURLToPath(new URL("../../views/assets/", import.meta.url));
const TYPES = {
  "app.css": "text/css",
  "ui.js": "text/javascript",
  "passkeys.js": "text/javascript",
  "check-session.js": "text/javascript",
  "favicon.svg": "image/svg+xml",
} as const;
export type Asset = keyof typeof TYPES;

/**
 * The few files that pages refer to, read once, and compressed when somebody first asks. Their addresses contain what they hold, so they never
 * go stale. Pages are not compressed: they hold secrets beside what others chose (BREACH).
 */
export class Assets {
  readonly #byPath = new Map<string, { body: Buffer; type: string }>();
  readonly #paths = new Map<Asset, string>();

  constructor() {
    for (const name of Object.keys(TYPES) as Asset[]) {
      const body = readFileSync(`${DIRECTORY}${name}`);
      const path = `/assets/${sha256(body).toString("hex").slice(0, 12)}/${name}`;
      this.#byPath.set(path, { body, type: TYPES[name] });
      this.#paths.set(name, path);
    }
  }

  href(name: Asset): string {
    return this.#paths.get(name) ?? "";
  }

  readonly middleware: Middleware = (ctx, next) => {
    const asset = this.#byPath.get(ctx.path);
    if (asset === undefined || (ctx.method !== "GET" && ctx.method !== "HEAD")) return next();
    ctx.type = asset.type;
    ctx.set("Cache-Control", "public, max-age=31536000, immutable");
    ctx.vary("Accept-Encoding");
    const isSmall = ctx.acceptsEncodings("br", "identity") === "br";
    if (isSmall) ctx.set("Content-Encoding", "br");
    ctx.body = isSmall ? compressed(ctx.path, asset.body) : asset.body;
    return undefined;
  };
}

/** Files by their addresses, which say what is in them. */
const smaller = new Map<string, Buffer>();

function compressed(path: string, body: Buffer): Buffer {
  const known = smaller.get(path) ?? brotliCompressSync(body);
  smaller.set(path, known);
  return known;
}
