import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { createServer, request, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { text } from "node:stream/consumers";
import Koa from "koa";
import { mailboxRoutes } from "../../src/demo/mailbox.ts";
import { AppError } from "../../src/errors.ts";
import { migrateJobs } from "../../src/jobs/worker.ts";
import { openSeal, type Seal } from "../../src/keys/seal.ts";
import { uuidv7 } from "../../src/lib/uuid.ts";
import { parseSender } from "../../src/mail/compose.ts";
import * as messages from "../../src/mail/messages.ts";
import { sendMail } from "../../src/mail/outbox.ts";
import { testDatabase, testLog, type TestDatabase } from "../support/database.ts";

describe("development mailbox", () => {
  let database: TestDatabase;
  let seal: Seal;
  let server: Server;
  let port: number;
  let id: string;

  before(async () => {
    database = await testDatabase();
    await migrateJobs(database.url, testLog);
    seal = await openSeal(database.knex, { encryptionKey: randomBytes(32) });

    const router = mailboxRoutes({
      knex: database.knex,
      mail: {
        seal,
        from: parseSender("Lintel <no-reply@localhost>"),
        renderMail: (template, props) => ({
          subject: `About ${template}`,
          text: JSON.stringify(props),
          html: "<b>bold</b>",
        }),
      },
      page: async (ctx, name, view) => {
        ctx.body = { name, view };
      },
    });
    const app = new Koa();
    app.use(async (ctx, next) => {
      await next().catch((error: unknown) => {
        ctx.status = error instanceof AppError ? error.status : 500;
      });
    });
    app.use(router.routes());
    server = createServer(app.callback());
    await once(server.listen(0, "127.0.0.1"), "listening");
    port = (server.address() as AddressInfo).port;
  });

  beforeEach(async () => {
    await database.knex.raw("DELETE FROM outbox_messages");
    const mail = messages.administratorCreated({
      email: "ada@rp.example",
      at: new Date("2026-11-21T10:00:00Z"),
    });
    id =
      (await sendMail(database.knex, { seal }, { mail, to: "ada@rp.example", locale: "en" })) ?? "";
  });

  after(async () => {
    server.close();
    await database.drop();
  });

  async function ask(path: string, { method = "GET", host = `localhost:${port}` } = {}) {
    const sent = request({ host: "127.0.0.1", port, path, method, headers: { host } }).end();
    const [response] = await once(sent, "response");
    const body = await text(response);
    return {
      status: response.statusCode as number,
      type: String(response.headers["content-type"]),
      body,
    };
  }

  it("lists what the outbox holds, newest first", async () => {
    await sendMail(
      database.knex,
      { seal },
      { mail: messages.test({ at: new Date() }), to: "bob@rp.example", locale: "en" },
    );
    const { body } = await ask("/dev/mail");
    const { name, view } = JSON.parse(body);
    assert.equal(name, "mailbox");
    assert.deepEqual(
      view.messages.map(({ to, subject, status }: Record<string, string>) => [to, subject, status]),
      [
        ["bob@rp.example", "About test", "queued"],
        ["ada@rp.example", "About administrator_created", "queued"],
      ],
    );
  });

  it("shows one message as it reads", async () => {
    const { name, view } = JSON.parse((await ask(`/dev/mail/${id}`)).body);
    assert.equal(name, "mailbox-message");
    assert.equal(view.to, "ada@rp.example");
    assert.match(view.text, /ada@rp\.example/);
    assert.equal(view.html, "<b>bold</b>");
  });

  it("shows one message as it travels, headers and all, and never as a page", async () => {
    const { body, type } = await ask(`/dev/mail/${id}/source`);
    assert.match(type, /^text\/plain/);
    assert.match(body, new RegExp(`^Message-ID: <${id}@localhost>`, "m"));
    assert.match(body, /^Auto-Submitted: auto-generated/m);
    assert.match(body, /^Content-Type: multipart\/alternative/m);
  });

  it("empties itself of what is done", async () => {
    const { status } = await ask("/dev/mail/clear", { method: "POST" });
    assert.equal(status, 303);
    assert.equal((await ask(`/dev/mail/${id}`)).status, 200);
    await database.knex.raw(`UPDATE outbox_messages SET status = 'sent'`);
    await ask("/dev/mail/clear", { method: "POST" });
    assert.equal((await ask(`/dev/mail/${id}`)).status, 404);
  });

  it("knows nothing of other ids", async () => {
    for (const other of [uuidv7(), "x", `${id}'`]) {
      assert.equal((await ask(`/dev/mail/${encodeURIComponent(other)}`)).status, 404);
      assert.equal((await ask(`/dev/mail/${encodeURIComponent(other)}/source`)).status, 404);
    }
  });

  it("answers only for names of this machine, so that another site cannot rebind its own", async () => {
    for (const host of ["127.0.0.1:3000", "[::1]:3000", "localhost"])
      assert.equal((await ask("/dev/mail", { host })).status, 200, host);
    for (const host of [
      "evil.example",
      "localhost.evil.example",
      "evil.example:80@localhost",
      "10.0.0.1",
    ])
      assert.equal((await ask("/dev/mail", { host })).status, 404, host);
  });
});
