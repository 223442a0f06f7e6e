import {
  createHash,
  createSign,
  generateKeyPairSync,
  randomBytes,
  type KeyObject,
} from "node:crypto";
import { isoCBOR } from "@simplewebauthn/server/helpers";

/** What a browser gives its authenticator; only what this one looks at. */
interface RequestOptions {
  readonly challenge: string;
  readonly rpId?: string;
}
interface CreationOptions {
  readonly challenge: string;
  readonly rp: { readonly id?: string };
  readonly user: { readonly id: string };
}

/** What an answer says otherwise than an honest one: what attacks are made of. */
export interface Twist {
  readonly origin?: string;
  readonly rpId?: string;
  readonly type?: string;
  readonly challenge?: string;
  /** Further members of the client data, such as `crossOrigin`. */
  readonly clientData?: Readonly<Record<string, unknown>>;
  readonly isPresent?: boolean;
  readonly isVerified?: boolean;
  readonly isBackupEligible?: boolean;
  readonly isBackedUp?: boolean;
  readonly counter?: number;
  readonly userHandle?: string | undefined;
  /** Where the browser says that it is; in the same device unless said. */
  readonly attachment?: "platform" | "cross-platform";
  /** The id that the answer claims to be of. */
  readonly id?: string;
}

const FLAGS = { present: 1, verified: 4, backupEligible: 8, backedUp: 16, attested: 64 };

/** An authenticator with one ES256 key pair, and the browser around it (WebAuthn §6). It does what it is told. */
export class SoftwareAuthenticator {
  readonly id: string;
  readonly aaguid: string;
  readonly #origin: string;
  readonly #keys: { publicKey: KeyObject; privateKey: KeyObject };
  #userHandle: string | undefined;
  counter = 0;
  /** Whether each use counts; synced passkeys stay at zero. */
  readonly counts: boolean;

  constructor(
    origin: string,
    options: { aaguid?: string; counts?: boolean; id?: string; userHandle?: string } = {},
  ) {
    this.#origin = origin;
    this.id = options.id ?? randomBytes(32).toString("base64url");
    this.aaguid = options.aaguid ?? "00000000-0000-0000-0000-000000000000";
    this.counts = options.counts ?? false;
    this.#userHandle = options.userHandle;
    this.#keys = generateKeyPairSync("ec", { namedCurve: "P-256" });
  }

  /** Answers `navigator.credentials.create()`, as JSON. */
  create({ challenge, rp, user }: CreationOptions, twist: Twist = {}): string {
    this.#userHandle = user.id;
    const authData = this.#authenticatorData(rp.id ?? "", twist, this.#attested(twist));
    const attestationObject = isoCBOR.encode(
      new Map<string, string | Uint8Array | Map<string, string>>([
        ["fmt", "none"],
        ["attStmt", new Map<string, string>()],
        ["authData", new Uint8Array(authData)],
      ]),
    );
    return this.#answer(twist, {
      clientDataJSON: this.#clientData("webauthn.create", challenge, twist).toString("base64url"),
      attestationObject: Buffer.from(attestationObject).toString("base64url"),
      transports: ["internal", "hybrid"],
    });
  }

  /** Answers `navigator.credentials.get()`, as JSON. */
  get({ challenge, rpId = "" }: RequestOptions, twist: Twist = {}): string {
    if (this.counts) this.counter += 1;
    const authData = this.#authenticatorData(rpId, twist);
    const clientData = this.#clientData("webauthn.get", challenge, twist);
    const signed = Buffer.concat([authData, createHash("sha256").update(clientData).digest()]);
    return this.#answer(twist, {
      clientDataJSON: clientData.toString("base64url"),
      authenticatorData: authData.toString("base64url"),
      signature: createSign("sha256").update(signed).sign(this.#keys.privateKey, "base64url"),
      userHandle: "userHandle" in twist ? twist.userHandle : this.#userHandle,
    });
  }

  /** The passkey as the virtual authenticator of a browser takes it (Chrome DevTools Protocol, WebAuthn.Credential). */
  toVirtual(rpId: string) {
    const base64 = (text: string) => Buffer.from(text, "base64url").toString("base64");
    return {
      credentialId: base64(this.id),
      isResidentCredential: true,
      rpId,
      privateKey: this.#keys.privateKey.export({ format: "der", type: "pkcs8" }).toString("base64"),
      userHandle: base64(this.#userHandle ?? ""),
      signCount: this.counter,
      backupEligibility: !this.counts,
      backupState: !this.counts,
    };
  }

  #answer({ id = this.id, attachment = "platform" }: Twist, response: object): string {
    return JSON.stringify({
      id,
      rawId: id,
      type: "public-key",
      authenticatorAttachment: attachment,
      response,
      clientExtensionResults: {},
    });
  }

  #clientData(type: string, challenge: string, twist: Twist): Buffer {
    const { clientData = { crossOrigin: false } } = twist;
    return Buffer.from(
      JSON.stringify({
        type: twist.type ?? type,
        challenge: twist.challenge ?? challenge,
        origin: twist.origin ?? this.#origin,
        ...clientData,
      }),
    );
  }

  #authenticatorData(rpId: string, twist: Twist, attested?: Buffer): Buffer {
    const { isPresent = true, isVerified = true } = twist;
    const { isBackupEligible = !this.counts, isBackedUp = isBackupEligible } = twist;
    const flags =
      (isPresent ? FLAGS.present : 0) |
      (isVerified ? FLAGS.verified : 0) |
      (isBackupEligible ? FLAGS.backupEligible : 0) |
      (isBackedUp ? FLAGS.backedUp : 0) |
      (attested === undefined ? 0 : FLAGS.attested);
    const counter = Buffer.alloc(4);
    counter.writeUInt32BE(twist.counter ?? this.counter);
    return Buffer.concat([
      createHash("sha256")
        .update(twist.rpId ?? rpId)
        .digest(),
      Buffer.from([flags]),
      counter,
      attested ?? Buffer.alloc(0),
    ]);
  }

  /** WebAuthn §6.5.1: who made the key, what it is called, and the key as a COSE_Key (RFC 9053 §7.1.1). */
  #attested({ id = this.id }: Twist): Buffer {
    const credentialId = Buffer.from(id, "base64url");
    const length = Buffer.alloc(2);
    length.writeUInt16BE(credentialId.length);
    const { x = "", y = "" } = this.#keys.publicKey.export({ format: "jwk" });
    const key = isoCBOR.encode(
      new Map<number, number | Uint8Array>([
        [1, 2],
        [3, -7],
        [-1, 1],
        [-2, new Uint8Array(Buffer.from(x, "base64url"))],
        [-3, new Uint8Array(Buffer.from(y, "base64url"))],
      ]),
    );
    return Buffer.concat([
      Buffer.from(this.aaguid.replaceAll("-", ""), "hex"),
      length,
      credentialId,
      Buffer.from(key),
    ]);
  }
}
