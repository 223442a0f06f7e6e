import type { Config } from "../config.ts";
import type { Io } from "./io.ts";

/** One option of a verb, as `parseArgs` and the help text need it. */
export interface Option {
  readonly type: "string" | "boolean";
  readonly multiple?: true;
  readonly required?: true;
  /** What stands for the value in the help text. */
  readonly value?: string;
  readonly help: string;
}

export type Options = Readonly<Record<string, Option>>;

/** The values of a verb's options, typed by their declaration. */
export type Values<Declared extends Options> = {
  readonly [Name in keyof Declared]: Declared[Name] extends { required: true }
    ? Given<Declared[Name]>
    : Given<Declared[Name]> | undefined;
};
type Given<Declared extends Option> = Declared["type"] extends "boolean"
  ? boolean
  : Declared extends { multiple: true }
    ? string[]
    : string;

/** What a verb runs with. */
export interface Call<Declared extends Options = Options> {
  readonly io: Io;
  readonly values: Values<Declared>;
  /** The words after the verb, as many as it declares. */
  readonly words: readonly string[];
  readonly json: boolean;
  /** Reads the settings; verbs that need none never ask. @throws ConfigError */
  readonly config: () => Config;
}

/** One thing that the command line can do. */
export interface Verb<Declared extends Options = Options> {
  /** As it is typed: `client add`. */
  readonly name: string;
  readonly summary: string;
  /** What the words after the verb stand for; all are required. */
  readonly words?: readonly string[];
  readonly options?: Declared;
  /** More for the help text. */
  readonly details?: string;
  /** Does it, and returns the exit code where that is not 0. */
  run(call: Call<Declared>): Promise<number | void>;
}

/** Declares a verb so that its `run` sees the options it declared. */
export function verb<const Declared extends Options>(declared: Verb<Declared>): Verb {
  return declared;
}

/** The command line was used in a way it cannot be; exit code 2. */
export class UsageError extends Error {
  readonly verb: string | undefined;
  constructor(message: string, verbName?: string) {
    super(message);
    this.name = "UsageError";
    this.verb = verbName;
  }
}
