/** What every server under measurement is asked about: the same issuer, clients, APIs and people on each. */

export const ISSUER = "https://id.bench.example";
/** The further issuer of a Lintel that signs with EdDSA, which its preset `production` does not. */
export const EDWARDS_PATH = "/edwards";
export const PASSWORD = "correct horse battery staple";
export const SECRET = "not-a-secret-for-it-is-written-here-and-loopback-only";
export const REDIRECT_URI = "https://rp.bench.example/callback";
export const SIGNED_OUT_URI = "https://rp.bench.example/signed-out";
export const SCOPE = "openid profile email";

/** An application of people, one that acts for itself, and one that does so at the issuer with EdDSA. */
export const CLIENTS = { web: "bench-web", machine: "bench-machine", edwards: "bench-edwards" };
/** APIs that take JWTs, by what those are signed with. */
export const APIS = {
  ES256: "https://es256.api.bench.example/",
  RS256: "https://rs256.api.bench.example/",
  EdDSA: "https://eddsa.api.bench.example/",
};
export const PERMISSION = "read";

/** Somebody who signs in, always from the same network. */
export interface Person {
  readonly email: string;
  readonly address: string;
  /** Who has a passkey signs in with that. */
  readonly passkey?: Passkey;
}

export interface Passkey {
  /** As WebAuthn writes it, in base64url. */
  readonly id: string;
  readonly userHandle: string;
  /** PKCS #8, in base64. */
  readonly privateKey: string;
  /** A COSE_Key, in base64. */
  readonly publicKey: string;
}

/** One server under measurement. */
export interface Site {
  readonly name: string;
  /** Where it listens, such as `http://127.0.0.1:3000`. */
  readonly origin: string;
  /** The path of the issuer that signs with EdDSA. */
  readonly edwards: string;
  readonly people: readonly Person[];
}

/** People without passkeys, and as many with them. */
export function peopleNamed(kind: "typist" | "holder", count: number): Person[] {
  const network = kind === "typist" ? 10 : 11;
  return Array.from({ length: count }, (_, index) => ({
    email: `${kind}-${index}@example.com`,
    address: `${network}.${index >> 8}.${index & 255}.1`,
  }));
}
