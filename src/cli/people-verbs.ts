import { readFile } from "node:fs/promises";
import { getClient } from "../clients/clients.ts";
import { errors } from "../errors.ts";
import { createMailer } from "../mail/mailer.ts";
import * as messages from "../mail/messages.ts";
import type { Invitation } from "../models/invitation.ts";
import { listTerms, publishTerms, withdrawTerms, type NewTerms } from "../terms/terms.ts";
import { createInvitation, listInvitations, revokeInvitation } from "../users/invitations.ts";
import { printFields, printJson, printTable, readStdin, type Io } from "./io.ts";
import { readWhole } from "./paging.ts";
import { UsageError, verb, type Verb } from "./verb.ts";
import { withOperator } from "./with-operator.ts";

/** `lintel invitation …` and `lintel terms …`: who may make an account, and what people agree to. */
export const PEOPLE_VERBS: readonly Verb[] = [
  verb({
    name: "invitation create",
    summary: "invite somebody to make an account, by mail, and show the link, once",
    options: {
      email: { type: "string", required: true, value: "ADDRESS", help: "e-mail address" },
      client: { type: "string", value: "CLIENT_ID", help: "the app that it leads to" },
      locale: { type: "string", value: "TAG", help: "language of the mail; the first of LOCALES" },
      "expires-in": {
        type: "string",
        value: "SECONDS",
        help: "when it ends; in 7 days unless said",
      },
    },
    async run({ io, values, json, config }) {
      const { email, client: clientId, "expires-in": seconds } = values;
      const { issuers, locales } = config();
      const [issuer] = issuers;
      if (issuer.signUp === "closed")
        throw errors.badRequest("SIGN_UP is closed. Set it to `invitation` or `open` first.");
      const lifetime =
        seconds === undefined
          ? undefined
          : Math.max(60, readWhole("expires-in", seconds, "invitation create")) * 1000;
      const locale = values.locale ?? locales[0] ?? "en";
      const now = new Date();
      const made = await withOperator({ io, config }, async ({ knex, seal }) => {
        const opened = await seal();
        const mailer = createMailer({ seal: opened, locales });
        return knex.transaction(async (trx) => {
          const client = clientId === undefined ? undefined : await getClient(trx, clientId);
          const named = client === undefined ? {} : { clientName: client.name };
          const { invitation, secret } = await createInvitation(
            trx,
            opened,
            {
              email,
              clientId: client?.id,
              lifetime,
              context: { locale, issuer: issuer.url, ...named },
            },
            now,
          );
          const url = `${issuer.url}/invite/${secret}`;
          const { expiresAt } = invitation;
          const mail = messages.invitation({ url, clientName: client?.name ?? "", expiresAt });
          await mailer.letter(trx, { to: invitation.email, mail, locale });
          return { ...present(invitation), url };
        });
      });
      if (json) printJson(io, made);
      else printFields(io, made);
    },
  }),

  verb({
    name: "invitation list",
    summary: "list invitations, the newest first",
    async run({ io, json, config }) {
      const rows = await withOperator({ io, config }, ({ knex }) => listInvitations(knex));
      const shown = rows.map(present);
      if (json) return printJson(io, shown);
      return printTable(
        io,
        ["id", "e-mail", "status", "expires"],
        shown.map((row) => Object.values(row)),
      );
    },
  }),

  verb({
    name: "invitation revoke",
    summary: "take an invitation back",
    words: ["id"],
    async run({ io, words: [id = ""], json, config }) {
      await withOperator({ io, config }, ({ knex }) =>
        knex.transaction((trx) => revokeInvitation(trx, id, new Date())),
      );
      if (json) printJson(io, { id, revoked: true });
      else io.out(`Revoked ${id}.\n`);
    },
  }),

  verb({
    name: "terms publish",
    summary: "publish a new version of a document that people agree to",
    words: ["document"],
    options: {
      text: {
        type: "string",
        multiple: true,
        required: true,
        value: "LOCALE=FILE",
        help: "its text in one language; the first line is the title",
      },
      summary: {
        type: "string",
        multiple: true,
        value: "LOCALE=TEXT",
        help: "what changed, in one language",
      },
      optional: { type: "boolean", help: "people may say no, as to a newsletter" },
    },
    details: "Everybody is asked for it at their next sign-in. What was published never changes.",
    async run({ io, words: [document = ""], values, json, config }) {
      const summaries = new Map((values.summary ?? []).map((given) => pairOf(given, "summary")));
      const texts: NewTerms["texts"][number][] = [];
      for (const given of values.text) {
        const [locale, file] = pairOf(given, "text");
        texts.push({ locale, ...(await readText(io, file)), summary: summaries.get(locale) });
      }
      const isMandatory = values.optional !== true;
      const { version } = await withOperator({ io, config }, ({ knex }) =>
        knex.transaction((trx) => publishTerms(trx, { document, isMandatory, texts }, new Date())),
      );
      if (json) printJson(io, { document, version });
      else io.out(`Published version ${version} of ${document}.\n`);
    },
  }),

  verb({
    name: "terms list",
    summary: "list every version of every document, the newest first",
    async run({ io, json, config }) {
      const rows = await withOperator({ io, config }, ({ knex }) => listTerms(knex));
      const shown = rows.map(({ document, version, isMandatory, texts = [], ...times }) => ({
        document,
        version,
        mandatory: isMandatory,
        languages: texts.map(({ locale }) => locale).sort(),
        published: times.publishedAt.toISOString(),
        withdrawn: times.withdrawnAt?.toISOString() ?? null,
      }));
      if (json) return printJson(io, shown);
      return printTable(
        io,
        ["document", "version", "mandatory", "languages", "published", "withdrawn"],
        shown.map((row) => [
          row.document,
          String(row.version),
          row.mandatory ? "yes" : "no",
          row.languages.join(" "),
          row.published,
          row.withdrawn ?? "no",
        ]),
      );
    },
  }),

  verb({
    name: "terms withdraw",
    summary: "ask nobody for a document any more; what people decided stays on file",
    words: ["document"],
    async run({ io, words: [document = ""], json, config }) {
      await withOperator({ io, config }, ({ knex }) =>
        knex.transaction((trx) => withdrawTerms(trx, document, new Date())),
      );
      if (json) printJson(io, { document, withdrawn: true });
      else io.out(`Withdrew ${document}.\n`);
    },
  }),
];

function present({ id, email, acceptedAt, revokedAt, expiresAt }: Invitation) {
  const status =
    acceptedAt !== null
      ? "accepted"
      : revokedAt !== null
        ? "revoked"
        : expiresAt <= new Date()
          ? "expired"
          : "open";
  return { id, email, status, expires: expiresAt.toISOString() };
}

function pairOf(given: string, option: string): [string, string] {
  const [, locale, value] = /^([A-Za-z]{2,3}(?:-[A-Za-z0-9]+)*)=(.+)$/s.exec(given) ?? [];
  if (locale === undefined || value === undefined)
    throw new UsageError(`--${option} must look like en=VALUE, not ${given}`, "terms publish");
  return [locale, value];
}

/** The title on the first line, and the text below it. @throws AppError `invalid_terms` */
async function readText(io: Io, file: string): Promise<{ title: string; body: string }> {
  let text: string;
  try {
    text = file === "-" ? await readStdin(io) : await readFile(file, "utf8");
  } catch (error) {
    throw errors.invalidTerms(`${file} cannot be read: ${(error as Error).message}`);
  }
  const [title = "", ...rest] = text.normalize("NFC").split(/\r?\n/);
  const body = rest.join("\n").trim();
  if (title.trim() === "" || body === "")
    throw errors.invalidTerms(`${file} must have a title on its first line and a text below it.`);
  return { title: title.trim().slice(0, 200), body };
}
