import type { Context, Middleware } from "koa";
import { AppError, errors } from "../errors.ts";
import type { Logger } from "../lib/log.ts";
import { isForMachines } from "./machines.ts";
import type { Page } from "./page.ts";

/**
 * The only place where something thrown becomes an answer: a page for people, JSON for machines. What is not an
 * AppError is our mistake; it is logged, and the answer says nothing about it.
 */
export function errorResponses(needs: { page: Page; log: Logger }): Middleware {
  return async (ctx, next) => {
    try {
      await next();
      if (ctx.status === 503) ctx.set({ "Cache-Control": "no-store", "Retry-After": "1" });
      if (ctx.body === undefined && ctx.status === 404) throw errors.notFound();
      if (ctx.body === undefined && (ctx.status === 405 || ctx.status === 501)) {
        throw errors.methodNotAllowed();
      }
    } catch (thrown) {
      const error = explain(thrown);
      if (error.status >= 500 && !(thrown instanceof AppError)) {
        needs.log.error(
          { err: thrown, correlationId: ctx.state["correlationId"] },
          "request failed",
        );
      }
      // They would tell of what was about to be kept, and was not.
      ctx.remove("Set-Cookie");
      ctx.remove("Location");
      ctx.set("Cache-Control", "no-store");
      // What is left of a body that is too large is not read.
      if (error.status === 413) ctx.set("Connection", "close");
      if (error.retryAfter !== undefined) ctx.set("Retry-After", String(error.retryAfter));
      await answer(needs.page, ctx, error);
    }
  };
}

async function answer(page: Page, ctx: Context, error: AppError): Promise<void> {
  if (isForMachines(ctx.path) || ctx.accepts("json", "html") !== "html") {
    ctx.status = error.status;
    ctx.body = { error: error.code, error_description: error.description };
    return;
  }
  await page(
    ctx,
    "error",
    { status: error.status, code: error.code, description: error.description },
    error.status,
  );
}

function explain(thrown: unknown): AppError {
  if (thrown instanceof AppError) return thrown;
  const status: unknown = thrown instanceof Error && "status" in thrown ? thrown.status : undefined;
  if (status === 400) return errors.badRequest("The request cannot be read.");
  return errors.serverError(thrown);
}
