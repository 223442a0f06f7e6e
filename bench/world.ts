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

/** An application: it shows {@link SECRET}, or signs with a key that the server fetches from its `jwks_uri`. */
export interface Caller {
  readonly id: string;
  /** PKCS #8, in base64, of an EC key on P-256. */
  readonly privateKey?: string;
}

/** What a browser and an application keep of somebody who signed in before the run. */
export interface Member {
  /** The whole `Cookie` header. */
  readonly cookie: string;
  readonly accessToken: string;
  readonly refreshToken: string;
  /** Which of the crowd's callers the tokens are of. */
  readonly caller: number;
}

/** Many people, each signed in already, and the applications that they use. */
export interface Crowd {
  readonly callers: readonly Caller[];
  readonly members: readonly Member[];
}

/** One server under measurement. */
export interface Site {
  readonly name: string;
  /** Where it listens, such as `http://127.0.0.1:3000`. */
  readonly origin: string;
  /** The path of the issuer that signs with EdDSA. */
  readonly edwards: string;
  readonly people: readonly Person[];
  /** Who asks instead of a few of the people, who would be the same rows over and over again. */
  readonly crowd?: Crowd;
}

/** People without passkeys, and as many with them. */
export function peopleNamed(kind: "typist" | "holder", count: number): Person[] {
  const network = kind === "typist" ? 10 : 11;
  return Array.from({ length: count }, (_, index) => ({
    email: `${kind}-${index}@example.com`,
    address: `${network}.${index >> 8}.${index & 255}.1`,
  }));
}
