import { createSocket, type RemoteInfo } from "node:dgram";
import { once } from "node:events";

const TXT = 16;
const NXDOMAIN = 3;
const SERVFAIL = 2;

/** A name server that knows TXT records and nothing else. */
export interface NameServer {
  /** As a resolver takes it. */
  readonly address: string;
  /** By name, in lower case: the strings of each record. A name whose records are `"broken"` is answered by SERVFAIL. */
  readonly records: Map<string, readonly (readonly string[])[] | "broken">;
  /** Called for each question before it is answered. */
  onQuestion: (name: string) => Promise<void> | void;
  close(): Promise<void>;
}

/** Starts a name server on this machine (RFC 1035 §4). */
export async function aNameServer(): Promise<NameServer> {
  const socket = createSocket("udp4");
  const records: NameServer["records"] = new Map();
  const server: NameServer = {
    address: "",
    records,
    onQuestion: () => {},
    async close() {
      socket.close();
      await once(socket, "close");
    },
  };
  const answer = async (query: Buffer, { address, port }: RemoteInfo) => {
    const name = readName(query);
    await server.onQuestion(name);
    socket.send(reply(query, records.get(name)), port, address);
  };
  socket.on("message", (query, from) => void answer(query, from));
  socket.bind(0, "127.0.0.1");
  await once(socket, "listening");
  return Object.assign(server, { address: `127.0.0.1:${socket.address().port}` });
}

/** The name of the first question, which follows the header of twelve bytes. */
function readName(query: Buffer): string {
  const labels: string[] = [];
  for (let at = 12, length = query[at] ?? 0; length > 0; at += 1 + length, length = query[at] ?? 0)
    labels.push(query.toString("latin1", at + 1, at + 1 + length));
  return labels.join(".").toLowerCase();
}

function reply(query: Buffer, found: readonly (readonly string[])[] | "broken" = []): Buffer {
  const records = found === "broken" ? [] : found;
  const failure = records.length === 0 ? NXDOMAIN : 0;
  const header = Buffer.from(query.subarray(0, 12));
  // An answer, recursion available, and how it went; one question, as many answers, and nothing else.
  header.writeUInt16BE(0x8180 | (found === "broken" ? SERVFAIL : failure), 2);
  header.writeUInt16BE(records.length, 6);
  header.writeUInt32BE(0, 8);
  const end = query.indexOf(0, 12) + 5;
  return Buffer.concat([header, query.subarray(12, end), ...records.map(toRecord)]);
}

/** Of the name in the question, for a minute. */
function toRecord(strings: readonly string[]): Buffer {
  const data = Buffer.concat(
    strings.map((text) => Buffer.concat([Buffer.of(text.length), Buffer.from(text, "latin1")])),
  );
  const head = Buffer.alloc(12);
  head.writeUInt16BE(0xc00c, 0);
  head.writeUInt16BE(TXT, 2);
  head.writeUInt16BE(1, 4);
  head.writeUInt32BE(60, 6);
  head.writeUInt16BE(data.length, 10);
  return Buffer.concat([head, data]);
}
