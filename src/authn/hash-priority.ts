import { readdirSync, readFileSync } from "node:fs";
import { setPriority } from "node:os";

/** The threads of this process, one directory each. */
const THREADS = "/proc/self/task";
/** What libuv calls those of its pool, on which passwords are hashed. */
const POOL = "libuv-worker";
/** As `nice` counts, from 0, which is everybody's, to 19. */
const NICENESS = 15;

/**
 * Has hashing give way to whatever else wants a core: beside a rush of passwords tokens are issued sooner, and nearly as many
 * passwords are checked (docs/performance.md, "Password hashing"). Signatures come from the same threads, which matters only
 * where no core is free. Called once there are such threads. Only Linux gives a thread a priority of its own; elsewhere,
 * and where that is forbidden, everything is as it was.
 */
export function letHashingGiveWay(): void {
  if (process.platform !== "linux") return;
  for (const id of ifPossible(() => readdirSync(THREADS)) ?? [])
    ifPossible(() => {
      if (readFileSync(`${THREADS}/${id}/comm`, "utf8").trim() === POOL)
        setPriority(Number(id), NICENESS);
    });
}

/** A thread may have just ended, `/proc` may be missing, and a sandbox may forbid it. */
function ifPossible<T>(look: () => T): T | undefined {
  try {
    return look();
  } catch {
    return undefined;
  }
}
