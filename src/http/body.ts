import type { Context } from "koa";
import { z } from "zod";
import { errors } from "../errors.ts";

const LIMIT = 64 * 1024;

/**
 * Reads a form that a page of ours sent. A field may occur once, unless the schema asks for a list.
 *
 * @throws AppError `unsupported_body`, `body_too_large`, or `bad_request` when it is not what the page sends.
 */
export async function readForm<Shape extends z.ZodRawShape>(
  ctx: Context,
  schema: z.ZodObject<Shape>,
): Promise<z.output<z.ZodObject<Shape>>> {
  const fields = await readParameters(ctx);
  const values: Record<string, string | string[]> = {};
  for (const name of new Set(fields.keys())) {
    const all = fields.getAll(name);
    const isList = acceptsList(schema.shape[name]);
    if (!isList && all.length > 1) throw errors.badRequest(`The form has the field ${name} twice.`);
    Object.defineProperty(values, name, { value: isList ? all : all[0], enumerable: true });
  }
  const parsed = schema.safeParse(values);
  if (!parsed.success) {
    const names = parsed.error.issues.map((issue) => issue.path.join(".") || issue.message);
    throw errors.badRequest(`The form is not the one on this page: ${names.join(", ")}.`);
  }
  return parsed.data;
}

/**
 * The parameters of a urlencoded body, whoever sent it. They may be asked for again.
 *
 * @throws AppError `unsupported_body`, `body_too_large`
 */
export async function readParameters(ctx: Context, limit = LIMIT): Promise<URLSearchParams> {
  if (ctx.get("content-encoding") !== "" || ctx.is("urlencoded") !== "urlencoded") {
    throw errors.unsupportedBody();
  }
  const known = ctx.state["parameters"] as URLSearchParams | undefined;
  const parameters = known ?? new URLSearchParams(await readText(ctx, limit));
  ctx.state["parameters"] = parameters;
  return parameters;
}

async function readText(ctx: Context, limit: number): Promise<string> {
  if (Number(ctx.get("content-length") || 0) > limit) throw errors.bodyTooLarge();
  const chunks: Buffer[] = [];
  let size = 0;
  // The answer travels on the same socket, so giving up must not destroy it.
  try {
    for await (const chunk of ctx.req.iterator({ destroyOnReturn: false })) {
      if (!Buffer.isBuffer(chunk)) continue;
      size += chunk.length;
      if (size > limit) throw errors.bodyTooLarge();
      chunks.push(chunk);
    }
  } catch (cause) {
    // Whoever hangs up made no mistake of ours; nothing in the log, and no 500, should say so.
    if (ctx.req.errored !== null)
      throw errors.badRequest("The request ended before its body did.", cause);
    throw cause;
  }
  return Buffer.concat(chunks).toString("utf8");
}

function acceptsList(field: unknown): boolean {
  return field instanceof z.ZodDefault
    ? acceptsList(field.unwrap())
    : field instanceof z.ZodOptional
      ? acceptsList(field.unwrap())
      : field instanceof z.ZodArray;
}
