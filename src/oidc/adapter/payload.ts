import type { AdapterPayload } from "oidc-provider";

/** Seconds since the epoch, as the engine and JWTs count (RFC 7519 §2, NumericDate). */
export function toEpoch(date: Date): number {
  return Math.floor(date.getTime() / 1000);
}

export function fromEpoch(seconds: number): Date {
  return new Date(seconds * 1000);
}

/** The instant a payload ends; `expiresIn` in seconds is what the engine says when the payload does not. */
export function expiry(payload: AdapterPayload, expiresIn: number | undefined): Date {
  if (payload.exp !== undefined) return fromEpoch(payload.exp);
  if (expiresIn !== undefined) return new Date(Date.now() + expiresIn * 1000);
  throw new TypeError("the engine saves no model without an end here");
}

/**
 * What of a payload goes into its jsonb column: not `jti`, which is the bearer value itself, and not what the row's
 * own columns say. {@link restore} puts it back.
 */
export function strip(
  payload: AdapterPayload,
  ...columns: readonly (keyof AdapterPayload & string)[]
): Record<string, unknown> {
  const dropped = new Set<string>(["jti", "kind", "exp", "consumed", ...columns]);
  return Object.fromEntries(
    Object.entries(payload).filter(([key, value]) => !dropped.has(key) && value !== undefined),
  );
}

/** The payload as the engine gave it, from a row's jsonb and columns. */
export function restore(
  stored: Record<string, unknown>,
  columns: {
    kind: string;
    jti?: string;
    expiresAt: Date;
    consumedAt?: Date | null;
  } & Partial<AdapterPayload>,
): AdapterPayload {
  const { expiresAt, consumedAt, ...rest } = columns;
  const payload: Record<string, unknown> = { ...stored, exp: toEpoch(expiresAt) };
  for (const [key, value] of Object.entries(rest)) {
    if (value !== undefined && value !== null) payload[key] = value;
  }
  if (consumedAt) payload["consumed"] = toEpoch(consumedAt);
  return payload;
}
