import type { RootHookObject } from "mocha";

import { stopTestPostgres } from "./database.ts";

/** For `mocha --require test/support/hooks.ts`: what the whole run ends with. */
export const mochaHooks: RootHookObject = {
  async afterAll() {
    await stopTestPostgres();
  },
};
