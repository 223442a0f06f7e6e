import { connect, type Socket } from "node:net";
import { written } from "./browser.ts";

/**
 * One connection on which a page is asked for over and over, in bytes that were written once. An HTTP client takes longer
 * to read the headers of an answer than a server to give one that is ready, and would be what is measured.
 */
export class Wire {
  readonly #place: { readonly host: string; readonly port: number };
  readonly #path: string;
  readonly #request: string;
  #socket: Socket;
  #arrived: Buffer = Buffer.alloc(0);
  #asked: PromiseWithResolvers<void> | undefined;

  constructor(origin: string, path: string) {
    const { hostname, port } = new URL(origin);
    const { headers } = written({ path });
    const lines = Object.entries(headers ?? {}).map(([name, value]) => `${name}: ${value}\r\n`);
    this.#place = { host: hostname, port: Number(port) };
    this.#path = path;
    this.#request = `GET ${path} HTTP/1.1\r\n${lines.join("")}\r\n`;
    this.#socket = this.#connect();
  }

  /** Asks once, and throws where the answer is not a whole 200. */
  ask(): Promise<void> {
    this.#asked = Promise.withResolvers();
    // A server ends connections at which nobody asked for a while.
    if (this.#socket.closed) this.#socket = this.#connect();
    this.#socket.write(this.#request, "latin1");
    return this.#asked.promise;
  }

  #connect(): Socket {
    return connect({ ...this.#place, noDelay: true })
      .on("data", (chunk: Buffer) => this.#read(chunk))
      .on("error", (error) => this.#asked?.reject(error))
      .on("close", () => this.#asked?.reject(new Error("the connection was closed")));
  }

  #read(chunk: Buffer): void {
    this.#arrived = this.#arrived.length === 0 ? chunk : Buffer.concat([this.#arrived, chunk]);
    const end = this.#arrived.indexOf("\r\n\r\n");
    if (end === -1) return;
    const head = this.#arrived.toString("latin1", 0, end);
    const [, length] = /\r\ncontent-length: *(\d+)/i.exec(head) ?? [];
    if (!head.startsWith("HTTP/1.1 200 ") || length === undefined) {
      this.#asked?.reject(new Error(`${this.#path}: ${head.slice(0, 300)}`));
      return;
    }
    if (this.#arrived.length < end + 4 + Number(length)) return;
    this.#arrived = Buffer.alloc(0);
    this.#asked?.resolve();
  }
}
