import { compare } from "./compare.ts";
import { mixedLoad } from "./mixed.ts";
import { readOptions, type Options } from "./options.ts";
import { beside } from "./flood.ts";
import { growth } from "./growth.ts";
import { hashing } from "./hash.ts";
import { closeAll } from "./stage.ts";

/*
 * `npm run bench`: starts everything on loopback, measures, says what came of it, and stops everything.
 */

async function main(args: readonly string[]): Promise<void> {
  const options = readOptions(args);
  if (typeof options === "string") {
    process.stderr.write(options);
    process.exitCode = args.includes("--help") ? 0 : 2;
    return;
  }
  for (const signal of ["SIGINT", "SIGTERM"] as const)
    process.once(signal, () => void closeAll().finally(() => process.exit(130)));
  try {
    process.stdout.write(await measure(options));
  } finally {
    await closeAll();
  }
}

function measure(options: Options): Promise<string> {
  if (options.hash) return hashing(options);
  if (options.flood !== undefined) return beside(options, options.flood);
  if (options.mixed !== undefined) return mixedLoad(options, options.mixed);
  return options.populations.length > 0 ? growth(options) : compare(options);
}

await main(process.argv.slice(2));
