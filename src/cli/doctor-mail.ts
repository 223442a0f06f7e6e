import { createTransport } from "nodemailer";
import type { Config } from "../config.ts";
import type { Check } from "./doctor.ts";

const TIMEOUT = 5_000;
const name = "mail";

/** Whether the mail server lets us in; sends nothing. */
export async function checkMail({ smtpUrl, mode }: Config): Promise<Check> {
  if (smtpUrl === undefined)
    return mode === "production"
      ? {
          name,
          status: "warn",
          message: "SMTP_URL is not set, so mail waits and nobody gets it",
          fix: "Set SMTP_URL, for example smtp://user:password@mail.example.com:587.",
        }
      : { name, status: "ok", message: "kept in the development mailbox" };

  const transport = createTransport({
    url: smtpUrl,
    connectionTimeout: TIMEOUT,
    greetingTimeout: TIMEOUT,
    socketTimeout: TIMEOUT,
    requireTLS: sendsPassword(smtpUrl),
    disableFileAccess: true,
    disableUrlAccess: true,
  });
  const { host } = new URL(smtpUrl);
  try {
    await transport.verify();
    return { name, status: "ok", message: `${host} accepts us` };
  } catch (error) {
    const { code = "failed" } = error as NodeJS.ErrnoException;
    return {
      name,
      status: "fail",
      message: `${host} does not accept us: ${code}`,
      fix: "Check host, port, user and password in SMTP_URL, and that this machine may reach the server.",
    };
  } finally {
    transport.close();
  }
}

/** A password leaves this machine encrypted or not at all, as when mail is sent. */
function sendsPassword(smtpUrl: string): boolean {
  const { username, hostname, searchParams } = new URL(smtpUrl);
  const isLocal = ["localhost", "127.0.0.1", "[::1]"].includes(hostname);
  return username !== "" && !isLocal && searchParams.get("requireTLS") !== "false";
}
