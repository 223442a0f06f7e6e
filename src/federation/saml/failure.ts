import { UpstreamError, type UpstreamReason } from "../connector.ts";

/** What is left to do about a message that no provider sends which is well and meant well. */
const SUSPECT =
  "Compare what the provider sends with its own documentation; if it sends something else, somebody may have changed it on its way.";

/** Characters of what a message says that are worth to be repeated. */
const MAX_TEXT = 1_000;

/** A message that is not to be believed, and the rule that it breaks (T-100, T-101). */
export function broken(
  rule: string,
  message: string,
  hint: string = SUSPECT,
  reason: UpstreamReason = "invalid",
): UpstreamError {
  const text = message.length > MAX_TEXT ? `${message.slice(0, MAX_TEXT)}….` : message;
  return new UpstreamError(reason, rule, text, { hint });
}
