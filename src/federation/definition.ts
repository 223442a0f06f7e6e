import { z } from "zod";
import { serviceUri } from "../clients/addresses.ts";
import { errors } from "../errors.ts";
import { describe, problemsIn } from "../lib/problems.ts";
import type { IdentityProvider } from "../models/identity-provider.ts";
import { applyPreset, PRESET_NAMES, type PresetName } from "./oidc/presets.ts";
import { oauth2Settings, oidcContradictions, oidcIssuer, oidcSettings } from "./oidc/settings.ts";
import { samlSettings } from "./saml/settings.ts";

/** Formats of SAML NameIDs (SAML Core §8.3), by the end of their names. */
const NAME_ID_FORMATS = ["persistent", "emailAddress", "unspecified", "transient"] as const;

/** Claims of ours that a claim or an attribute of theirs can fill in (OIDC Core §5.1). */
const MAPPED_CLAIMS = [
  "email",
  "email_verified",
  "name",
  "given_name",
  "middle_name",
  "family_name",
  "nickname",
  "preferred_username",
  "profile",
  "picture",
  "website",
  "gender",
  "birthdate",
  "zoneinfo",
  "locale",
  "phone_number",
] as const;

const text = (most: number) =>
  z
    .string()
    .trim()
    .min(1, { error: "must not be empty" })
    .max(most, { error: `must have at most ${most} characters` })
    .refine((value) => !/[\p{Cc}\p{Cf}]/u.test(value), {
      error: "must not contain control or invisible characters",
    });

const list = (most: number) =>
  z
    .array(text(1_024))
    .max(most, { error: `must have at most ${most} entries` })
    .refine((all) => new Set(all).size === all.length, { error: "must not list anything twice" });

/** A value of theirs for each of ours. */
const mapping = z
  .record(text(100), text(1_024))
  .refine((all) => Object.keys(all).length <= 1_000, { error: "must have at most 1000 entries" })
  .default({});

/** What can be said of every connection. */
const common = {
  slug: z.string().regex(/^[a-z0-9]([a-z0-9-]{0,48}[a-z0-9])?$/, {
    error: "must be 1 to 50 lower-case letters, digits and hyphens, such as acme",
  }),
  preset: z.enum(PRESET_NAMES).optional(),
  /** What people read on its button. */
  name: text(100),
  /** The name of the issuer of ours that it serves; empty for the first one. */
  at_issuer: z.string().default(""),
  enabled: z.boolean().default(true),
  show_button: z.boolean().default(true),
  /** Among the buttons, the lowest first. */
  display_order: z.int().min(0).max(32_767).default(100),
  attribute_mapping: z.partialRecord(z.enum(MAPPED_CLAIMS), text(512)).default({}),
  /** For each group of ours, the value of theirs that makes somebody a member. */
  group_mapping: mapping,
  /** For each role of ours, the value of theirs that gives it to somebody. */
  role_mapping: mapping,
  /** The organization whose people sign in through it; its roles are held inside. */
  organization: text(50).optional(),
  linking_policy: z.enum(["never", "prompt", "verified_email", "isolated"]).default("prompt"),
  jit_provisioning: z.boolean().default(true),
  sync_profile: z.boolean().default(false),
  trust_email_verified: z.boolean().default(false),
  trusted_acr_values: list(20).default([]),
};

/** What a provider of tokens has beside. */
const tokens = {
  client_id: text(512),
  keep_access: z.boolean().default(false),
  exchange_client_ids: list(100).default([]),
};

const SCHEMAS = {
  oidc: z.strictObject({
    ...common,
    ...tokens,
    kind: z.literal("oidc"),
    issuer: oidcIssuer,
    settings: oidcSettings.prefault({}),
  }),
  oauth2: z.strictObject({
    ...common,
    ...tokens,
    kind: z.literal("oauth2"),
    /** Who its people are of; the origin of its token endpoint unless given. */
    issuer: text(1_000).optional(),
    settings: oauth2Settings,
  }),
  saml: z.strictObject({
    ...common,
    kind: z.literal("saml"),
    /** Its entity ID; as its metadata says unless given. */
    issuer: text(1_024).optional(),
    metadata_url: serviceUri.optional(),
    metadata_xml: z.string().min(1).max(1_048_576).optional(),
    /** What it is asked for; what is believed to last is `settings.subject_formats`. */
    name_id_format: z.enum(NAME_ID_FORMATS).optional(),
    sign_requests: z.boolean().default(true),
    want_response_signed: z.boolean().default(false),
    want_encrypted: z.boolean().default(false),
    allow_idp_initiated: z.boolean().default(false),
    allow_legacy_crypto: z.boolean().default(false),
    settings: samlSettings.prefault({}),
  }),
} as const;

type Output<Kind extends keyof typeof SCHEMAS> = z.output<(typeof SCHEMAS)[Kind]>;

/** A connection as an operator defines it, complete with defaults; secrets are apart. */
export type Definition = Output<"oidc"> | Output<"oauth2"> | Output<"saml">;

/** A definition, and its settings as they were given: what is not said follows the defaults of each version. */
export interface ReadDefinition {
  readonly definition: Definition;
  readonly settings: Record<string, unknown>;
}

/**
 * Reads what somebody says of a connection.
 *
 * @throws AppError `invalid_connection` that names every problem with its field and says what to do.
 */
export function readDefinition(input: Readonly<Record<string, unknown>>): ReadDefinition {
  const kind = kindOf(input["kind"]);
  const parsed = SCHEMAS[kind].safeParse(input, { error: describe });
  if (!parsed.success) throw refused(problemsIn(parsed.error, "connection"));
  const problems = contradictions(parsed.data);
  if (problems.length > 0) throw refused(problems);
  return {
    definition: parsed.data,
    settings: (input["settings"] ?? {}) as Record<string, unknown>,
  };
}

/**
 * What a preset makes of a new connection, under what is said of it beside. A preset's name is remembered, its
 * parameters are not: they have become settings.
 *
 * @throws AppError `invalid_connection`
 */
export function withPreset(input: Readonly<Record<string, unknown>>): Record<string, unknown> {
  const { parameters, ...given } = input;
  const { preset } = given;
  if (preset === undefined) {
    if (parameters !== undefined) throw refused(["parameters are a preset's, so name one"]);
    return given;
  }
  const name = PRESET_NAMES.find((each) => each === preset);
  if (name === undefined) throw refused([`preset must be ${PRESET_NAMES.join(" or ")}`]);
  return mergePatch({ slug: name, ...presetValues(name, parameters) }, given);
}

function presetValues(name: PresetName, parameters: unknown): object {
  try {
    return applyPreset(name, parameters ?? {});
  } catch (error) {
    if (!(error instanceof z.ZodError)) throw error;
    throw refused(problemsIn(error, "parameters").map((problem) => `parameters: ${problem}`));
  }
}

/** What is said on top of what is there (RFC 7396 §2): objects are merged, and `null` takes away. */
export function mergePatch(
  target: Readonly<Record<string, unknown>>,
  patch: Readonly<Record<string, unknown>>,
): Record<string, unknown> {
  const merged = { ...target };
  for (const [name, value] of Object.entries(patch)) {
    const old = merged[name];
    if (value === null) delete merged[name];
    else merged[name] = isObject(value) ? mergePatch(isObject(old) ? old : {}, value) : value;
  }
  return merged;
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function kindOf(kind: unknown): IdentityProvider["kind"] {
  if (kind === "oidc" || kind === "oauth2" || kind === "saml") return kind;
  throw refused([
    kind === undefined
      ? `kind is missing: oidc, oauth2 or saml; or name a preset: ${PRESET_NAMES.join(", ")}`
      : "kind must be oidc or oauth2 or saml",
  ]);
}

/** What is right by itself and wrong together. */
function contradictions(definition: Definition): string[] {
  const problems: string[] = [];
  if (definition.linking_policy === "verified_email" && !definition.trust_email_verified)
    problems.push(
      "trust_email_verified must be true where linking_policy is verified_email, or nobody would be linked",
    );
  if (definition.kind === "saml") return [...problems, ...nameIdProblems(definition)];
  if (definition.exchange_client_ids.length > 0 && !definition.keep_access)
    problems.push("keep_access must be true where exchange_client_ids names clients");
  if (definition.kind === "oidc")
    problems.push(
      ...oidcContradictions(definition.issuer, definition.settings).map(
        (problem) => `settings.${problem}`,
      ),
    );
  return problems;
}

/** Who somebody is there for good must come from somewhere (SAML Core §8.3.7). */
function nameIdProblems({ name_id_format: format, settings }: Output<"saml">): string[] {
  const { subject_attribute: attribute, subject_formats: lasting } = settings;
  const lasts = format === undefined || lasting.some((one) => one === format);
  if (lasts || attribute !== undefined) return [];
  return [
    format === "transient"
      ? "settings.subject_attribute must name an attribute that lasts where name_id_format is transient"
      : `settings.subject_formats must have ${format} where name_id_format is, or name settings.subject_attribute`,
  ];
}

function refused(problems: readonly string[]) {
  return errors.invalidConnection([...new Set(problems)].join("; "));
}
