import type { Context } from "koa";

/** Answers with lines of plain text that the browser keeps as a file and never shows as a page. */
export function sendAsFile(ctx: Context, name: string, lines: readonly string[]): void {
  ctx.status = 200;
  ctx.type = "text/plain; charset=utf-8";
  ctx.set("Content-Disposition", `attachment; filename="${name}"`);
  ctx.set("Cache-Control", "no-store");
  ctx.body = `${lines.join("\r\n")}\r\n`;
}
