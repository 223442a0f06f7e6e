import { Router } from "@koa/router";
import type { Context } from "koa";
import { z } from "zod";
import {
  checkNewPassword,
  estimateStrength,
  MAX_PASSWORD_LENGTH,
  MIN_PASSWORD_LENGTH,
  MIN_PASSWORD_LENGTH_WITH_SECOND_FACTOR,
  normalisePassword,
} from "../authn/password-policy.ts";
import type { Config } from "../config.ts";
import { readForm } from "../http/body.ts";
import { issuerFor } from "../http/host.ts";
import type { FieldError } from "../views.ts";

/** What is said, before it is in a language. */
type Advice = Pick<FieldError, "message" | "values">;

export interface PasswordAdviceNeeds {
  config: Pick<Config, "productName" | "issuer">;
  /** Says something in the language of whoever asks. */
  say: (ctx: Context, advice: Advice) => string;
}

const text = z.string().max(4096).default("");
const adviceForm = z.strictObject({
  password: text,
  min: z.coerce
    .number()
    .int()
    .min(MIN_PASSWORD_LENGTH_WITH_SECOND_FACTOR)
    .max(MIN_PASSWORD_LENGTH)
    .default(MIN_PASSWORD_LENGTH),
  email: text,
  username: text,
  display_name: text,
});
type AdviceForm = z.output<typeof adviceForm>;

/**
 * Says of a new password, while somebody types it, what would be said of it when the form is sent, and how hard it is to
 * guess. Advice only: nothing is decided here, kept or logged, and nothing about anybody is told but what was sent. The
 * field asks, where scripts run: `views/assets/ui.js`.
 */
export function passwordAdviceRoutes({ config, say }: PasswordAdviceNeeds): Router {
  const router = new Router();
  router.post("/password-advice", async (ctx) => {
    const form = await readForm(ctx, adviceForm);
    const issuer = issuerFor(ctx)?.url ?? config.issuer;
    const advice = adviceOn(form, { productName: config.productName, issuer });
    ctx.set("Cache-Control", "no-store");
    ctx.type = "text";
    ctx.body = advice === undefined ? "" : say(ctx, advice);
  });
  return router;
}

function adviceOn(
  { password, min, email, username, display_name: name }: AdviceForm,
  service: { productName: string; issuer: string },
): Advice | undefined {
  if (password === "") return undefined;
  const context = { ...service, email, username, names: name.split(/\s+/) };
  const [problem] = checkNewPassword(password, context, min);
  if (problem === "err.password.short") {
    const count = min - Array.from(normalisePassword(password)).length;
    return { message: "password.advice.more", values: { count } };
  }
  if (problem !== undefined) return { message: problem, values: { min, max: MAX_PASSWORD_LENGTH } };
  const strength = estimateStrength(password, context, min);
  return { message: strength === "strong" ? "password.advice.strong" : "password.advice.fair" };
}
