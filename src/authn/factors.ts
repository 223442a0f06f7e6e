import type { Level, LevelNames } from "./levels.ts";
import type { TransactionOrKnex } from "objection";

/** What a person can show as a second step. */
export type Factor = "webauthn" | "totp" | "email" | "recovery";

/** What a person has set up for the second step, the strongest first. */
export async function factorsOf(_db: TransactionOrKnex, _userId: string): Promise<Factor[]> {
  return [];
}

/** The highest level that somebody with these factors can reach beside a password. */
function reachable(factors: readonly Factor[]): Level {
  if (factors.includes("webauthn")) return 3;
  return factors.includes("totp") ? 2 : 1;
}

/**
 * The level to ask a person for: the first that the client names and they can reach. One who can reach none of them
 * is asked for nothing; the client learns of it.
 */
export function levelDemanded(
  asked: readonly string[],
  names: LevelNames,
  factors: readonly Factor[],
): Level {
  const best = reachable(factors);
  const levels = asked.map((name) => names.get(name)).filter((level) => level !== undefined);
  return levels.find((level) => level <= best) ?? 1;
}
