import assert from "node:assert/strict";
import { globSync, readFileSync } from "node:fs";
import { dirname, relative, resolve } from "node:path";
import { fileURLToPath } from "node:url";

const SOURCE = fileURLToPath(new URL("../src", import.meta.url));

/** The map of the house: which rooms a room may import from. Arrows point down; files at the top may use all. */
const GROUND = ["database", "models", "lib"];
const MAY_IMPORT: Readonly<Record<string, readonly string[]>> = {
  // Faces: they speak HTTP, the engine's callbacks, or to an operator.
  interaction: [
    "authn",
    "audit",
    "clients",
    "consents",
    "devices",
    "federation",
    "http",
    "keys",
    "mail",
    "recovery",
    "resources",
    "terms",
    "users",
    ...GROUND,
  ],
  federation: ["authn", "audit", "clients", "devices", "http", "keys", "mail", "users", ...GROUND],
  links: ["authn", "consents", "http", "keys", "mail", "recovery", "users", ...GROUND],
  oidc: [
    "authn",
    "audit",
    "clients",
    "consents",
    "federation",
    "http",
    "keys",
    "mail",
    "resources",
    "users",
    "workloads",
    ...GROUND,
  ],
  setup: ["authn", "audit", "http", "mail", "users", ...GROUND],
  demo: ["clients", "http", "i18n", "keys", "mail", ...GROUND],
  home: ["http", "terms", "users", ...GROUND],
  account: [
    "authn",
    "audit",
    "consents",
    "devices",
    "federation",
    "http",
    "keys",
    "mail",
    "recovery",
    "users",
    ...GROUND,
  ],
  conformance: ["clients", "keys", "users", ...GROUND],
  metrics: ["authn", ...GROUND],
  jobs: ["federation", "keys", "mail", ...GROUND],
  cli: [
    "authn",
    "audit",
    "clients",
    "conformance",
    "consents",
    "devices",
    "federation",
    "keys",
    "mail",
    "resources",
    "setup",
    "terms",
    "users",
    "workloads",
    ...GROUND,
  ],
  // Skills: each knows how to do one thing.
  users: ["authn", "audit", "keys", "mail", ...GROUND],
  terms: ["audit", ...GROUND],
  recovery: ["authn", "audit", "keys", "mail", "users", ...GROUND],
  resources: ["authn", "audit", "users", ...GROUND],
  clients: ["audit", "i18n", "keys", ...GROUND],
  consents: ["i18n", ...GROUND],
  workloads: ["audit", "clients", ...GROUND],
  authn: ["keys", ...GROUND],
  devices: ["audit", "keys", ...GROUND],
  mail: ["http", "i18n", "keys", ...GROUND],
  http: ["i18n", "lib"],
  i18n: ["lib"],
  keys: ["audit", ...GROUND],
  audit: [...GROUND],
  // Ground.
  database: ["lib"],
  models: ["database", "lib"],
  lib: [],
};
/** Files at the top that every room may read: the product's vocabularies. */
const VOCABULARIES = new Set([
  "errors.ts",
  "protocol-errors.ts",
  "config.ts",
  "issuers.ts",
  "views.ts",
]);

const files = globSync("**/*.ts", { cwd: SOURCE });

function importsOf(file: string): { target: string; isType: boolean }[] {
  const text = readFileSync(resolve(SOURCE, file), "utf8");
  const atOnce = text.matchAll(/^import (type )?[^;]*?from ["'](\.[^"']+)["'];/gms);
  const whenNeeded = text.matchAll(/\bimport\(()["'](\.[^"']+)["']\)/g);
  return [...atOnce, ...whenNeeded].map((match) => ({
    isType: match[1] === "type ",
    target: relative(SOURCE, resolve(SOURCE, dirname(file), match[2] ?? "")),
  }));
}

describe("architecture", () => {
  it("lets rooms import from the rooms below them only", () => {
    const wrong: string[] = [];
    for (const file of files) {
      const [room = ""] = file.split("/");
      if (room === file) continue;
      const allowed = MAY_IMPORT[room];
      assert.ok(allowed, `${room} is not on the map`);
      for (const { target, isType } of importsOf(file)) {
        const [targetRoom = ""] = target.split("/");
        const isFine =
          targetRoom === room ||
          allowed.includes(targetRoom) ||
          VOCABULARIES.has(target) ||
          (isType && target === "deps.ts");
        if (!isFine) wrong.push(`${file} imports ${target}`);
      }
    }
    assert.deepEqual(wrong, []);
  });

  it("lets only oidc/ import values from the engine, but for its errors", () => {
    const wrong = files.filter((file) => {
      if (file.startsWith("oidc/")) return false;
      const text = readFileSync(resolve(SOURCE, file), "utf8");
      const values = [
        ...text.matchAll(/^import (?!type )\{([^}]*)\} from ["']oidc-provider["'];/gms),
      ]
        .flatMap((match) => (match[1] ?? "").split(","))
        .map((name) => name.trim())
        .filter((name) => name !== "" && !name.startsWith("type "));
      return values.some((name) => !name.startsWith("errors"));
    });
    assert.deepEqual(wrong, []);
  });

  it("lets only finish.ts put a login into a result", () => {
    const wrong = files.filter(
      (file) =>
        file !== "interaction/finish.ts" &&
        /result\.login =|login: \{ accountId/.test(readFileSync(resolve(SOURCE, file), "utf8")),
    );
    assert.deepEqual(wrong, []);
  });

  it("keeps every error that somebody can see in one list", () => {
    const wrong = files.filter(
      (file) =>
        file !== "errors.ts" &&
        readFileSync(resolve(SOURCE, file), "utf8").includes("new AppError("),
    );
    assert.deepEqual(wrong, []);
  });

  it("gives every room a README that is short", () => {
    for (const room of Object.keys(MAY_IMPORT)) {
      const text = readFileSync(resolve(SOURCE, room, "README.md"), "utf8");
      assert.ok(text.split("\n").length <= 30, `${room}/README.md is too long`);
    }
  });
});
