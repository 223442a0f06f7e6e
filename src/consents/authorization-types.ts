import type { TransactionOrKnex } from "objection";
import { z } from "zod";
import { errors } from "../errors.ts";
import { AuthorizationType } from "../models/authorization-type.ts";

/** Plain words for people: the same in every language, or by language tag. */
const text = z.union([
  z.string().min(1).max(200),
  z
    .record(z.string().regex(/^[a-z]{2,3}(-[A-Za-z0-9]+)*$/), z.string().min(1).max(200))
    .refine((words) => Object.keys(words).length > 0, { error: "must have words in a language" }),
]);
export type Text = z.output<typeof text>;

/** What a value may be, in the words of JSON Schema; every value that people see has a title. */
export type Shape =
  | { type: "string"; maxLength?: number | undefined; oneOf?: Choice[] | undefined }
  | { type: "number" | "integer"; minimum?: number | undefined; maximum?: number | undefined }
  | { type: "boolean" }
  | { type: "array"; items: Exclude<Shape, { type: "array" }>; maxItems?: number | undefined }
  | ObjectShape;
interface Choice {
  const: string;
  title: Text;
}
interface ObjectShape {
  type: "object";
  properties: Record<string, Property>;
  required?: string[] | undefined;
}
export type Property = Shape & { title: Text };

const name = z
  .string()
  .regex(/^[A-Za-z][A-Za-z0-9_.-]{0,63}$/, { error: "must be the name of a field" });

const members = {
  properties: z.lazy(() => z.record(name, property)),
  required: z.array(name).optional(),
};
const string = {
  type: z.literal("string"),
  maxLength: z.int().min(1).max(2_000).optional(),
  oneOf: z
    .array(z.strictObject({ const: z.string().min(1), title: text }))
    .min(1)
    .optional(),
};
const number = {
  type: z.enum(["number", "integer"]),
  minimum: z.number().optional(),
  maximum: z.number().optional(),
};
const boolean = { type: z.literal("boolean") };
const array = {
  type: z.literal("array"),
  items: z.lazy(() => item),
  maxItems: z.int().min(1).max(100).optional(),
};
const object = { type: z.literal("object"), ...members };

const isComplete = ({ properties, required = [] }: Pick<ObjectShape, "properties" | "required">) =>
  required.every((each) => Object.hasOwn(properties, each));
const INCOMPLETE = { error: "must list as required what properties has" };

/** What a list has: no lists again, which no page could show well. */
const item: z.ZodType<Exclude<Shape, { type: "array" }>> = z.discriminatedUnion("type", [
  z.strictObject(string),
  z.strictObject(number),
  z.strictObject(boolean),
  z.strictObject(object).refine(isComplete, INCOMPLETE),
]);
const property: z.ZodType<Property> = z.discriminatedUnion("type", [
  z.strictObject({ ...string, title: text }),
  z.strictObject({ ...number, title: text }),
  z.strictObject({ ...boolean, title: text }),
  z.strictObject({ ...array, title: text }),
  z.strictObject({ ...object, title: text }).refine(isComplete, INCOMPLETE),
]);

const definition = z
  .strictObject({
    /** As clients name it (RFC 9396 §2.1), often a URI. */
    type: z
      .string()
      .regex(/^[A-Za-z][!-~]{0,199}$/, { error: "must begin with a letter and have no spaces" }),
    title: text,
    ...members,
  })
  .refine(({ properties }) => !Object.hasOwn(properties, "type"), {
    error: "must not define type, which every detail has",
    path: ["properties"],
  })
  .refine(isComplete, INCOMPLETE);

/** What details of one type may say, and how people read it. */
export type TypeDefinition = z.output<typeof definition>;

/**
 * Reads the definition of a type.
 *
 * @throws AppError `invalid_authorization_type` with everything that is wrong and where.
 */
export function parseDefinition(input: unknown): TypeDefinition {
  const parsed = definition.safeParse(input);
  if (parsed.success) return parsed.data;
  const problems = parsed.error.issues.map(
    ({ path, message }) => `${path.map(String).join(".") || "the definition"}: ${message}`,
  );
  throw errors.invalidAuthorizationType(problems.join("; "));
}

/** The registered types, by name. */
export async function loadDefinitions(
  db: TransactionOrKnex,
): Promise<ReadonlyMap<string, TypeDefinition>> {
  const rows = await AuthorizationType.query(db).orderBy("type");
  return new Map(rows.map((row) => [row.type, row.definition as TypeDefinition]));
}
