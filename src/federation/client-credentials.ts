import type { JWK } from "jose";
import { errors } from "../errors.ts";
import type { Seal } from "../keys/seal.ts";
import type { IdentityProvider } from "../models/identity-provider.ts";
import type { Definition } from "./definition.ts";
import {
  isForDecryption,
  newConnectionKey,
  newDecryptionKey,
  openKeys,
  readPrivateKey,
} from "./oidc/keys.ts";

const TABLE = "identity_providers";
const MAX_SECRET = 4_096;

/** What proves to a provider which client we are: as it is to be from now on; what is `undefined` stays. */
export interface ClientCredentials {
  readonly secret: string | null | undefined;
  readonly keys: readonly JWK[] | null | undefined;
}

/** What there is already. */
interface Held {
  readonly hasSecret: boolean;
  readonly keys: readonly JWK[];
}
const NOTHING: Held = { hasSecret: false, keys: [] };

/** What a connection has. */
export function heldBy(seal: Seal, { id, clientSecretEnc, privateKeyEnc }: IdentityProvider): Held {
  return {
    hasSecret: clientSecretEnc !== null,
    keys: privateKeyEnc === null ? [] : openKeys(seal, id, privateKeyEnc),
  };
}

/**
 * Reads `client_secret` and `private_key`, a PEM, of which `null` takes one away.
 *
 * @throws AppError `invalid_connection`, without either.
 */
export async function readCredentials(
  input: Readonly<Record<string, unknown>>,
): Promise<ClientCredentials> {
  const { client_secret: secret, private_key: pem } = input;
  if (!isSecret(secret))
    throw errors.invalidConnection(
      `client_secret must be the secret as text of 1 to ${MAX_SECRET} characters`,
    );
  return { secret, keys: pem == null ? pem : [await readKey(pem)] };
}

function isSecret(value: unknown): value is string | null | undefined {
  return value == null || (typeof value === "string" && value !== "" && value.length <= MAX_SECRET);
}

async function readKey(pem: unknown): Promise<JWK> {
  try {
    return await readPrivateKey(typeof pem === "string" ? pem : "");
  } catch (error) {
    throw errors.invalidConnection(`private_key ${(error as Error).message}`);
  }
}

/**
 * Holds credentials against what a connection needs, and makes the keys that it needs and has not: for
 * `private_key_jwt`, and for what is encrypted for us.
 *
 * @throws AppError `invalid_connection` that says which is missing or too many.
 */
export async function completeCredentials(
  definition: Definition,
  given: ClientCredentials,
  held: Held = NOTHING,
): Promise<ClientCredentials> {
  const complete = await completeSigning(definition, given, {
    ...held,
    keys: held.keys.filter((key) => !isForDecryption(key)),
  });
  const { settings } = definition;
  const isEncrypted =
    "id_token_encrypted_response_alg" in settings &&
    settings.id_token_encrypted_response_alg !== undefined;
  const had = held.keys.filter(isForDecryption);
  const decrypting = isEncrypted && had.length === 0 ? [await newDecryptionKey()] : had;
  const kept = isEncrypted ? decrypting : [];
  if (complete.keys === undefined && kept.length === had.length) return complete;
  const signing = complete.keys ?? held.keys.filter((key) => !isForDecryption(key));
  const keys = [...(complete.keys === null ? [] : signing), ...kept];
  return { ...complete, keys: keys.length === 0 ? null : keys };
}

async function completeSigning(
  definition: Definition,
  given: ClientCredentials,
  held: Held,
): Promise<ClientCredentials> {
  const hasSecret = given.secret === undefined ? held.hasSecret : given.secret !== null;
  const hasKey = given.keys === undefined ? held.keys.length > 0 : given.keys !== null;
  const refuse = (detail: string) => errors.invalidConnection(detail);
  if (definition.kind === "saml") {
    if (hasSecret || hasKey)
      throw refuse("client_secret and private_key are for oidc and oauth2, so remove them");
    return given;
  }
  const { settings } = definition;
  const method = settings.token_endpoint_auth_method;
  if ("team_id" in settings && settings.team_id !== undefined) {
    if (!hasKey) throw refuse("private_key is missing: the .p8 file of the key, as PEM");
    if (hasSecret) throw refuse("client_secret is made from private_key, so remove it");
    return given;
  }
  if (method === "none" && (hasSecret || hasKey))
    throw refuse(
      "client_secret and private_key must be null where settings.token_endpoint_auth_method is none",
    );
  if (method === "none") return given;
  if (method === "private_key_jwt")
    return hasKey ? given : { ...given, keys: [await newConnectionKey()] };
  if (!hasSecret && (method !== undefined || !hasKey))
    throw refuse(
      "client_secret is missing; or set settings.token_endpoint_auth_method to private_key_jwt, for which a key is made, or to none",
    );
  return given;
}

/** The columns that keep credentials; only who holds the seal can read them again. */
export function sealCredentials(
  seal: Seal,
  id: string,
  { secret, keys }: ClientCredentials,
): Partial<Pick<IdentityProvider, "clientSecretEnc" | "privateKeyEnc">> {
  const close = (column: string, text: string) => seal.encrypt(text, { table: TABLE, column, id });
  const columns: ReturnType<typeof sealCredentials> = {};
  if (secret !== undefined)
    columns.clientSecretEnc = secret === null ? null : close("client_secret_enc", secret);
  if (keys !== undefined)
    columns.privateKeyEnc =
      keys === null ? null : close("private_key_enc", JSON.stringify({ keys }));
  return columns;
}
