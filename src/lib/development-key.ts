import { randomBytes } from "node:crypto";
import { linkSync, mkdirSync, readFileSync, unlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";

const KEY_BYTES = 32;

/**
 * The encryption key of a development installation: made once, kept in `<dataDir>/encryption.key` beside the database
 * it belongs to, readable by its owner only. Processes that start together end with one and the same key.
 *
 * @throws Error where the file is there but holds no key.
 */
export function developmentKey(dataDir: string): Buffer {
  const path = join(dataDir, "encryption.key");
  const existing = readKey(path);
  if (existing !== undefined) return existing;

  mkdirSync(dataDir, { recursive: true, mode: 0o700 });
  const draft = `${path}.${process.pid}`;
  writeFileSync(draft, `${randomBytes(KEY_BYTES).toString("base64")}\n`, { mode: 0o600 });
  try {
    // A link appears complete or not at all, and only one process can make it.
    linkSync(draft, path);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw error;
  } finally {
    unlinkSync(draft);
  }
  const made = readKey(path);
  if (made === undefined) throw new Error(`${path} was just written and is gone`);
  return made;
}

function readKey(path: string): Buffer | undefined {
  let text: string;
  try {
    text = readFileSync(path, "utf8");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw error;
  }
  const key = Buffer.from(text.trim(), "base64");
  if (key.length !== KEY_BYTES)
    throw new Error(
      `${path} holds no encryption key; restore it, or remove the whole data directory`,
    );
  return key;
}
