import type { Io } from "./io.ts";
import { UsageError, type Options, type Values } from "./verb.ts";

const DEFAULT_LIMIT = 50;
const MAX_LIMIT = 200;

/** Options of every verb that lists. */
export const PAGING = {
  limit: {
    type: "string",
    value: "N",
    help: `how many, ${DEFAULT_LIMIT} unless said, ${MAX_LIMIT} at most`,
  },
  after: { type: "string", value: "ID", help: "begin after this one" },
} as const satisfies Options;

/** @throws UsageError */
export function readPaging(
  { limit, after }: Values<typeof PAGING>,
  verbName: string,
): { limit: number; after: string | undefined } {
  const number = limit === undefined ? DEFAULT_LIMIT : readWhole("limit", limit, verbName);
  if (number < 1 || number > MAX_LIMIT)
    throw new UsageError(`--limit must be from 1 to ${MAX_LIMIT}.`, verbName);
  return { limit: number, after };
}

/** A whole number, 0 or more, as an option gives it. @throws UsageError */
export function readWhole(flag: string, text: string, verbName: string): number {
  if (!/^\d{1,9}$/.test(text)) throw new UsageError(`--${flag} must be a whole number.`, verbName);
  return Number(text);
}

/** Says how to see the rest, where a page is full. */
export function printNext(
  io: Io,
  verbName: string,
  last: string | undefined,
  shown: number,
  limit: number,
): void {
  if (last !== undefined && shown === limit) io.out(`\nMore: lintel ${verbName} --after ${last}\n`);
}
