import { Router } from "@koa/router";
import type { Context } from "koa";
import type { Knex } from "knex";
import { errors } from "../errors.ts";
import { issuerFor } from "../http/host.ts";
import type { Page } from "../http/page.ts";
import { isUuid } from "../lib/uuid.ts";
import { composeMail, type ComposeNeeds } from "../mail/compose.ts";
import { toSource } from "../mail/transport.ts";
import { OutboxMessage } from "../models/outbox-message.ts";
import type { MailboxEntry } from "../views.ts";
import { localOnly } from "./local-only.ts";

const SHOWN = 50;

/** What the mailbox needs. */
export interface MailboxNeeds {
  readonly knex: Knex;
  readonly mail: ComposeNeeds;
  readonly page: Page;
}

/**
 * The development mailbox: what the outbox holds, read back and written as it would be sent. Mount it in development
 * only; even there it answers nobody but a browser on this machine that asked for this machine.
 */
export function mailboxRoutes(needs: MailboxNeeds): Router {
  const router = new Router();
  const { knex, page } = needs;

  router.get("/dev/mail", localOnly, async (ctx) => {
    const newest = await OutboxMessage.query(knex).orderBy("id", "desc").limit(SHOWN);
    const messages = await Promise.all(newest.map(async (message) => (await read(message)).entry));
    await page(ctx, "mailbox", { messages });
  });

  router.post("/dev/mail/clear", localOnly, async (ctx) => {
    await OutboxMessage.query(knex).delete().whereIn("status", ["sent", "failed"]);
    ctx.redirect(`${issuerFor(ctx)?.path ?? ""}/dev/mail`);
    ctx.status = 303;
  });

  router.get("/dev/mail/:id", localOnly, async (ctx) => {
    const { entry, mail } = await read(await find(ctx));
    await page(ctx, "mailbox-message", { ...entry, text: mail.text, html: mail.html });
  });

  /** Headers and all, as it would travel. */
  router.get("/dev/mail/:id/source", localOnly, async (ctx) => {
    const { mail } = await read(await find(ctx));
    ctx.type = "text/plain; charset=utf-8";
    ctx.body = await toSource(mail);
  });

  async function find(ctx: Context): Promise<OutboxMessage> {
    const id = String(ctx["params"].id);
    const message = isUuid(id) ? await OutboxMessage.query(knex).findById(id) : undefined;
    if (message === undefined) throw errors.notFound();
    return message;
  }

  async function read(message: OutboxMessage) {
    const mail = await composeMail(message, needs.mail);
    const { id, status, createdAt } = message;
    const entry: MailboxEntry = {
      id,
      to: mail.to,
      subject: mail.subject,
      at: createdAt.toISOString(),
      status,
    };
    return { entry, mail };
  }

  return router;
}
