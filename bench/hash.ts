import { randomBytes } from "node:crypto";
import * as crypto from "node:crypto";
import { existsSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import { directoryOf, INSTRUCTION_SETS, processorFlags } from "../src/authn/argon2/build.mjs";
import { CURRENT } from "../src/authn/hashes/argon2.ts";
import type { Options } from "./options.ts";
import { aboutOf, machineOf, markdown } from "./report.ts";
import { median, rounded } from "./statistics.ts";

/** Hashes of one turn. */
const TURN = 20;

/** By which the package finds its binary. */
const FINDER = "node-gyp-build";

/** Something that computes one argon2id hash. */
type Hash = () => Promise<unknown>;

interface Native {
  hash(options: Readonly<Record<string, unknown>>): Promise<Buffer>;
}

/** Measures every way to hash a password that is here, one hash at a time, in rounds that take turns. */
export async function hashing(options: Options): Promise<string> {
  const ways = everyWay();
  const spent = new Map<string, { cpu: number; wall: number }[]>();
  for (let round = 0; round <= options.rounds; round += 1) {
    for (const [name, hash] of ways) {
      const before = process.cpuUsage();
      const startedAt = performance.now();
      for (let time = 0; time < TURN; time += 1) await hash();
      const { user, system } = process.cpuUsage(before);
      const taken = {
        cpu: (user + system) / TURN / 1000,
        wall: (performance.now() - startedAt) / TURN,
      };
      if (round > 0) spent.set(name, [...(spent.get(name) ?? []), taken]);
    }
  }
  const flows = [...spent].map(([name, turns]) => {
    const cpu = median(turns.map((one) => one.cpu));
    const wall = median(turns.map((one) => one.wall));
    return { name, cpu_ms: rounded(cpu, 2), wall_ms: rounded(wall, 2) };
  });
  const machine = { ...machineOf(options), m: CURRENT.m, t: CURRENT.t, p: CURRENT.p };
  if (options.json) return `${JSON.stringify({ machine, hashes: flows })}\n`;
  const rows = flows.map((one) => Object.values(one).map((value) => value ?? "–"));
  return `${aboutOf(machine)}\n\n${markdown(["hash", "CPU ms", "ms"], rows)}`;
}

function everyWay(): [string, Hash][] {
  const ways: [string, Hash][] = [["argon2, as its package brings it", native(prebuilt())]];
  const flags = processorFlags();
  for (const set of INSTRUCTION_SETS) {
    const file = join(directoryOf(set), "build/Release/argon2.node");
    if (flags.has(set) && existsSync(file)) ways.push([`argon2, built for ${set}`, native(file)]);
  }
  // Node has it since 24.7.
  if ("argon2" in crypto) ways.push(["node:crypto", nodes]);
  return ways;
}

/** The binary that `node-gyp-build` finds in the package. */
function prebuilt(): string {
  const require = createRequire(import.meta.resolve("argon2"));
  const find = require(FINDER) as { path(directory: string): string };
  return find.path(join(require.resolve("argon2/package.json"), ".."));
}

function native(file: string): Hash {
  const addon = { exports: {} as Native };
  process.dlopen(addon, file);
  const { m, t, p } = CURRENT;
  const nothing = Buffer.alloc(0);
  return () =>
    addon.exports.hash({
      m,
      t,
      p,
      type: 2,
      version: 19,
      hashLength: 32,
      password: Buffer.from("correct horse"),
      salt: randomBytes(16),
      secret: nothing,
      data: nothing,
    });
}

function nodes(): Promise<unknown> {
  const { m, t, p } = CURRENT;
  const { promise, resolve, reject } = Promise.withResolvers<unknown>();
  crypto.argon2(
    "argon2id",
    {
      message: "correct horse",
      nonce: randomBytes(16),
      parallelism: p,
      tagLength: 32,
      memory: m,
      passes: t,
    },
    (error, tag) => (error === null ? resolve(tag) : reject(error)),
  );
  return promise;
}
