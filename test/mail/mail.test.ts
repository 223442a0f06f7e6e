import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { AppError } from "../../src/errors.ts";
import { Templates } from "../../src/http/templates.ts";
import { Catalogues } from "../../src/i18n/catalogue.ts";
import { LANGUAGES } from "../../src/i18n/languages.ts";
import { migrateJobs } from "../../src/jobs/worker.ts";
import { openSeal, type Seal } from "../../src/keys/seal.ts";
import { createLogger } from "../../src/lib/log.ts";
import { parseSender } from "../../src/mail/compose.ts";
import { deliverMail, type DeliverNeeds } from "../../src/mail/deliver.ts";
import { createMailer } from "../../src/mail/mailer.ts";
import { sendMail, type MailMessage } from "../../src/mail/outbox.ts";
import { createMailRenderer } from "../../src/mail/render.ts";
import * as messages from "../../src/mail/messages.ts";
import { createMailTransport, smtpTransport } from "../../src/mail/transport.ts";
import { OutboxMessage } from "../../src/models/outbox-message.ts";
import { testDatabase, testLog, type TestDatabase } from "../support/database.ts";
import { startSmtpSink, type SmtpSink } from "./smtp-sink.ts";

const at = new Date("2026-11-21T10:00:00Z");
const renderMail: DeliverNeeds["renderMail"] = (template, props, locale) => ({
  subject: `${template} ${locale}`,
  text: JSON.stringify(props),
  html: `<p>${template}</p>`,
});

const CHANGES = [
  "totp_added",
  "totp_removed",
  "totp_disabled",
  "email_added",
  "email_removed",
  "codes_created",
  "code_used",
  "browser_trusted",
  "reset",
] as const;

describe("mail", () => {
  let database: TestDatabase;
  let seal: Seal;
  let sink: SmtpSink;
  let needs: DeliverNeeds;
  const logged: string[] = [];

  before(async () => {
    database = await testDatabase();
    await migrateJobs(database.url, testLog);
    seal = await openSeal(database.knex, { encryptionKey: randomBytes(32) });
    sink = await startSmtpSink();
    needs = {
      seal,
      renderMail,
      from: parseSender("Lintel <no-reply@idp.example>"),
      transport: smtpTransport(sink.url),
      log: createLogger({
        level: "debug",
        destination: { write: (line: string) => void logged.push(line) },
      }),
    };
  });

  beforeEach(async () => {
    await database.knex.raw("DELETE FROM outbox_messages");
    await database.knex.raw("DELETE FROM graphile_worker._private_jobs");
    sink.received.length = 0;
    sink.refuse = () => undefined;
    logged.length = 0;
  });

  after(async () => {
    needs.transport.close();
    await sink.stop();
    await database.drop();
  });

  const send = (changes: Partial<MailMessage> = {}) =>
    sendMail(
      database.knex,
      { seal },
      { mail: messages.test({ at }), to: "ada@rp.example", locale: "en", ...changes },
    );

  async function queued(changes?: Partial<MailMessage>): Promise<string> {
    const id = await send(changes);
    assert.ok(id !== undefined);
    return id;
  }

  const row = (id: string) => OutboxMessage.query(database.knex).findById(id).throwIfNotFound();
  const jobs = async () => {
    const result: { rows: { payload: unknown; max_attempts: number }[] } = await database.knex.raw(
      "SELECT payload, max_attempts FROM graphile_worker._private_jobs",
    );
    return result.rows;
  };
  const deliver = (id: string, attempt = 1, last = false) =>
    deliverMail(database.knex, needs, { id, attempt, last });

  const mailer = () => createMailer({ seal, locales: ["en", "de"] });
  async function deliverAll(): Promise<void> {
    for (const { id } of await OutboxMessage.query(database.knex)) await deliver(id);
  }

  describe("outbox", () => {
    it("adds the message and a job that knows nothing but its id", async () => {
      const id = await queued({
        mail: messages.administratorCreated({ email: "ada@rp.example", at }),
      });
      assert.deepEqual(await jobs(), [{ payload: { id }, max_attempts: 12 }]);
      const message = await row(id);
      assert.equal(message.status, "queued");
      assert.equal(message.template, "administrator_created");
    });

    it("sends nothing when the transaction is rolled back (T-116)", async () => {
      const failing = database.knex.transaction(async (trx) => {
        await sendMail(
          trx,
          { seal },
          { mail: messages.test({ at }), to: "ada@rp.example", locale: "en" },
        );
        throw new Error("rolled back");
      });
      await assert.rejects(failing, /rolled back/);
      assert.deepEqual(await jobs(), []);
      assert.equal(await OutboxMessage.query(database.knex).resultSize(), 0);
    });

    it("keeps recipient and content sealed to their own row and column", async () => {
      const id = await queued({
        mail: messages.tokenReused({ email: "ada@rp.example", clientName: "Canary Bank", at }),
      });
      const { recipientEnc, payloadEnc } = await row(id);
      assert.ok(!recipientEnc.includes("ada") && !payloadEnc.includes("Canary"));
      const other = await queued();
      await OutboxMessage.query(database.knex).patch({ recipientEnc }).where({ id: other });
      await assert.rejects(deliver(other), { reason: "not_composed" });
      assert.equal(sink.received.length, 0);
    });

    it("sends one mail for one occasion, however many callers report it", async () => {
      const ids = await Promise.all(
        Array.from({ length: 8 }, () => send({ dedupeKey: "signin_blocked:1" })),
      );
      assert.equal(ids.filter((id) => id !== undefined).length, 1);
      assert.equal((await jobs()).length, 1);
    });

    for (const to of [
      "ada@rp.example, eve@evil.example",
      '"eve@evil.example x"@rp.example',
      "eve@evil.example@rp.example",
      "ada@rp.example\r\nBcc: eve@evil.example",
      "ada@rp.example\n.eve@evil.example",
      "Ada <eve@evil.example>",
      "ada@rp.example (eve@evil.example)",
      "group: eve@evil.example;",
      "ada@[127.0.0.1]",
      "ada rp@rp.example",
      "ada\u0000@rp.example",
      "ada",
      "@rp.example",
      "ada@",
      "",
    ]) {
      it(`refuses the recipient ${JSON.stringify(to)} (T-68)`, async () => {
        await assert.rejects(send({ to }), (error) => {
          assert.ok(error instanceof AppError);
          return error.code === "invalid_email";
        });
        assert.deepEqual(await jobs(), []);
      });
    }
  });

  describe("mailer", () => {
    const userId = "00000000-0000-7000-8000-000000000001";

    beforeEach(async () => {
      await database.knex.raw(`
        DELETE FROM users;
        INSERT INTO users (id, created_via) VALUES ('${userId}', 'admin');
        INSERT INTO user_profiles (user_id, locale) VALUES ('${userId}', 'de-AT');
        INSERT INTO user_emails (id, user_id, email, email_norm, is_primary, verified_at) VALUES
          ('00000000-0000-7000-8000-000000000002', '${userId}', 'Ada@rp.example', 'ada@rp.example', true, now()),
          ('00000000-0000-7000-8000-000000000003', '${userId}', 'old@rp.example', 'old@rp.example', false, now())`);
    });

    it("writes to the primary address in the language of the profile", async () => {
      await mailer().tokenReused(database.knex, { userId, clientName: "Demo", now: at });
      await deliverAll();
      assert.equal(sink.received.length, 1);
      assert.deepEqual(sink.received[0]?.recipients, ["<Ada@rp.example>"]);
      assert.match(sink.received[0]?.data ?? "", /Subject: token_reused de\n/);
    });

    it("tells about blocked sign-ins once a day", async () => {
      const tomorrow = new Date(at.getTime() + 24 * 60 * 60 * 1_000);
      for (const now of [at, at, tomorrow])
        await mailer().signinBlocked(database.knex, { userId, now });
      assert.equal((await jobs()).length, 2);
    });

    it("tells nobody whose address is not proven about sign-ins", async () => {
      await database.knex.raw("UPDATE user_emails SET verified_at = NULL");
      await mailer().signinBlocked(database.knex, { userId, now: at });
      await mailer().tokenReused(database.knex, { userId, clientName: "Demo", now: at });
      assert.deepEqual(await jobs(), []);
      await mailer().administratorCreated(database.knex, { userId, now: at });
      assert.equal((await jobs()).length, 1);
    });

    it("does nothing for a user without an address", async () => {
      await database.knex.raw("DELETE FROM user_emails");
      await mailer().signinBlocked(database.knex, { userId, now: at });
      await mailer().administratorCreated(database.knex, { userId, now: at });
      assert.deepEqual(await jobs(), []);
    });

    it("sends a code to a verified address only: the one that was named, or the primary one (T-75)", async () => {
      const code = "48151623";
      const send = (named?: string) =>
        mailer().signInCode(database.knex, { userId, named, code, expiresAt: at });
      for (const named of ["old@rp.example", "ada", undefined]) await send(named);
      await deliverAll();
      const recipients = sink.received.map((mail) => mail.recipients[0]);
      assert.deepEqual(recipients.toSorted(), [
        "<Ada@rp.example>",
        "<Ada@rp.example>",
        "<old@rp.example>",
      ]);
      await database.knex.raw(
        "UPDATE user_emails SET verified_at = NULL; DELETE FROM outbox_messages",
      );
      for (const named of ["old@rp.example", undefined]) await send(named);
      assert.equal(await OutboxMessage.query(database.knex).resultSize(), 0);
    });

    it("never says a code in a subject, and says it in the mail and its HTML (T-75)", async () => {
      const render = createMailRenderer({
        config: { productName: "Lintel", issuer: "https://idp.example" },
        templates: new Templates(),
        catalogues: new Catalogues(),
      });
      const { template, props } = messages.signInCode({ code: "48151623", expiresAt: at });
      for (const locale of ["en", "de"]) {
        const { subject, text, html } = await render(template, props, locale);
        assert.doesNotMatch(subject, /\d/);
        assert.match(text, /4815 1623/);
        assert.match(html, /4815 1623/);
      }
    });

    it("tests a given address in the first language", async () => {
      await mailer().test(database.knex, { to: "operator@rp.example", now: at });
      await deliverAll();
      assert.match(sink.received[0]?.data ?? "", /Subject: test en\n/);
    });
  });

  describe("delivery", () => {
    it("sends the mail to exactly the stored address, with the headers of a machine", async () => {
      const id = await queued({
        mail: messages.signinBlocked({ email: "ada@rp.example", at }),
        locale: "de",
      });
      await deliver(id);
      const [mail] = sink.received;
      assert.ok(mail);
      assert.equal(mail.from, "<no-reply@idp.example>");
      assert.deepEqual(mail.recipients, ["<ada@rp.example>"]);
      for (const header of [
        "From: Lintel <no-reply@idp.example>",
        "To: ada@rp.example",
        "Subject: signin_blocked de",
        `Message-ID: <${id}@idp.example>`,
        "Auto-Submitted: auto-generated",
        "X-Auto-Response-Suppress: All",
        "Feedback-ID: signin_blocked:idp.example",
      ]) {
        assert.ok(mail.data.includes(`${header}\n`), header);
      }
      assert.match(mail.data, /text\/plain[^]*text\/html/);
      const message = await row(id);
      assert.equal(message.status, "sent");
      assert.ok(message.sentAt instanceof Date);
    });

    for (const to of [
      "o’hara+tag@rp.example",
      "ädä@rp.example",
      "a=b/c@rp.example",
      "x{y}~@rp.example",
    ]) {
      it(`keeps ${to} as it is (T-68)`, async () => {
        await deliver(await queued({ to }));
        assert.deepEqual(sink.received[0]?.recipients, [`<${to}>`]);
      });
    }

    it("sends once, however many workers take the same attempt", async () => {
      const id = await queued();
      await Promise.all(Array.from({ length: 6 }, () => deliver(id)));
      await deliver(id, 2);
      assert.equal(sink.received.length, 1);
    });

    it("takes over a message whose worker died, under the same Message-ID", async () => {
      const id = await queued();
      await OutboxMessage.query(database.knex)
        .patch({ status: "sending", attempts: 1 })
        .where({ id });
      await deliver(id, 1);
      assert.equal(sink.received.length, 0);
      await deliver(id, 2);
      assert.match(sink.received[0]?.data ?? "", new RegExp(`Message-ID: <${id}@`));
    });

    it("never lets a late attempt overwrite the outcome of a newer one", async () => {
      const id = await queued();
      const slow = Promise.withResolvers<void>();
      const waiting = { send: () => slow.promise, close: () => {} };
      const first = deliverMail(
        database.knex,
        { ...needs, transport: waiting },
        { id, attempt: 1, last: false },
      );
      while ((await row(id)).status !== "sending");
      await deliver(id, 2);
      slow.reject(new Error("too late"));
      await assert.rejects(first);
      assert.equal((await row(id)).status, "sent");
    });

    it("waits for another attempt when the server says 4xx or is away", async () => {
      const id = await queued();
      sink.refuse = (line) =>
        line.startsWith("RCPT") ? "451 4.7.1 greylisted, <ada@rp.example>" : undefined;
      await assert.rejects(deliver(id, 1), { name: "MailError", reason: "smtp_451_4.7.1" });
      assert.equal((await row(id)).status, "queued");
      assert.equal((await row(id)).lastError, "smtp_451_4.7.1");

      const away = { ...needs, transport: smtpTransport("smtp://127.0.0.1:1") };
      await assert.rejects(deliverMail(database.knex, away, { id, attempt: 2, last: false }), {
        reason: "econnrefused",
      });
      away.transport.close();

      sink.refuse = () => undefined;
      await deliver(id, 3);
      const message = await row(id);
      assert.deepEqual([message.status, message.attempts, message.lastError], ["sent", 3, null]);
    });

    it("gives up at once when the server says 5xx about the recipient or the message", async () => {
      for (const command of ["RCPT", "DATA"]) {
        const id = await queued();
        sink.refuse = (line) =>
          line.startsWith(command) ? "550 5.1.1 <ada@rp.example> unknown" : undefined;
        await deliver(id);
        const message = await row(id);
        assert.deepEqual([message.status, message.lastError], ["failed", "smtp_550_5.1.1"]);
        sink.refuse = () => undefined;
        await deliver(id, 2);
      }
      assert.equal(sink.received.length, 0);
    });

    it("keeps trying when the server refuses us, which an operator can mend", async () => {
      const id = await queued();
      sink.refuse = (line) =>
        line.startsWith("MAIL") ? "530 5.7.0 authentication required" : undefined;
      await assert.rejects(deliver(id), { reason: "smtp_530_5.7.0" });
      assert.equal((await row(id)).status, "queued");
    });

    it("gives up after the last attempt", async () => {
      const id = await queued();
      sink.refuse = (line) => (line.startsWith("DATA") ? "452 4.3.1 full" : undefined);
      await deliver(id, 12, true);
      assert.equal((await row(id)).status, "failed");
    });

    it("logs neither address nor content nor what the server said (T-118)", async () => {
      const id = await queued({
        mail: messages.tokenReused({ email: "ada@rp.example", clientName: "Canary Bank", at }),
      });
      sink.refuse = (line) =>
        line.startsWith("RCPT") ? "550 5.1.1 <ada@rp.example> unknown" : undefined;
      await deliver(id);
      assert.equal(logged.length, 1);
      assert.doesNotMatch(logged.join(""), /ada|Canary|unknown/);
      assert.doesNotMatch(JSON.stringify(await row(id)), /ada@|Canary|unknown/);
    });

    it("never sends a password in the clear to another machine", async () => {
      const lines: string[] = [];
      sink.refuse = (line) => {
        lines.push(line);
        if (line === "STARTTLS") return "502 5.5.1 not here";
        return line.startsWith("EHLO") ? "250-sink\r\n250 AUTH PLAIN" : undefined;
      };
      // This machine under a name that is not known to be: what holds for it holds for every other.
      const url = sink.url.replace("127.0.0.1", "user:password@127.1");
      const remote = { ...needs, transport: smtpTransport(url) };
      const attempt = { id: await queued(), attempt: 1, last: false };
      await assert.rejects(deliverMail(database.knex, remote, attempt), {
        reason: "smtp_502_5.5.1",
      });
      remote.transport.close();
      assert.ok(lines.length > 0);
      assert.ok(!lines.some((line) => /^(AUTH|MAIL)/.test(line)), lines.join());

      const local = { ...needs, transport: smtpTransport(url.replace("127.1", "127.0.0.1")) };
      await deliverMail(database.knex, local, { ...attempt, attempt: 2 });
      local.transport.close();
      assert.ok(lines.some((line) => line.startsWith("AUTH PLAIN")));
    });

    it("keeps mail in the outbox in development, and keeps it waiting in production", async () => {
      const [shown, waiting] = [await queued(), await queued()];
      const development = createMailTransport({ smtpUrl: undefined, mode: "development" });
      const production = createMailTransport({ smtpUrl: undefined, mode: "production" });
      const first = { attempt: 1, last: false };
      await deliverMail(
        database.knex,
        { ...needs, transport: development },
        { id: shown, ...first },
      );
      assert.equal((await row(shown)).status, "sent");
      await assert.rejects(
        deliverMail(database.knex, { ...needs, transport: production }, { id: waiting, ...first }),
        { reason: "smtp_url_not_set" },
      );
      assert.equal((await row(waiting)).status, "queued");
    });
  });

  describe("words", () => {
    const render = createMailRenderer({
      config: { productName: "Lintel", issuer: "https://idp.example" },
      templates: new Templates(),
      catalogues: new Catalogues(),
    });
    const email = "ada@rp.example";
    const letters = [
      messages.signinBlocked({ email, at }),
      messages.tokenReused({ email, clientName: "<b>Demo</b> & Co", at }),
      messages.administratorCreated({ email, at }),
      messages.test({ at }),
      ...CHANGES.map((change) => messages.factorChanged({ change, email, at, left: 7 })),
      messages.signInCode({ code: "12345678", expiresAt: at }),
    ];

    for (const locale of [...LANGUAGES, "ar-XB"]) {
      it(`says every mail in ${locale}, as text and as HTML, with one link at most`, async () => {
        for (const { template, props } of letters) {
          const { subject, text, html } = await render(template, props, locale);
          assert.doesNotMatch(subject + text + html, /mail\.[a-z]|[{}]|%>|undefined|\[object/);
          assert.match(text, /^[\p{L}\p{N}\u202e]/u, "begins a sentence");
          assert.ok(subject.length > 0 && !/[\r\n]/.test(subject));
          assert.ok(text.includes("https://idp.example") && html.includes("https://idp.example"));
          assert.match(html, new RegExp(`<html lang="${locale}"`));
          assert.doesNotMatch(html, /<b>Demo|<img|<script|https?:(?!\/\/idp\.example)/);
          if ("email" in props) assert.ok(text.includes(email));
        }
      });
    }
  });

  describe("sender", () => {
    it("reads a name with an address, or an address alone", () => {
      assert.deepEqual(parseSender("Lintel <no-reply@localhost>"), {
        name: "Lintel",
        address: "no-reply@localhost",
      });
      assert.deepEqual(parseSender('"ACME, Inc." <id@acme.example>'), {
        name: "ACME, Inc.",
        address: "id@acme.example",
      });
      assert.deepEqual(parseSender("id@acme.example"), { name: "", address: "id@acme.example" });
    });

    it("stops at one that nobody could answer", () => {
      for (const text of ["", "Lintel", "a@b@c", "<>", "Lintel <a@b> <c@d>"])
        assert.throws(() => parseSender(text), /MAIL_FROM/);
    });
  });
});
