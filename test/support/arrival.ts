import type { Server } from "node:http";
import Koa from "koa";
import { listenOn, portOf } from "../../src/http/listen.ts";

/** Where a client's answers arrive in a browser: an app on an origin of its own. */
export async function anArrival(): Promise<{ redirectUri: string; listener: Server }> {
  const app = new Koa();
  app.use((ctx) => {
    ctx.type = "html";
    ctx.body =
      '<!doctype html><link rel="icon" href="data:,"><title>App</title><body data-page="app"><h1>App</h1>';
  });
  const listener = await listenOn(app.callback(), 0, "localhost");
  return { redirectUri: `http://localhost:${portOf(listener)}/callback`, listener };
}
