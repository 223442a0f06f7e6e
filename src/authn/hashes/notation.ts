import { readHash } from "./read.ts";
import { toBase64 } from "./scheme.ts";

/** How one product writes a hash, and what we store for it. */
type Notation = readonly [pattern: RegExp, stored: (groups: Groups) => string];
type Groups = Readonly<Record<string, string>>;

/** Salts of Django and Werkzeug are the text itself; a `$` ends them. */
const NOTATIONS: readonly Notation[] = [
  // Django, which names the algorithm before the hash of another library.
  [/^(?:bcrypt|argon2)\$(?<hash>\$.+|argon2.+)$/, ({ hash = "" }) => `$${hash.replace(/^\$/, "")}`],
  [/^bcrypt_sha256\$(?<hash>\$2.+)$/, ({ hash }) => `$django-bcrypt-sha256${hash}`],
  [
    /^pbkdf2_(?<digest>sha1|sha256)\$(?<count>\d+)\$(?<salt>[^$]+)\$(?<key>[^$]+)$/,
    ({ digest, count, salt = "", key = "" }) =>
      `$pbkdf2-${digest}$${count}$${fromText(salt)}$${key}`,
  ],
  [
    /^scrypt\$(?<n>\d+)\$(?<salt>[^$]+)\$(?<r>\d+)\$(?<p>\d+)\$(?<key>[^$]+)$/,
    ({ n, salt = "", r, p, key }) => `$scrypt$ln=${log2(n)},r=${r},p=${p}$${fromText(salt)}$${key}`,
  ],
  // Werkzeug and Flask.
  [
    /^pbkdf2:(?<digest>sha1|sha256|sha512):(?<count>\d+)\$(?<salt>[^$]+)\$(?<key>[0-9a-f]+)$/,
    ({ digest, count, salt = "", key = "" }) =>
      `$pbkdf2-${digest}$${count}$${fromText(salt)}$${fromHex(key)}`,
  ],
  [
    /^scrypt:(?<n>\d+):(?<r>\d+):(?<p>\d+)\$(?<salt>[^$]+)\$(?<key>[0-9a-f]+)$/,
    ({ n, r, p, salt = "", key = "" }) =>
      `$scrypt$ln=${log2(n)},r=${r},p=${p}$${fromText(salt)}$${fromHex(key)}`,
  ],
  // Directories (RFC 2307) and Spring.
  [/^\{SSHA\}(?<both>.+)$/i, ({ both }) => `$ssha-sha1$${both}`],
  [/^\{SSHA(?<size>256|512)\}(?<both>.+)$/i, ({ size, both }) => `$ssha-sha${size}$${both}`],
  [/^\{(?:CRYPT|BCRYPT|ARGON2)\}(?<hash>\$.+)$/i, ({ hash = "" }) => hash],
  // Argon2 before it wrote its version.
  [/^\$(?<kind>argon2id?|argon2d)\$(?<rest>m=.+)$/, ({ kind, rest }) => `$${kind}$v=16$${rest}`],
];

/**
 * What to store for a hash that another product made, in its own notation or as we store it: `docs/import.md`.
 * `undefined` where we could not verify it, or it asks for more work than a sign-in may cost.
 */
export function storedForm(written: string): string | undefined {
  const stored = rewrite(written);
  return readHash(stored) === undefined ? undefined : stored;
}

function rewrite(written: string): string {
  for (const [pattern, stored] of NOTATIONS) {
    const groups = pattern.exec(written)?.groups;
    if (groups !== undefined) return stored(groups);
  }
  return written;
}

function fromText(salt: string): string {
  return toBase64(Buffer.from(salt));
}

function fromHex(key: string): string {
  return toBase64(Buffer.from(key, "hex"));
}

/** The logarithm of scrypt's cost, which is a power of two; of another number, what no reader takes. */
function log2(n = ""): number {
  return Math.log2(Number(n));
}
