import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { fileURLToPath } from "node:url";

const LAUNCHER = fileURLToPath(new URL("../src/lintel.mjs", import.meta.url));
const TELL = `data:text/javascript,${encodeURIComponent(
  "console.log(JSON.stringify([process.pid, process.execArgv, process.env.GLIBC_TUNABLES]))",
)}`;

/** A Node as it knows itself: its process, its flags, and what it tells the allocator. */
type Known = [pid: number, flags: string[], tunables: string | null];

/** What a command line becomes, one after the other. A server that cannot start says why and ends. */
function becomes(verb: string, environment: Record<string, string> = {}): Known[] {
  const { stdout } = spawnSync(process.execPath, ["--import", TELL, LAUNCHER, verb], {
    env: { PATH: process.env["PATH"], PORT: "no port", ...environment },
    encoding: "utf8",
  });
  return stdout
    .split("\n")
    .filter((line) => line.startsWith("["))
    .map((line) => JSON.parse(line));
}

describe("the launcher", function () {
  // Elsewhere a process cannot become another.
  before(function () {
    if (process.platform === "win32") this.skip();
  });

  it("starts a server with the settings for a small memory, as the same process", () => {
    const [first, second, ...others] = becomes("start");
    assert.ok(first !== undefined && second !== undefined);
    assert.deepEqual(others, []);
    assert.equal(second[0], first[0]);
    assert.ok(second[1].some((flag) => flag.startsWith("--max-semi-space-size=")));
    assert.match(second[2] ?? "", /arena_max=1/);
  });

  it("leaves a setting to whoever made it", () => {
    const [, second] = becomes("start", { NODE_OPTIONS: "--max-semi-space-size=64" });
    const flags = second?.[1] ?? [];
    assert.ok(!flags.some((flag) => flag.startsWith("--max-semi-space-size=")));
    assert.ok(flags.some((flag) => flag.startsWith("--heap-growing-percent=")));
  });

  it("changes nothing for what runs once", () => {
    assert.equal(becomes("--version").length, 1);
  });
});
