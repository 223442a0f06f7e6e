import { existsSync, readFileSync, readdirSync } from "node:fs";

/** Clock ticks of /proc in microseconds: a hundred in a second on every Linux that Node runs on. */
const TICK = 10_000;
const PAGE = 4096;

/** What a process and all that it started have used, or undefined where there is no /proc to tell. */
export interface Usage {
  /** CPU time in microseconds, of those that have ended too. */
  readonly cpu: number;
  /** Resident memory in bytes. */
  readonly memory: number;
}

export function usageOf(pid: number): Usage | undefined {
  const all = everyProcess();
  const own = all.get(pid);
  if (own === undefined) return undefined;
  let { cpu, memory } = own;
  const family = new Set([pid]);
  for (const member of family) {
    for (const [child, stat] of all) {
      if (stat.parent !== member || family.has(child)) continue;
      family.add(child);
      cpu += stat.cpu;
      memory += stat.memory;
    }
  }
  return { cpu, memory };
}

/** The process that started another, and the name of that other; undefined where there is no /proc. */
export function parentOf(pid: number): { parent: number; name: string } | undefined {
  return statOf(pid);
}

function everyProcess(): Map<number, Stat> {
  const all = new Map<number, Stat>();
  for (const name of existsSync("/proc") ? readdirSync("/proc") : []) {
    const stat = /^\d+$/.test(name) ? statOf(Number(name)) : undefined;
    if (stat !== undefined) all.set(Number(name), stat);
  }
  return all;
}

interface Stat extends Usage {
  readonly name: string;
  readonly parent: number;
}

function statOf(pid: number): Stat | undefined {
  const text = read(`/proc/${pid}/stat`);
  if (text === undefined) return undefined;
  // The name is in parentheses and may hold any character (proc_pid_stat(5)).
  const name = text.slice(text.indexOf("(") + 1, text.lastIndexOf(")"));
  const fields = text.slice(text.lastIndexOf(")") + 2).split(" ");
  const [utime = 0, stime = 0, cutime = 0, cstime = 0] = fields.slice(11, 15).map(Number);
  return {
    name,
    parent: Number(fields[1]),
    cpu: (utime + stime + cutime + cstime) * TICK,
    memory: Number(fields[21]) * PAGE,
  };
}

function read(path: string): string | undefined {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return undefined;
  }
}
