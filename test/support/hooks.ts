import type { RootHookObject } from "mocha";

import { stopTestPostgres } from "./database.ts";

// mocha swallows what nobody waited for; a test that left such a thing behind has failed.
process.on("unhandledRejection", (reason) => {
  throw reason;
});

/** For `mocha --require test/support/hooks.ts`: what the whole run ends with. */
export const mochaHooks: RootHookObject = {
  async afterAll() {
    await stopTestPostgres();
  },
};
