import { createHash } from "node:crypto";
import { once } from "node:events";
import { request, type IncomingHttpHeaders } from "node:http";
import { connect } from "node:net";
import { text } from "node:stream/consumers";

/** An answer as it came, with no redirect followed. */
export interface Answer {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly body: string;
}

export interface Question {
  readonly method?: string;
  /** Any header, also those that `fetch` keeps for itself: Host, Origin, Sec-Fetch-Site. */
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string | Buffer;
  /** Sends the body without saying how long it is. */
  readonly chunked?: boolean;
}

/** Asks a server as anything but a browser would. */
export async function ask(address: string, question: Question = {}): Promise<Answer> {
  const { method = "GET", headers = {}, body, chunked = false } = question;
  const length = body === undefined || chunked ? {} : { "Content-Length": Buffer.byteLength(body) };
  const outgoing = request(address, { method, headers: { ...length, ...headers }, agent: false });
  // A server that answers early may close while the rest is still on its way.
  outgoing.on("error", () => {});
  const answered = once(outgoing, "response");
  if (body !== undefined) outgoing.write(body);
  outgoing.end();
  const [incoming] = await answered;
  return {
    status: incoming.statusCode,
    headers: incoming.headers,
    body: await text(incoming).catch(() => ""),
  };
}

/** Sends a form, as a page of the server itself would. */
export async function submit(
  address: string,
  fields: Readonly<Record<string, string>> | string,
  headers: Readonly<Record<string, string>> = {},
): Promise<Answer> {
  return ask(address, {
    method: "POST",
    headers: { "Content-Type": "application/x-www-form-urlencoded", ...headers },
    body: typeof fields === "string" ? fields : new URLSearchParams(fields).toString(),
  });
}

/** Sends bytes and answers with all that came back, once the server closed or nothing came for `patience` ms. */
export async function speak(port: number, bytes: string, patience = 1000): Promise<string> {
  const socket = connect(port, "localhost");
  let answer = "";
  socket.on("data", (chunk: Buffer) => (answer += chunk.toString("latin1")));
  socket.on("error", () => {});
  socket.setTimeout(patience, () => socket.destroy());
  socket.write(bytes);
  await once(socket, "close");
  return answer;
}

/** The cookies an answer sets, as the next request sends them. */
function cookiesOf({ headers }: Answer): string {
  return (headers["set-cookie"] ?? []).map((cookie) => cookie.split(";")[0]).join("; ");
}

/** An authorization request that is in order. */
export function authorizationUrl(
  issuer: string,
  client: { clientId: string; redirectUri: string },
  more: Readonly<Record<string, string>> = {},
): string {
  const challenge = createHash("sha256").update("v".repeat(43)).digest("base64url");
  return `${issuer}/auth?${new URLSearchParams({
    client_id: client.clientId,
    redirect_uri: client.redirectUri,
    response_type: "code",
    scope: "openid",
    state: "a-state",
    nonce: "a-nonce",
    code_challenge: challenge,
    code_challenge_method: "S256",
    ...more,
  })}`;
}

/** The sign-in page that a request leads to: its address and the cookies that open it. */
export async function beginSignIn(
  issuer: string,
  client: { clientId: string; redirectUri: string },
  more: Readonly<Record<string, string>> = {},
): Promise<{ address: string; cookies: string }> {
  const answer = await ask(authorizationUrl(issuer, client, more));
  if (answer.status !== 303) throw new Error(`no sign-in: ${answer.status} ${answer.body}`);
  return {
    address: new URL(answer.headers.location ?? "", issuer).href,
    cookies: cookiesOf(answer),
  };
}
