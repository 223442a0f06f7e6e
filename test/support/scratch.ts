import { existsSync, readFileSync, statfsSync } from "node:fs";
import { tmpdir } from "node:os";

const MEMORY = "/dev/shm";
const MEMORY_MIN_BYTES = 2 ** 30;

/**
 * Where tests keep databases: in memory on Linux, where there is room and programs may run. A database is some 700
 * files, and every file of tests has its own.
 */
export function scratchDirectory(): string {
  if (!existsSync(MEMORY)) return tmpdir();
  const mount = readFileSync("/proc/mounts", "utf8")
    .split("\n")
    .findLast((line) => line.split(" ")[1] === MEMORY);
  if (mount === undefined || /\bnoexec\b/.test(mount)) return tmpdir();
  const { bavail, bsize } = statfsSync(MEMORY);
  return bavail * bsize > MEMORY_MIN_BYTES ? MEMORY : tmpdir();
}
