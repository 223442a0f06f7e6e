import type { Readable } from "node:stream";
import { text } from "node:stream/consumers";
import type { OutgoingMail } from "./compose.ts";

/**
 * Why a mail did not go out, without a word of the server's answer, which may quote the recipient (T-118).
 * `reason` looks like `smtp_550_5.1.1` or `econnrefused`.
 */
export class MailError extends Error {
  readonly reason: string;
  /** Trying this message again cannot help. */
  readonly permanent: boolean;
  constructor(reason: string, permanent: boolean) {
    super(`mail not sent: ${reason}`);
    this.name = "MailError";
    this.reason = reason;
    this.permanent = permanent;
  }
}

/** The last step of a mail's way. */
export interface MailTransport {
  /** Resolves once somebody else is responsible for the mail. @throws MailError */
  send(mail: OutgoingMail): Promise<void>;
  close(): void;
}

/**
 * Chooses how mail leaves: by SMTP where a server is configured; not at all in development, where `/dev/mail` shows
 * what the outbox holds. Production without a server keeps trying, so that configuring one delivers what waits.
 */
export function createMailTransport(config: {
  readonly smtpUrl: string | undefined;
  readonly mode: "development" | "production" | "test";
}): MailTransport {
  if (config.smtpUrl !== undefined) return smtpTransport(config.smtpUrl);
  const send = async () => {
    if (config.mode === "production") throw new MailError("smtp_url_not_set", false);
  };
  return { send, close: () => {} };
}

/**
 * Sends by SMTP (RFC 5321) over at most two connections. The recipient reaches nodemailer as an object, never as a
 * header to be parsed, and the envelope is given, so that there is exactly one RCPT TO (T-68).
 */
export function smtpTransport(url: string): MailTransport {
  const address = withRequiredTls(url);
  let smtp: ReturnType<typeof openSmtp> | undefined;
  /** What could not be loaded, for want of files to open, is loaded for the next mail. */
  const forget = (error: unknown) => {
    smtp = undefined;
    throw error;
  };
  return {
    async send(mail) {
      try {
        smtp ??= openSmtp(address).catch(forget);
        await (await smtp).sendMail(toMessage(mail));
      } catch (error) {
        throw toMailError(error as SmtpFailure);
      }
    },
    close: () =>
      void smtp?.then(
        (opened) => opened.close(),
        () => {},
      ),
  };
}

/** nodemailer is loaded for the first mail: where another process does the jobs, there is none. */
async function openSmtp(url: string) {
  const { createTransport } = await import("nodemailer");
  return createTransport({
    url,
    pool: true,
    maxConnections: 2,
    connectionTimeout: 10_000,
    greetingTimeout: 10_000,
    socketTimeout: 30_000,
    disableFileAccess: true,
    disableUrlAccess: true,
  });
}

/** The mail as it travels: headers, parts and encodings (RFC 5322). */
export async function toSource(mail: OutgoingMail): Promise<string> {
  const { createTransport } = await import("nodemailer");
  const writer = createTransport({ streamTransport: true });
  const { message } = await writer.sendMail(toMessage(mail));
  return text(message as Readable);
}

function toMessage({ from, to, messageId, headers, ...content }: OutgoingMail) {
  const recipient = { name: "", address: to };
  const envelope = { from: from.address, to: [recipient] };
  const { subject, text: plain, html } = content;
  return { from, to: recipient, envelope, messageId, headers, subject, text: plain, html };
}

/** Never sends a password in the clear to another machine, unless the address says `requireTLS=false`. */
function withRequiredTls(smtpUrl: string): string {
  const url = new URL(smtpUrl);
  const local = ["localhost", "127.0.0.1", "[::1]"].includes(url.hostname);
  const needed = url.protocol === "smtp:" && url.username !== "" && !local;
  if (needed && !url.searchParams.has("requireTLS")) url.searchParams.set("requireTLS", "true");
  return url.href;
}

interface SmtpFailure {
  readonly code?: string;
  readonly originalCode?: string;
  readonly command?: string;
  readonly response?: string;
  readonly responseCode?: number;
}

/** A 5xx about the recipient or the message is final; about us (connection, login, sender) the operator can mend it. */
function toMailError(error: SmtpFailure): MailError {
  const { responseCode, command = "" } = error;
  if (responseCode === undefined)
    return new MailError((error.originalCode ?? error.code ?? "unknown").toLowerCase(), false);
  const aboutMessage = command === "RCPT TO" || command === "DATA";
  const permanent = aboutMessage && responseCode >= 500 && ![503, 530].includes(responseCode);
  // The enhanced status of RFC 3463 is digits only, and tells an operator more than the code.
  const status = /^\d{3}[ -]([245]\.\d{1,3}\.\d{1,3})\b/.exec(error.response ?? "")?.[1];
  const reason = ["smtp", responseCode, status].filter((part) => part !== undefined).join("_");
  return new MailError(reason, permanent);
}
