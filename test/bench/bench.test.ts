import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { text } from "node:stream/consumers";
import { fileURLToPath } from "node:url";
import { FLOW_NAMES } from "../../bench/load/flows.ts";
import { readOptions } from "../../bench/options.ts";

const RUN = fileURLToPath(new URL("../../bench/run.ts", import.meta.url));

const SHORT = ["--rounds", "1", "--seconds", "0.2", "--concurrency", "2"];

/** What a run prints with `--json`. */
async function report(...args: string[]) {
  const child = spawn(process.execPath, [RUN, ...args, "--json"], {
    stdio: ["ignore", "pipe", "pipe"],
  });
  const printed = Promise.all([text(child.stdout), text(child.stderr)]);
  const [code] = await once(child, "exit");
  const [out, err] = await printed;
  assert.equal(code, 0, err);
  return JSON.parse(out);
}

describe("bench", () => {
  it("measures a flow and says what came of it as JSON", async function () {
    this.timeout(120_000);
    const { machine, load, flows } = await report("--flow", "refresh", ...SHORT);
    assert.equal(machine.node, process.version);
    assert.ok(load.ceiling_per_second > 0);
    assert.deepEqual(Object.keys(flows), ["refresh"]);
    const { ratio, p99_ms: p99, statements, wal_bytes: wal, bare } = flows.refresh;
    for (const figure of [ratio, p99, statements, wal, bare.per_second])
      assert.ok(figure > 0, `${figure}`);
  });

  it("fills databases with people who are signed in, and spreads requests over clients", async function () {
    this.timeout(120_000);
    const size = ["--rows", "40", "--clients", "20"];
    const flows = ["--flow", "refresh", "--flow", "silent_sign_in"];
    const { databases, flows: measured } = await report(...size, ...flows, ...SHORT);
    for (const flow of ["refresh", "silent_sign_in"]) {
      const { rows_40_clients_10: few, rows_40_clients_20: many } = measured[flow];
      assert.equal(few.ratio, 1);
      assert.ok(many.ratio > 0, JSON.stringify(many));
    }
    const [, { tables }] = databases;
    // One more of each, who signed in to be the template.
    for (const table of ["sessions", "refresh_tokens", "oauth_grants", "oidc_artifacts"])
      assert.equal(tables[table].rows, 41, table);
    assert.ok(tables.sessions.bytes > tables.sessions.index_bytes);
  });

  it("runs everything at once and reads memory meanwhile", async function () {
    this.timeout(120_000);
    const { readings } = await report("--mixed", "0.05", "--concurrency", "2");
    const [first, second] = readings;
    assert.equal(first.minute, 0);
    for (const figure of [second.per_second, second.memory_mb, second.heap_used_mb])
      assert.ok(figure > 0, JSON.stringify(readings));
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
    assert.match(refused("--rows", "1e3,many"), /must be positive/);
    assert.match(refused("--mixed", "0"), /must be positive/);
  });

  it("compares databases of several sizes, or with several numbers of clients", () => {
    const populations = (...args: string[]) => {
      const read = readOptions(args);
      return typeof read === "string" ? read : read.populations;
    };
    assert.deepEqual(populations("--rows", "1e5,1e3"), [
      { rows: 1_000, clients: 1 },
      { rows: 100_000, clients: 1 },
    ]);
    assert.deepEqual(populations("--clients", "1000"), [
      { rows: 10_000, clients: 10 },
      { rows: 10_000, clients: 1_000 },
    ]);
  });
});
