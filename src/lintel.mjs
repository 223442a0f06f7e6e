#!/usr/bin/env node
// The command `lintel`. Plain JavaScript, so that a Node which cannot run TypeScript can still say what is missing.
const [major = 0, minor = 0] = process.versions.node.split(".").map(Number);
if (major < 22 || (major === 22 && minor < 18)) {
  console.error(
    `Lintel needs Node 22.18 or newer, and this is ${process.versions.node}. In a checkout, run it with npm: ` +
      "after `npm ci`, `npm start` and `npm run -s lintel` use the Node that the project brings.",
  );
  process.exit(1);
}
await import("./cli.ts");
