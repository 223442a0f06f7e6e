#!/usr/bin/env node
// The command `lintel`. Plain JavaScript, so that a Node which cannot run TypeScript can still say what is missing.
import { readFileSync } from "node:fs";
import module from "node:module";
import { fileURLToPath } from "node:url";

const [major = 0, minor = 0] = process.versions.node.split(".").map(Number);
if (major < 22 || (major === 22 && minor < 18)) {
  console.error(
    `Lintel needs Node 22.18 or newer, and this is ${process.versions.node}. In a checkout, run it with npm: ` +
      "after `npm ci`, `npm start` and `npm run -s lintel` use the Node that the project brings.",
  );
  process.exit(1);
}

// A server runs beside others for months, so its memory is kept small: docs/performance.md, Memory. Node takes these
// settings only when it starts. Whoever has a channel to this process, a cluster or a watcher, would lose it.
if (process.argv[2] === "start" && process.platform !== "win32" && !process.connected) {
  const text = readFileSync(new URL("little-memory.json", import.meta.url), "utf8");
  const { flags, environment } = JSON.parse(text);
  const given = `${process.execArgv.join(" ")} ${process.env.NODE_OPTIONS ?? ""}`;
  const missing = flags.filter((flag) => !given.includes(flag.replace(/=.*/, "")));
  if (missing.length > 0) {
    const args = [...missing, ...process.execArgv, ...process.argv.slice(1)];
    process.execve(process.execPath, [process.execPath, ...args], {
      ...environment,
      ...process.env,
    });
  }
}

// What was compiled once is read the next time: a third less to do at the start. Kept where only whoever may change the
// code may write; in the directory for temporary files anybody could plant code.
module.enableCompileCache(fileURLToPath(new URL("../node_modules/.cache/lintel", import.meta.url)));

// Node runs TypeScript as it is, but not below node_modules, which is where an installed Lintel lives.
const root = new URL("..", import.meta.url).href;
if (root.includes("/node_modules/")) {
  process.removeAllListeners("warning");
  module.registerHooks({
    load(url, context, next) {
      const isOurs =
        url.startsWith(root) && /^(src|migrations)\/.*\.ts$/.test(url.slice(root.length));
      if (!isOurs) return next(url, context);
      const source = module.stripTypeScriptTypes(readFileSync(fileURLToPath(url), "utf8"));
      return { format: "module", source, shortCircuit: true };
    },
  });
}

await import("./cli.ts");

// A server is ready now: writes what it compiled, should it end in a hurry, and gives back the memory of what was read.
module.flushCompileCache();
