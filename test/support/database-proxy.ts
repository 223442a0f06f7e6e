import { once } from "node:events";
import { connect, createServer, type Socket } from "node:net";

/** A way to a database that can be made to fail. */
export interface DatabaseProxy {
  readonly url: string;
  /** Passes nothing on any more on the connections there are, and keeps them open. New ones work. */
  freeze(): void;
  /** Has the `nth` such command done, and cuts its connection instead of telling. */
  loseAnswerTo(command: "BEGIN" | "COMMIT", nth: number): void;
  /** Has the next command with this text in it garbled: a name that nobody knows. */
  garble(text: string): void;
  close(): void;
}

interface Way {
  isFrozen: boolean;
  lost: string | undefined;
}

/**
 * Passes on what goes to and from a database.
 *
 * @param options.isPooler whether it tells another process number than the server's, as pgbouncer does.
 */
export async function aDatabaseProxy(
  database: string,
  options: { isPooler: boolean },
): Promise<DatabaseProxy> {
  const ways = new Set<Way>();
  let toLose = { command: "", left: 0 };
  let toGarble: string | undefined;
  const server = createServer((client) => {
    const way: Way = { isFrozen: false, lost: undefined };
    ways.add(way);
    const upstream = reach(new URL(database));
    let isKnown = !options.isPooler;
    upstream.on("data", (data: Buffer) => {
      if (way.isFrozen) return;
      // BackendKeyData: the byte K, a length of 12, the process number, a secret.
      const at = isKnown ? -1 : data.indexOf(Buffer.from([0x4b, 0, 0, 0, 12]));
      if (at >= 0) data.writeInt32BE(1, at + 5);
      isKnown ||= at >= 0;
      if (way.lost === undefined) client.write(data);
      else if (data.includes(`${way.lost}\0`)) client.destroy();
    });
    client.on("data", (data: Buffer) => {
      if (toLose.left > 0 && data.includes(toLose.command)) {
        toLose.left -= 1;
        if (toLose.left === 0) way.lost = toLose.command;
      }
      const at = toGarble === undefined ? -1 : data.indexOf(toGarble);
      if (at >= 0) {
        data.write("x", at);
        toGarble = undefined;
      }
      if (!way.isFrozen) upstream.write(data);
    });
    for (const [socket, peer] of [
      [client, upstream],
      [upstream, client],
    ] as const)
      socket.on("close", () => peer.destroy()).on("error", () => peer.destroy());
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  const url = new URL(database);
  const login = url.password === "" ? url.username : `${url.username}:${url.password}`;
  const port = typeof address === "object" ? address?.port : 0;
  return {
    url: `postgresql://${login}@127.0.0.1:${port}${url.pathname}?sslmode=disable`,
    freeze: () => {
      for (const way of ways) way.isFrozen = true;
    },
    loseAnswerTo: (command, nth) => {
      toLose = { command, left: nth };
    },
    garble: (text) => {
      toGarble = text;
    },
    close: () => server.close(),
  };
}

function reach(url: URL): Socket {
  const directory = decodeURIComponent(url.hostname);
  const port = url.port || "5432";
  return directory.startsWith("/")
    ? connect(`${directory}/.s.PGSQL.${port}`)
    : connect(Number(port), url.hostname);
}
