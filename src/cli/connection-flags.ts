import { readFile } from "node:fs/promises";
import { z } from "zod";
import { errors } from "../errors.ts";
import { PRESET_NAMES, PRESETS } from "../federation/oidc/presets.ts";
import { readObject } from "./client-flags.ts";
import { readStdin, type Io } from "./io.ts";
import { readWhole } from "./paging.ts";
import { UsageError, type Option } from "./verb.ts";

interface Flag extends Option {
  readonly field: string;
  /** How the text of the command line becomes the value of the field; as it is unless said. */
  readonly as?: "number" | "file" | "pairs";
}

/** Options that are fields of the definition. */
const FIELDS = {
  name: { field: "name", type: "string", value: "NAME", help: "what people read on its button" },
  "issuer-url": {
    field: "issuer",
    type: "string",
    value: "URL",
    help: "the iss of an OpenID provider, letter by letter",
  },
  "entity-id": {
    field: "issuer",
    type: "string",
    value: "ID",
    help: "which identity provider of the SAML metadata; the only one unless said",
  },
  "client-id": {
    field: "client_id",
    type: "string",
    value: "ID",
    help: "the client (application) that you registered there",
  },
  "client-secret-file": {
    field: "client_secret",
    as: "file",
    type: "string",
    value: "FILE",
    help: "its secret, `-` for standard input; kept encrypted, never shown",
  },
  "private-key-file": {
    field: "private_key",
    as: "file",
    type: "string",
    value: "FILE",
    help: "a private key as PEM, such as Apple's .p8; kept encrypted, never shown",
  },
  "metadata-url": {
    field: "metadata_url",
    type: "string",
    value: "URL",
    help: "where its SAML metadata is",
  },
  "metadata-file": {
    field: "metadata_xml",
    as: "file",
    type: "string",
    value: "FILE",
    help: "or its SAML metadata as a file, `-` for standard input",
  },
  "name-id-format": {
    field: "name_id_format",
    type: "string",
    value: "FORMAT",
    help: "the NameID that is asked for: persistent, emailAddress, unspecified or transient",
  },
  "sign-requests": { field: "sign_requests", type: "boolean", help: "sign SAML requests; on" },
  "want-response-signed": {
    field: "want_response_signed",
    type: "boolean",
    help: "refuse SAML responses that are not signed themselves; off",
  },
  "want-encrypted": {
    field: "want_encrypted",
    type: "boolean",
    help: "refuse SAML assertions that are not encrypted; off",
  },
  "allow-idp-initiated": {
    field: "allow_idp_initiated",
    type: "boolean",
    help: "let the provider's portal begin, by a sign-in of our own; off",
  },
  "allow-legacy-crypto": {
    field: "allow_legacy_crypto",
    type: "boolean",
    help: "take SHA-1, CBC and RSA 1.5 from an old provider; off",
  },
  attribute: {
    field: "attribute_mapping",
    as: "pairs",
    type: "string",
    multiple: true,
    value: "CLAIM=THEIRS",
    help: "their claim or attribute for one of ours, as in given_name=vorname",
  },
  group: {
    field: "group_mapping",
    as: "pairs",
    type: "string",
    multiple: true,
    value: "OURS=THEIRS",
    help: "their value that makes somebody a member of our group, as in engineering=CN=eng,O=acme",
  },
  role: {
    field: "role_mapping",
    as: "pairs",
    type: "string",
    multiple: true,
    value: "OURS=THEIRS",
    help: "their value that gives somebody a role of ours, as in billing:admin=CN=fin,O=acme",
  },
  organization: {
    field: "organization",
    type: "string",
    value: "SLUG",
    help: "whose people sign in through it, who become its members",
  },
  linking: {
    field: "linking_policy",
    type: "string",
    value: "POLICY",
    help: "never, prompt, verified_email or isolated: what becomes of somebody whose address has an account; prompt",
  },
  "jit-provisioning": {
    field: "jit_provisioning",
    type: "boolean",
    help: "make an account for who has none; on",
  },
  "sync-profile": {
    field: "sync_profile",
    type: "boolean",
    help: "bring names up to date at each sign-in; off",
  },
  "trust-email-verified": {
    field: "trust_email_verified",
    type: "boolean",
    help: "believe it that addresses are verified, at domains that are proven to be its own; off",
  },
  "trusted-acr": {
    field: "trusted_acr_values",
    type: "string",
    multiple: true,
    value: "VALUE",
    help: "what of its acr or amr stands for two factors",
  },
  "keep-access": {
    field: "keep_access",
    type: "boolean",
    help: "keep the tokens it issues, encrypted; off",
  },
  "exchange-client": {
    field: "exchange_client_ids",
    type: "string",
    multiple: true,
    value: "CLIENT_ID",
    help: "client that may have these tokens by token exchange",
  },
  "show-button": {
    field: "show_button",
    type: "boolean",
    help: "offer it on the sign-in page; on",
  },
  order: {
    field: "display_order",
    as: "number",
    type: "string",
    value: "N",
    help: "its place among the buttons, the lowest first; 100",
  },
  enabled: { field: "enabled", type: "boolean", help: "let people sign in with it; on" },
} as const satisfies Record<string, Flag>;

/** The options of `connection add` and `connection update`. */
export const CONNECTION_OPTIONS = {
  ...FIELDS,
  setting: {
    type: "string",
    multiple: true,
    value: "NAME=VALUE",
    help: "one of its settings, as in pkce=false or token_endpoint_auth_method=private_key_jwt",
  },
  scope: {
    type: "string",
    value: "SCOPES",
    help: "what is asked for there, separated by spaces",
  },
  file: {
    type: "string",
    value: "FILE",
    help: "its definition as JSON, `-` for standard input; other options come on top",
  },
} as const satisfies Record<string, Option>;

/**
 * The definition that the command line gives: the file's, with the options on top.
 *
 * @throws UsageError; AppError `invalid_connection` where a file cannot be read.
 */
export async function readConnection(
  io: Io,
  values: Readonly<Record<string, unknown>>,
  verbName: string,
): Promise<Record<string, unknown>> {
  const { file, scope } = values;
  const given =
    typeof file === "string" ? await readObject(io, file, errors.invalidConnection) : {};
  for (const [name, flag] of Object.entries<Flag>(FIELDS))
    if (values[name] !== undefined)
      given[flag.field] = await readValue(io, { name, ...flag }, values[name], verbName);
  const settings = (values["setting"] ?? []) as readonly string[];
  if (settings.length > 0 || scope !== undefined)
    given["settings"] = {
      ...(given["settings"] as object | undefined),
      ...(typeof scope === "string" ? { scopes: scope.split(" ").filter(Boolean) } : {}),
      ...Object.fromEntries(
        settings.map((text) => {
          const [name, value] = pairOf("setting", text, verbName);
          return [name, asJson(value)];
        }),
      ),
    };
  return given;
}

/**
 * The parameters of a preset; one that is a list may be said several times.
 *
 * @throws UsageError
 */
export function readParameters(
  preset: string | undefined,
  texts: readonly string[],
  verbName: string,
): Record<string, unknown> {
  const known = PRESET_NAMES.find((name) => name === preset);
  const shape: object = known === undefined ? {} : PRESETS[known].parameters.shape;
  const parameters: Record<string, unknown> = {};
  for (const text of texts) {
    const [name, value] = pairOf("param", text, verbName);
    const isList = Reflect.get(shape, name) instanceof z.ZodArray;
    parameters[name] = isList ? [...((parameters[name] ?? []) as string[]), value] : value;
  }
  return parameters;
}

async function readValue(
  io: Io,
  { name, as }: Flag & { name: string },
  value: unknown,
  verbName: string,
): Promise<unknown> {
  if (as === "pairs")
    return Object.fromEntries(
      (value as readonly string[]).map((text) => pairOf(name, text, verbName)),
    );
  if (typeof value !== "string") return value;
  if (as === "number") return readWhole(name, value, verbName);
  return as === "file" ? readText(io, name, value) : value;
}

/** What is in a file or on standard input, without the line break at its end. */
async function readText(io: Io, name: string, path: string): Promise<string> {
  try {
    const text = path === "-" ? await readStdin(io) : await readFile(path, "utf8");
    return text.replace(/\r?\n$/, "");
  } catch (error) {
    throw errors.invalidConnection(`--${name} cannot be read: ${(error as Error).message}`);
  }
}

/** Two parts; the first one ends at the first `=`. */
function pairOf(flag: string, text: string, verbName: string): [string, string] {
  const at = text.indexOf("=");
  const [name, value] = [text.slice(0, at), text.slice(at + 1)];
  if (at < 1 || value === "")
    throw new UsageError(`--${flag} must be two parts with = between them, not ${text}.`, verbName);
  return [name, value];
}

/** Lists, objects, true, false and null are JSON; everything else is text, numbers too. */
function asJson(text: string): unknown {
  if (!/^(?:\[|\{|true$|false$|null$)/.test(text)) return text;
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}
