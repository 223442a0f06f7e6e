import type { Server } from "node:http";
import { listenOn } from "../http/listen.ts";
import type { Deps } from "../deps.ts";
import { registerDemoClient } from "./registration.ts";
import { relyingParty } from "./relying-party.ts";

/** Registers the demo relying party and starts it on its own origin. Development only. */
export async function startDemo({ config, knex }: Pick<Deps, "config" | "knex">): Promise<Server> {
  const origin = `http://localhost:${config.demoPort}`;
  const credentials = await registerDemoClient(knex, { origin, dataDir: config.dataDir });
  const app = relyingParty({ issuer: config.issuer, origin, ...credentials });
  return listenOn(app.callback(), config.demoPort, "localhost");
}
