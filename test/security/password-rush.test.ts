import assert from "node:assert/strict";
import { connect as connectTo } from "node:net";
import { aMachine } from "../support/api.ts";
import { RelyingParty, response, walk, WebBrowser, type Answer } from "../support/rp.ts";
import { aClient, aServer, aUser, PASSWORD, type TestServer } from "../support/server.ts";

/** More than hash, wait for that, and have a connection, by far. */
const PEOPLE = 160;

/** Everybody signs in at once. Whoever does not get a turn is told when to come back, and programs notice little (T-71). */
describe("a rush of passwords (T-71)", function () {
  this.timeout(60_000);
  let server: TestServer;
  let app: RelyingParty;
  let machine: RelyingParty;
  let visitors: { browser: WebBrowser; page: string }[];

  before(async () => {
    server = await aServer({ TRUSTED_PROXIES: "1" });
    app = new RelyingParty(server, await aClient(server, { first_party: true }));
    machine = await aMachine(server);
    visitors = [];
    for (let index = 0; index < PEOPLE; index += 1) {
      const browser = new WebBrowser(server, {
        "x-forwarded-for": `10.0.${index}.1`,
        "accept-language": index % 2 === 0 ? "de" : "ar",
      });
      const { url, page } = await walk(server, browser, app.authorization());
      assert.equal(page, "login");
      visitors.push({ browser, page: url.href });
    }
  });
  after(() => server.stop());

  const rush = (): Promise<Answer[]> =>
    Promise.all(
      visitors.map(({ browser, page }, index) =>
        browser.submit(page, { username: `nobody-${index}@example.com`, password: "a guess" }),
      ),
    );
  const ask = () => machine.token({ grant_type: "client_credentials" });

  it("answers each of them, with the page or with 503, Retry-After and a page in their language (RFC 9110 §10.2.3)", async () => {
    const answers = await rush();
    const statuses = new Set(answers.map(({ status }) => status));
    assert.deepEqual([...statuses].toSorted(), [401, 503]);
    for (const [index, { status, headers, text, page }] of answers.entries()) {
      if (status !== 503) continue;
      assert.ok(Number(headers["retry-after"]) >= 1);
      assert.equal(page, "error");
      assert.match(text, index % 2 === 0 ? /<html lang="de"/ : /<html lang="ar" dir="rtl"/);
      assert.match(headers["cache-control"] ?? "", /no-store/);
    }
  });

  it("counts no try of whoever was turned away", async () => {
    const count = async (): Promise<number> => {
      const [row] = await server.database.knex("login_throttles").sum("failures as n").where({
        scope: "account",
      });
      return Number(row?.["n"]);
    };
    const before = await count();
    const answers = await rush();
    const checked = answers.filter(({ status }) => status === 401).length;
    assert.ok(checked < PEOPLE);
    assert.equal((await count()) - before, checked);
  });

  it("leaves connections for tokens, which are all issued meanwhile, none of them last", async () => {
    let isOver = false;
    const all = rush().finally(() => (isOver = true));
    let issued = 0;
    while (!isOver) {
      const { status } = await ask();
      assert.equal(status, 200);
      issued += 1;
    }
    await all;
    assert.ok(issued >= 5, `${issued} tokens`);
  });

  it("lets somebody sign in whose turn it is, whoever sends a form and never ends it", async () => {
    const { port, issuer } = server;
    const [visitor] = visitors;
    assert.ok(visitor);
    const { pathname } = new URL(visitor.page);
    const sockets = Array.from({ length: 30 }, () => connectTo(port, "127.0.0.1"));
    try {
      for (const socket of sockets)
        socket.write(
          `POST ${pathname} HTTP/1.1\r\nHost: ${new URL(issuer).host}\r\nOrigin: ${issuer}\r\n` +
            `Sec-Fetch-Site: same-origin\r\nContent-Type: application/x-www-form-urlencoded\r\n` +
            `X-Forwarded-For: 10.9.9.9\r\nContent-Length: 40\r\n\r\nusername=`,
        );
      const { email } = await aUser(server);
      const browser = new WebBrowser(server, { "x-forwarded-for": "10.8.8.8" });
      const answer = await walk(server, browser, app.authorization(), {
        email,
        password: PASSWORD,
      });
      assert.ok(response(answer)["code"]);
    } finally {
      for (const socket of sockets) socket.destroy();
    }
  });
});
