import assert from "node:assert/strict";
import { Router } from "@koa/router";
import Koa from "koa";
import { createServer, type Server } from "node:http";
import { once } from "node:events";
import type { AddressInfo } from "node:net";
import { routersAsOne } from "../../src/http/routers.ts";

describe("many routers as one", () => {
  let server: Server;
  before(async () => {
    const people = new Router({ prefix: "/people/:id" });
    people.use(async (ctx, next) => {
      ctx.set("x-seen", "people");
      await next();
    });
    people.get("/", (ctx) => void (ctx.body = `person ${ctx.params["id"]}`));
    const more = new Router();
    more.get("/people/all/list", (ctx) => void (ctx.body = "list"));
    more.get("/", (ctx) => void (ctx.body = "home"));
    const app = new Koa();
    app.use(routersAsOne([people, more]));
    app.use((ctx) => {
      if (ctx.method === "GET") ctx.body = `nobody: ${ctx.path}`;
    });
    server = createServer(app.callback()).listen(0, "127.0.0.1");
    await once(server, "listening");
  });
  after(() => server.close());

  const ask = (path: string, method = "GET") =>
    fetch(`http://127.0.0.1:${(server.address() as AddressInfo).port}${path}`, { method });

  it("answer what one of them has, in any case, with a slash or without", async () => {
    for (const path of ["/people/ada", "/People/ada", "/people/ada/"])
      assert.equal(await (await ask(path)).text(), "person ada", path);
    assert.equal(await (await ask("/people/all/list")).text(), "list");
    assert.equal(await (await ask("/")).text(), "home");
  });

  it("run what a router has for its own routes, and for nothing else", async () => {
    assert.equal((await ask("/people/ada")).headers.get("x-seen"), "people");
    assert.equal((await ask("/people/all/list")).headers.get("x-seen"), null);
  });

  it("pass what none of them has", async () => {
    for (const path of ["/peoples", "/people", "/auth", "//people/ada"])
      assert.equal(await (await ask(path)).text(), `nobody: ${path}`);
  });

  it("say which methods a path has", async () => {
    const answer = await ask("/people/ada", "OPTIONS");
    assert.equal(answer.headers.get("allow"), "HEAD, GET");
  });

  it("refuse a route that begins with a pattern", () => {
    const router = new Router();
    router.get("/:anything", () => undefined);
    assert.throws(() => routersAsOne([router]), /pattern/);
  });
});
