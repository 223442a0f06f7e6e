import type { Context } from "koa";

/** Where a request came from, as far as the audit may know. */
export interface Origin {
  readonly requestId: string | undefined;
  readonly ipPrefix: string | undefined;
}

export function originOf(ctx: Context): Origin {
  return { requestId: ctx.state["correlationId"], ipPrefix: ctx.state["ipPrefix"] };
}
