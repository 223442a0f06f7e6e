import { once } from "node:events";
import { createServer, type AddressInfo, type Socket } from "node:net";
import { createInterface } from "node:readline";

/** A mail as the server saw it: the envelope's commands and the message. */
interface ReceivedMail {
  readonly from: string;
  readonly recipients: readonly string[];
  readonly data: string;
}

/** A mail server that accepts everything, unless `refuse` answers a command line otherwise. */
export interface SmtpSink {
  readonly url: string;
  readonly received: ReceivedMail[];
  connections: number;
  refuse: (line: string) => string | undefined;
  stop(): Promise<void>;
}

/** Starts a server that speaks just enough SMTP (RFC 5321) on loopback. */
export async function startSmtpSink(): Promise<SmtpSink> {
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket.on("error", () => {}).on("close", () => sockets.delete(socket)));
    sink.connections += 1;
    void serve(socket);
  });
  await once(server.listen(0, "127.0.0.1"), "listening");

  const sink: SmtpSink = {
    url: `smtp://127.0.0.1:${(server.address() as AddressInfo).port}`,
    received: [],
    connections: 0,
    refuse: () => undefined,
    async stop() {
      sockets.forEach((socket) => socket.destroy());
      server.close();
      await once(server, "close");
    },
  };
  return sink;

  async function serve(socket: Socket): Promise<void> {
    const answer = (text: string) => socket.write(`${text}\r\n`);
    let from = "";
    let recipients: string[] = [];
    let data: string[] | undefined;
    answer("220 sink");
    for await (const line of createInterface({ input: socket, crlfDelay: Infinity })) {
      if (data !== undefined) {
        if (line !== ".") {
          data.push(line);
          continue;
        }
        sink.received.push({ from, recipients, data: data.join("\n") });
        data = undefined;
        recipients = [];
        answer("250 2.0.0 accepted");
        continue;
      }
      const refusal = sink.refuse(line);
      if (refusal !== undefined) answer(refusal);
      else if (line.startsWith("EHLO")) answer("250-sink\r\n250 SMTPUTF8");
      else if (line === "DATA") {
        data = [];
        answer("354 go on");
      } else {
        if (line.startsWith("MAIL FROM:")) from = line.slice(10);
        if (line.startsWith("RCPT TO:")) recipients.push(line.slice(8));
        answer("250 2.1.0 fine");
      }
    }
  }
}
