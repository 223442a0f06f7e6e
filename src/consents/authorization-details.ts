import { isDeepStrictEqual } from "node:util";
import type { ConsentDetail } from "../views.ts";
import type { Property, Shape, Text, TypeDefinition } from "./authorization-types.ts";

/** One thing that a client asks a person to allow (RFC 9396 §2). */
export interface AuthorizationDetail {
  readonly type: string;
  readonly [field: string]: unknown;
}

/** Longest text of a field that says nothing of its length. */
const LONGEST = 200;
/** Most entries of a list that says nothing of its size. */
const MOST = 20;

/** Between the title of a field and the title of one inside it. */
const SEPARATOR = " – ";

/** Characters that make one text look like another. */
const DECEPTIVE = /[\p{Cc}\p{Cf}\p{Co}\p{Cs}\p{Zl}\p{Zp}\p{Default_Ignorable_Code_Point}]/u;

/** Reads the parameter of a request that the engine has checked. */
export function detailsIn(params: Readonly<Record<string, unknown>>): AuthorizationDetail[] {
  const { authorization_details: asked } = params;
  return typeof asked === "string" ? (JSON.parse(asked) as AuthorizationDetail[]) : [];
}

/** What is wrong with a detail by its type's definition (RFC 9396 §5); undefined where nothing is. */
export function problemOf(
  { type: _type, ...fields }: AuthorizationDetail,
  definition: TypeDefinition,
): string | undefined {
  return problemIn(fields, { ...definition, type: "object" }, "");
}

function problemIn(value: unknown, shape: Shape, place: string): string | undefined {
  const here = place || "the detail";
  switch (shape.type) {
    case "string":
      return textProblem(value, shape, here);
    case "boolean":
      return typeof value === "boolean" ? undefined : `${here} must be true or false`;
    case "number":
    case "integer":
      return numberProblem(value, shape, here);
    case "array": {
      if (!Array.isArray(value) || value.length === 0) return `${here} must be a list`;
      if (value.length > (shape.maxItems ?? MOST)) return `${here} has too many entries`;
      return first(value, (item, index) => problemIn(item, shape.items, `${here}[${index}]`));
    }
    case "object": {
      if (typeof value !== "object" || value === null || Array.isArray(value))
        return `${here} must be an object`;
      const fields = Object.entries(value);
      const missing = shape.required?.find((name) => !Object.hasOwn(value, name));
      if (missing !== undefined) return `${join(place, missing)} is missing`;
      return first(fields, ([name, field]) => {
        const property = propertyOf(shape.properties, name);
        if (property === undefined) return `${join(place, name)} is not known`;
        return problemIn(field, property, join(place, name));
      });
    }
  }
}

function textProblem(
  value: unknown,
  { maxLength = LONGEST, oneOf }: Extract<Shape, { type: "string" }>,
  here: string,
): string | undefined {
  if (typeof value !== "string" || value.trim() === "") return `${here} must be a text`;
  if (Array.from(value).length > maxLength)
    return `${here} must have at most ${maxLength} characters`;
  if (DECEPTIVE.test(value)) return `${here} must not have invisible characters`;
  if (oneOf !== undefined && !oneOf.some((choice) => choice.const === value))
    return `${here} must be ${oneOf.map((choice) => choice.const).join(" or ")}`;
  return undefined;
}

function numberProblem(
  value: unknown,
  { type, minimum, maximum }: Extract<Shape, { type: "number" | "integer" }>,
  here: string,
): string | undefined {
  if (typeof value !== "number" || !Number.isFinite(value)) return `${here} must be a number`;
  if (type === "integer" && !Number.isSafeInteger(value)) return `${here} must be a whole number`;
  if (minimum !== undefined && value < minimum) return `${here} must be at least ${minimum}`;
  if (maximum !== undefined && value > maximum) return `${here} must be at most ${maximum}`;
  return undefined;
}

/**
 * Whether a detail allows no more than one that was granted (RFC 9396 §6.1): lists may be shorter, everything else is
 * the same. A field that is left out could mean more, so none may be.
 */
export function isWithin(asked: unknown, granted: unknown): boolean {
  if (Array.isArray(asked) && Array.isArray(granted))
    return asked.length > 0 && areWithin(asked, granted);
  if (isRecord(asked) && isRecord(granted)) {
    const names = new Set([...Object.keys(asked), ...Object.keys(granted)]);
    return [...names].every(
      (name) =>
        Object.hasOwn(asked, name) &&
        Object.hasOwn(granted, name) &&
        isWithin(asked[name], granted[name]),
    );
  }
  return isDeepStrictEqual(asked, granted);
}

/** Whether each of several finds one of its own among those that were granted: what was allowed once is once. */
export function areWithin(asked: readonly unknown[], granted: readonly unknown[]): boolean {
  const taken = new Map<number, number>();
  // An augmenting path: whoever has the place may move to another that fits.
  const findPlace = (index: number, tried: Set<number>): boolean =>
    granted.some((each, place) => {
      if (tried.has(place) || !isWithin(asked[index], each)) return false;
      tried.add(place);
      const other = taken.get(place);
      if (other !== undefined && !findPlace(other, tried)) return false;
      taken.set(place, index);
      return true;
    });
  return asked.length <= granted.length && asked.every((_, index) => findPlace(index, new Set()));
}

/** A detail in plain words: every field that the client sent, with its title, in the order of the definition. */
export function inWords(
  { type: _type, ...fields }: AuthorizationDetail,
  { title, properties }: TypeDefinition,
  locale: string,
): ConsentDetail {
  // To the last digit: what is rounded is not what is allowed.
  const numbers = new Intl.NumberFormat(locale, { maximumFractionDigits: 20 });
  const say = (words: Text) => inLanguage(words, locale);
  const rowsOf = (
    record: Readonly<Record<string, unknown>>,
    known: Readonly<Record<string, Property>>,
    above: readonly string[],
  ): ConsentDetail["rows"][number][] =>
    Object.entries(known).flatMap(([name, property]) => {
      const value = Object.hasOwn(record, name) ? record[name] : undefined;
      if (value === undefined) return [];
      const label = [...above, say(property.title)];
      if (property.type === "object" && isRecord(value))
        return rowsOf(value, property.properties, label);
      if (property.type === "array" && property.items.type === "object" && Array.isArray(value)) {
        const { properties: inner } = property.items;
        const each = (index: number) =>
          value.length === 1 ? label : [`${label.join(SEPARATOR)} ${index + 1}`];
        return value.flatMap((item, index) =>
          isRecord(item) ? rowsOf(item, inner, each(index)) : [],
        );
      }
      return [{ label: label.join(SEPARATOR), values: wordsFor(value, property) }];
    });
  const wordsFor = (value: unknown, shape: Shape): (string | boolean)[] => {
    if (Array.isArray(value))
      return value.flatMap((item) => wordsFor(item, shape.type === "array" ? shape.items : shape));
    if (typeof value === "boolean") return [value];
    if (typeof value === "number") return [numbers.format(value)];
    const choice =
      shape.type === "string" ? shape.oneOf?.find((each) => each.const === value) : undefined;
    return [choice === undefined ? String(value) : say(choice.title)];
  };
  return { title: say(title), rows: rowsOf(fields, properties, []) };
}

/** The words in this language, or else in English, or else in any. */
function inLanguage(words: Text, locale: string): string {
  if (typeof words === "string") return words;
  const [language = ""] = locale.split("-");
  return words[locale] ?? words[language] ?? words["en"] ?? Object.values(words)[0] ?? "";
}

function propertyOf(properties: Record<string, Property>, name: string): Property | undefined {
  return Object.hasOwn(properties, name) ? properties[name] : undefined;
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function join(place: string, name: string): string {
  return place === "" ? name : `${place}.${name}`;
}

function first<Item>(
  items: readonly Item[],
  problem: (item: Item, index: number) => string | undefined,
): string | undefined {
  for (const [index, item] of items.entries()) {
    const found = problem(item, index);
    if (found !== undefined) return found;
  }
  return undefined;
}
