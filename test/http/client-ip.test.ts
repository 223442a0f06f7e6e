import assert from "node:assert/strict";
import type { Server } from "node:http";
import Koa from "koa";
import { clientIp } from "../../src/http/client-ip.ts";
import { listenOn, portOf } from "../../src/http/listen.ts";
import { AuditEvent } from "../../src/models/audit-event.ts";
import { ask, beginSignIn, submit } from "../support/raw.ts";
import { aClient, aServer, aUser, PASSWORD } from "../support/server.ts";

/** Where a request came from, as handlers see it, by how many proxies are trusted. */
const TABLE: readonly [proxies: number, forwarded: string | undefined, prefix: string][] = [
  // Nobody is trusted: what the header says is what the sender wishes.
  [0, undefined, "127.0.0.0/24"],
  [0, "203.0.113.7", "127.0.0.0/24"],
  // One proxy: the last entry is its own, whatever stands before it.
  [1, "203.0.113.7", "203.0.113.0/24"],
  [1, "6.6.6.6, 203.0.113.7", "203.0.113.0/24"],
  [1, "6.6.6.6,203.0.113.7", "203.0.113.0/24"],
  [1, `${"6.6.6.6, ".repeat(300)}203.0.113.7`, "203.0.113.0/24"],
  [2, "6.6.6.6, 203.0.113.7, 10.0.0.1", "203.0.113.0/24"],
  // IPv6 by its network; IPv4 in IPv6 clothes is IPv4 (express-rate-limit CVE-2026-30827).
  [1, "2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"],
  [1, "2001:DB8:1:2:FFFF::1", "2001:db8:1:2::/64"],
  [1, "::ffff:203.0.113.7", "203.0.113.0/24"],
  [1, "::ffff:cb00:7107", "203.0.113.0/24"],
  // What is no address counts as the proxy itself, and never as nobody (authentik CVE-2024-47070).
  [1, undefined, "127.0.0.0/24"],
  [1, "", "127.0.0.0/24"],
  [1, "a", "127.0.0.0/24"],
  [1, "203.0.113.7, a", "127.0.0.0/24"],
  [1, "203.0.113.7,", "127.0.0.0/24"],
  [1, "unknown", "127.0.0.0/24"],
  [1, "1", "127.0.0.0/24"],
  [1, "0x7f000001", "127.0.0.0/24"],
  [1, "0313.0.0161.7", "127.0.0.0/24"],
  [1, "203.0.113.7:4711", "127.0.0.0/24"],
  [1, "[2001:db8::1]", "127.0.0.0/24"],
  [1, "203.0.113.7; DROP TABLE users", "127.0.0.0/24"],
  // Fewer entries than proxies: somebody went round them.
  [2, "203.0.113.7", "127.0.0.0/24"],
  [10, "203.0.113.7, 10.0.0.1", "127.0.0.0/24"],
];

describe("where a request came from (T-49)", () => {
  const servers = new Map<number, Server>();
  before(async () => {
    for (const proxies of new Set(TABLE.map(([count]) => count))) {
      const app = new Koa();
      app.use(clientIp(proxies));
      app.use((ctx) => {
        ctx.body = String(ctx.state["ipPrefix"]);
      });
      servers.set(proxies, await listenOn(app.callback(), 0, "127.0.0.1"));
    }
  });
  after(() => {
    for (const server of servers.values()) server.close();
  });

  for (const [proxies, forwarded, prefix] of TABLE) {
    it(`is ${prefix} with ${proxies} trusted and X-Forwarded-For ${forwarded?.slice(0, 40) ?? "absent"}`, async () => {
      const server = servers.get(proxies);
      assert.ok(server !== undefined);
      const answer = await ask(`http://127.0.0.1:${portOf(server)}/`, {
        headers: forwarded === undefined ? {} : { "X-Forwarded-For": forwarded },
      });
      assert.equal(answer.body, prefix);
    });
  }

  it("is found at once, however long the header is (Keycloak CVE-2024-9666)", async () => {
    const server = servers.get(1);
    assert.ok(server !== undefined);
    const address = `http://127.0.0.1:${portOf(server)}/`;
    const question = { headers: { "X-Forwarded-For": `${"6.6.6.6,".repeat(1800)}203.0.113.7` } };
    await ask(address, question);
    const startedAt = performance.now();
    for (let count = 0; count < 10; count += 1) await ask(address, question);
    assert.ok((performance.now() - startedAt) / 10 < 20);
  });

  it("can be nonsense, and a password is still asked for, counted and recorded", async () => {
    const lintel = await aServer({ TRUSTED_PROXIES: "1" });
    try {
      const client = await aClient(lintel);
      const user = await aUser(lintel);
      const { address, cookies } = await beginSignIn(lintel.issuer, client);
      const send = (password: string, from: string) =>
        submit(
          address,
          { username: user.email, password },
          { Cookie: cookies, "X-Forwarded-For": from },
        );

      for (const from of ["a", "203.0.113.7, ", "::ffff:203.0.113.7", "203.0.113.9", "203.0.113.7"])
        assert.equal((await send("not the password", from)).status, 401, from);
      for (const from of ["203.0.113.200", "::ffff:203.0.113.7", "6.6.6.6, 203.0.113.1"])
        await send("not the password", from);
      assert.equal(
        (await send(PASSWORD, "6.6.6.6, 203.0.113.5")).status,
        429,
        "one network, one counter",
      );
      assert.equal((await send(PASSWORD, "198.51.100.1")).status, 303, "another network goes on");

      const events = await AuditEvent.query(lintel.database.knex).where({ type: "login.failed" });
      assert.deepEqual([...new Set(events.map(({ ipPrefix }) => ipPrefix))].sort(), [
        "127.0.0.0/24",
        "203.0.113.0/24",
      ]);
      assert.doesNotMatch(lintel.logged(), /203\.0\.113|198\.51\.100/);
    } finally {
      await lintel.stop();
    }
  });
});
