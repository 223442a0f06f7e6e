import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { text } from "node:stream/consumers";
import { fileURLToPath } from "node:url";
import { FLOW_NAMES } from "../../bench/load/flows.ts";
import { readOptions } from "../../bench/options.ts";

const RUN = fileURLToPath(new URL("../../bench/run.ts", import.meta.url));

describe("bench", () => {
  it("measures a flow and says what came of it as JSON", async function () {
    this.timeout(60_000);
    const args = ["--flow", "refresh", "--rounds", "1", "--seconds", "0.2", "--concurrency", "2"];
    const child = spawn(process.execPath, [RUN, ...args, "--json"], {
      stdio: ["ignore", "pipe", "pipe"],
    });
    const printed = Promise.all([text(child.stdout), text(child.stderr)]);
    const [code] = await once(child, "exit");
    const [out, err] = await printed;
    assert.equal(code, 0, err);
    const { machine, load, flows } = JSON.parse(out);
    assert.equal(machine.node, process.version);
    assert.ok(load.ceiling_per_second > 0);
    assert.deepEqual(Object.keys(flows), ["refresh"]);
    const { ratio, p99_ms: p99, statements, wal_bytes: wal, bare } = flows.refresh;
    for (const figure of [ratio, p99, statements, wal, bare.per_second])
      assert.ok(figure > 0, `${figure}`);
  });

  it("takes every flow unless it is told which", () => {
    const options = readOptions(["--rounds", "3"]);
    assert.ok(typeof options !== "string");
    assert.deepEqual(options.flows, FLOW_NAMES);
    assert.equal(options.rounds, 3);
  });

  it("says what it does not know", () => {
    const refused = (...args: string[]): string => {
      const read = readOptions(args);
      return typeof read === "string" ? read : "";
    };
    assert.match(refused("--flow", "teleport"), /no flow teleport/);
    assert.match(refused("--seconds", "none"), /must be positive/);
  });
});
