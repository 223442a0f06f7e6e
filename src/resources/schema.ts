import { z } from "zod";
import { errors } from "../errors.ts";
import { SIGNING_ALGORITHMS, type Preset } from "../issuers.ts";
import { CLAIMS_BY_SCOPE } from "../users/claims.ts";

/** Seconds that a token for an API may live: a JWT cannot be revoked, so never long. */
const SHORTEST = 60;
const LONGEST = 3_600;
const MAX_PERMISSIONS = 100;
const MAX_CLIENTS = 500;

/** Scopes that mean the same everywhere (OIDC Core §5.4, §11), so that no API can give them another meaning. */
const RESERVED: ReadonlySet<string> = new Set([...Object.keys(CLAIMS_BY_SCOPE), "offline_access"]);

const identifier = z.string().superRefine((value, context) => {
  const refuse = (message: string) => context.addIssue({ code: "custom", message });
  if (value.length > 512) refuse("must have at most 512 characters");
  else if (!/^[a-z][a-z0-9+.-]*:[!-~]+$/.test(value) || URL.parse(value) === null)
    refuse("must be an absolute URI such as https://api.example.com/ (RFC 8707 §2)");
  else if (value.includes("#")) refuse("must have no fragment (RFC 8707 §2)");
});

const permission = z
  .string()
  .regex(/^[!#-[\]-~]{1,100}$/, {
    error: 'must be 1 to 100 printable ASCII characters without space, " and \\ (RFC 6749 §3.3)',
  })
  .refine((name) => !RESERVED.has(name), { error: "must not be a scope of OpenID Connect" });

const text = (most: number) =>
  z
    .string()
    .trim()
    .min(1, { error: "must not be empty" })
    .max(most, { error: `must have at most ${most} characters` })
    .refine((value) => !/[\p{Cc}\p{Cf}]/u.test(value), {
      error: "must not contain control or invisible characters",
    });

/** What can be said of an API. */
const apiDefinition = z.strictObject({
  identifier,
  name: text(64),
  /** What may be allowed, each with what it means to people. */
  permissions: z
    .record(permission, text(200))
    .refine((all) => Object.keys(all).length >= 1, { error: "must have at least one" })
    .refine((all) => Object.keys(all).length <= MAX_PERMISSIONS, {
      error: `must be at most ${MAX_PERMISSIONS}`,
    }),
  /** By permission, the level of sign-in that it takes to be given it, where one factor is not enough. */
  levels: z.record(permission, z.literal([1, 2, 3], { error: "must be 1, 2 or 3" })).default({}),
  open_to: z.enum(["listed", "any"]).default("listed"),
  /** By `client_id`, the permissions each may have; `null` for all. */
  clients: z
    .record(z.string(), z.array(permission).nullable())
    .refine((all) => Object.keys(all).length <= MAX_CLIENTS, {
      error: `must be at most ${MAX_CLIENTS}`,
    })
    .default({}),
  token_format: z.enum(["jwt", "opaque"]).default("jwt"),
  token_lifetime: z
    .int()
    .min(SHORTEST, { error: `must be at least ${SHORTEST} seconds` })
    .max(LONGEST, { error: `must be at most ${LONGEST} seconds` })
    .default(600),
  signing_alg: z.enum(SIGNING_ALGORITHMS).nullable().default(null),
  own_client: z.string().nullable().default(null),
});

/** An API as an operator defines and sees it. */
export type ApiDefinition = z.output<typeof apiDefinition>;

/**
 * Reads what somebody says of an API, for an issuer with this preset.
 *
 * @throws AppError `invalid_resource` that names every problem with its field.
 */
export function parseApiDefinition(input: unknown, preset: Preset): ApiDefinition {
  const parsed = apiDefinition.safeParse(input);
  if (!parsed.success) throw errors.invalidResource(parsed.error.issues.map(inWords).join("; "));
  const problems = contradictions(parsed.data, preset);
  if (problems.length > 0) throw errors.invalidResource(problems.join("; "));
  return parsed.data;
}

function contradictions(api: ApiDefinition, preset: Preset): string[] {
  const problems: string[] = [];
  const { signing_alg: algorithm } = api;
  if (algorithm !== null && !preset.algorithms.includes(algorithm))
    problems.push(`signing_alg must be ${preset.algorithms.join(" or ")} at this issuer`);
  if (algorithm !== null && api.token_format === "opaque")
    problems.push("signing_alg is for tokens that are JWTs, so remove it");
  for (const name of Object.keys(api.levels))
    if (!Object.hasOwn(api.permissions, name))
      problems.push(`levels names ${name}, which is not one of the permissions`);
  for (const [client, names] of Object.entries(api.clients))
    for (const name of names ?? [])
      if (!Object.hasOwn(api.permissions, name))
        problems.push(`clients.${client} names ${name}, which is not one of the permissions`);
  return problems;
}

function inWords({ path, ...issue }: z.core.$ZodIssue): string {
  // What is wrong with a key of a record is one level down.
  const message =
    issue.code === "invalid_key" ? (issue.issues[0]?.message ?? issue.message) : issue.message;
  return `${path.map(String).join(".") || "resource"} ${message.replace(/^Invalid/, "is invalid:")}`;
}
