import type { z } from "zod";

/**
 * Everything that is wrong with what somebody gave, each as a sentence that begins with the field and says what to do.
 *
 * @param whole what the input itself is called, where it is wrong and none of its fields.
 */
export function problemsIn(error: z.ZodError, whole: string): string[] {
  return error.issues.map((issue) => toProblem(issue, whole));
}

/** Zod's own messages, as the end of a sentence that begins with the field. */
export function describe(issue: z.core.$ZodRawIssue): string | undefined {
  if (issue.code === "invalid_type")
    return issue.input === undefined ? "is missing" : `must be ${article(issue.expected)}`;
  if (issue.code === "invalid_value") return `must be ${issue.values.join(" or ")}`;
  if (issue.code === "too_big") return `must be at most ${issue.maximum}${unit(issue.origin)}`;
  if (issue.code === "too_small") return `must be at least ${issue.minimum}${unit(issue.origin)}`;
  if (issue.code === "unrecognized_keys") return `must not contain ${issue.keys.join(", ")}`;
  return undefined;
}

function toProblem(issue: z.core.$ZodIssue, whole: string): string {
  const { code, path, message } = issue;
  if (code === "unrecognized_keys" && path.length === 0) {
    const { keys } = issue;
    return `${keys.join(", ")} ${keys.length > 1 ? "are" : "is"} not known, so remove or rename`;
  }
  const [field = whole, ...rest] = path;
  const place = rest.map((step) => (typeof step === "number" ? `[${step}]` : `.${String(step)}`));
  // What is wrong with a key of a record is one level down.
  const said = code === "invalid_key" ? (issue.issues[0]?.message ?? message) : message;
  return `${String(field)}${place.join("")} ${said}`;
}

function unit(of: string): string {
  return { array: " entries", string: " characters" }[of] ?? "";
}

function article(type: string): string {
  if (type === "int") return "a whole number";
  return /^[aeiou]/.test(type) ? `an ${type}` : `a ${type}`;
}
