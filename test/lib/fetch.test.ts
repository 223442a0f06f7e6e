import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer, type RequestListener, type Server } from "node:http";
import { createServer as createTcpServer, type AddressInfo } from "node:net";
import { text } from "node:stream/consumers";
import { gzipSync } from "node:zlib";
import { buildConnector } from "undici";
import {
  createSafeFetch,
  UnsafeUrlError,
  type Connect,
  type SafeFetchOptions,
  type UnsafeUrlReason,
} from "../../src/lib/fetch.ts";
import { createLogger } from "../../src/lib/log.ts";

const log = createLogger({ level: "silent" });
const PUBLIC = "93.184.215.14";

const development = (options: Partial<SafeFetchOptions> = {}) =>
  createSafeFetch({ allowLoopback: true, allowHttp: true, log, ...options });

const refusedAs = (reason: UnsafeUrlReason) => (error: unknown) => {
  assert.ok(error instanceof UnsafeUrlError, String(error));
  assert.ok(error instanceof TypeError);
  assert.equal(error.reason, reason);
  return true;
};

describe("safe fetch (T-36)", () => {
  let server: Server;
  let port: number;
  let connections: number;
  let answer: RequestListener;

  before(async () => {
    server = createServer((request, response) => answer(request, response));
    server.on("connection", () => {
      connections += 1;
    });
    await once(server.listen(0, "127.0.0.1"), "listening");
    port = (server.address() as AddressInfo).port;
  });

  beforeEach(() => {
    connections = 0;
    answer = (_request, response) => response.end("hello");
  });

  after(() => {
    server.closeAllConnections();
    server.close();
  });

  /** Stands in for the internet: whatever was dialled ends at the local listener, so that nothing leaves loopback. */
  function internet(dialled: string[] = []): Connect {
    return (options, addresses, callback) => {
      dialled.push(...addresses);
      const local = { ...options, protocol: "http:", hostname: "127.0.0.1", port: String(port) };
      buildConnector({ allowH2: false })(local, callback);
    };
  }

  function production(options: Partial<SafeFetchOptions> = {}) {
    return createSafeFetch({
      resolve: async () => [PUBLIC],
      connect: internet(),
      log,
      ...options,
    });
  }

  /** What names resolve to in the table below; everything else is public. */
  const NAMES: Record<string, string[]> = {
    localhost: ["127.0.0.1"],
    "localhost.": ["127.0.0.1"],
    "rp.localhost": ["::1"],
    "private.test": ["10.1.2.3"],
    "mixed.test": [PUBLIC, "192.168.1.1"],
    "mixed-v6.test": ["2606:2800:21f:cb07:6820:80da:af6b:8b2c", "fe80::1"],
    "zoned.test": ["fe80::1%eth0"],
    "mapped.test": ["::ffff:10.0.0.1"],
    "metadata.google.internal": ["169.254.169.254"],
    "xn--bcher-kva.test": ["172.16.0.9"],
    "nonsense.test": ["not an address"],
    "empty.test": [],
  };

  const REFUSED: [string, UnsafeUrlReason][] = [
    // 127.0.0.1, in every spelling the URL standard knows
    ["https://127.0.0.1/", "address"],
    ["https://127.0.0.1./", "address"],
    ["https://127.1/", "address"],
    ["https://127.0.1/", "address"],
    ["https://2130706433/", "address"],
    ["https://0x7f000001/", "address"],
    ["https://0x7f.1/", "address"],
    ["https://0x7f.0.0.0x1/", "address"],
    ["https://0177.0.0.1/", "address"],
    ["https://017700000001/", "address"],
    ["https://%31%32%37.0.0.1/", "address"],
    ["https://１２７.0.0.1/", "address"],
    ["https://127。0。0。1/", "address"],
    ["https://127.255.255.254/", "address"],
    // other IPv4 networks that are not the public internet
    ["https://0.0.0.0/", "address"],
    ["https://0/", "address"],
    ["https://10.0.0.1/", "address"],
    ["https://100.64.0.1/", "address"],
    ["https://169.254.169.254/latest/meta-data/", "address"],
    ["https://2852039166/", "address"],
    ["https://172.16.0.1/", "address"],
    ["https://172.31.255.255/", "address"],
    ["https://192.0.0.192/", "address"],
    ["https://192.0.2.1/", "address"],
    ["https://192.88.99.1/", "address"],
    ["https://192.168.0.1/", "address"],
    ["https://198.18.0.1/", "address"],
    ["https://198.51.100.1/", "address"],
    ["https://203.0.113.1/", "address"],
    ["https://224.0.0.1/", "address"],
    ["https://240.0.0.1/", "address"],
    ["https://255.255.255.255/", "address"],
    // IPv6, alone and as a coat over IPv4
    ["https://[::]/", "address"],
    ["https://[::1]/", "address"],
    ["https://[0:0:0:0:0:0:0:1]/", "address"],
    ["https://[::ffff:127.0.0.1]/", "address"],
    ["https://[::ffff:7f00:1]/", "address"],
    ["https://[::127.0.0.1]/", "address"],
    ["https://[::ffff:0:127.0.0.1]/", "address"],
    ["https://[64:ff9b::7f00:1]/", "address"],
    ["https://[64:ff9b:1::7f00:1]/", "address"],
    ["https://[2002:7f00:1::]/", "address"],
    ["https://[2001:0:7f00:1::]/", "address"],
    ["https://[100::1]/", "address"],
    ["https://[2001:db8::1]/", "address"],
    ["https://[fc00::1]/", "address"],
    ["https://[fd00:ec2::254]/", "address"],
    ["https://[fe80::1]/", "address"],
    ["https://[fec0::1]/", "address"],
    ["https://[ff02::1]/", "address"],
    ["https://[5f00::1]/", "address"],
    ["https://[4000::1]/", "address"],
    // names
    ["https://localhost/", "address"],
    ["https://LOCALHOST./", "address"],
    ["https://rp.localhost/", "address"],
    ["https://private.test/", "address"],
    ["https://mixed.test/", "address"],
    ["https://mixed-v6.test/", "address"],
    ["https://zoned.test/", "address"],
    ["https://mapped.test/", "address"],
    ["https://metadata.google.internal/", "address"],
    ["https://bücher.test/", "address"],
    ["https://nonsense.test/", "address"],
    ["https://empty.test/", "unresolved"],
    // everything before the host is even looked at
    ["http://rp.test/", "scheme"],
    ["ftp://rp.test/", "scheme"],
    ["file:///etc/passwd", "scheme"],
    ["data:text/plain,hello", "scheme"],
    ["blob:https://rp.test/1", "scheme"],
    ["https://user@rp.test/", "userinfo"],
    ["https://user:password@rp.test/", "userinfo"],
    ["https://rp.test@127.0.0.1/", "userinfo"],
    ["https://rp.test:22/", "port"],
    ["https://rp.test:80/", "port"],
    ["https://rp.test:6379/", "port"],
    ["https://1.2.3.4.5/", "url"],
    ["https://[::1%25lo]/", "url"],
    ["//rp.test/", "url"],
    ["", "url"],
  ];

  it(`refuses ${REFUSED.length} addresses without opening one connection`, async () => {
    const dialled: string[] = [];
    const safeFetch = production({
      resolve: async (hostname) => NAMES[hostname] ?? [PUBLIC],
      connect: internet(dialled),
    });
    for (const [url, reason] of REFUSED) {
      await assert.rejects(safeFetch(url), refusedAs(reason), url);
    }
    assert.deepEqual(dialled, []);
    assert.equal(connections, 0);
  });

  it("reaches a public host on ports 443 and 8443 by the address it checked", async () => {
    const dialled: string[] = [];
    const safeFetch = production({ connect: internet(dialled) });
    const response = await safeFetch("https://rp.test/jwks");
    assert.equal(await response.text(), "hello");
    assert.equal(response.url, "https://rp.test/jwks");
    await safeFetch("https://rp.test:8443/");
    await safeFetch("https://[2606:2800:21f:cb07:6820:80da:af6b:8b2c]/");
    assert.deepEqual(dialled, [PUBLIC, PUBLIC, "2606:2800:21f:cb07:6820:80da:af6b:8b2c"]);
  });

  it("refuses a name that becomes a local address between two connections", async () => {
    answer = (_request, response) => response.setHeader("connection", "close").end();
    const answers = [[PUBLIC], ["127.0.0.1"]];
    const dialled: string[] = [];
    const safeFetch = production({
      resolve: async () => answers.shift() ?? [],
      connect: internet(dialled),
    });
    await safeFetch("https://rp.test/");
    await assert.rejects(safeFetch("https://rp.test/"), refusedAs("address"));
    assert.deepEqual(dialled, [PUBLIC]);
    assert.equal(connections, 1);
  });

  it("never asks for a name a second time once it was checked", async () => {
    let lookups = 0;
    const safeFetch = development({
      resolve: async () => {
        lookups += 1;
        // What the system would answer for this name is an error; the connection uses what was checked.
        return ["127.0.0.1"];
      },
    });
    const response = await safeFetch(`http://rp.invalid:${port}/`);
    assert.equal(await response.text(), "hello");
    assert.equal(lookups, 1);
  });

  it("refuses redirects unless the caller follows them", async () => {
    answer = (_request, response) => response.writeHead(302, { location: "/next" }).end();
    await assert.rejects(production()("https://rp.test/"), refusedAs("redirect"));
    await assert.rejects(
      production()("https://rp.test/", { redirect: "error" }),
      refusedAs("redirect"),
    );
    const response = await production()("https://rp.test/", { redirect: "manual" });
    assert.equal(response.status, 302);
    assert.equal(connections, 3);
  });

  it("follows at most three redirects and holds each to the same rules", async () => {
    const targets: Record<string, string> = {
      "/3": "/2",
      "/2": "https://other.test/1",
      "/1": "/0",
      "/4": "/3",
      "/private": "https://10.0.0.1/",
      "/name": "https://private.test/",
      "/plain": "http://rp.test/",
      "/port": "https://rp.test:25/",
      "/user": "https://user@rp.test/",
    };
    const seen: (string | undefined)[] = [];
    answer = (request, response) => {
      seen.push(request.headers.authorization);
      const location = targets[request.url ?? ""];
      if (location === undefined) response.end("arrived");
      else response.writeHead(307, { location }).end();
    };
    const dialled: string[] = [];
    const safeFetch = production({
      resolve: async (hostname) => NAMES[hostname] ?? [PUBLIC],
      connect: internet(dialled),
    });
    const following = { redirect: "follow", headers: { authorization: "Bearer s" } } as const;

    const response = await safeFetch("https://rp.test/3", following);
    assert.equal(await response.text(), "arrived");
    assert.equal(response.url, "https://other.test/0");
    assert.deepEqual(seen, ["Bearer s", "Bearer s", undefined, undefined]);

    const path = (name: string) => safeFetch(`https://rp.test${name}`, following);
    await assert.rejects(path("/4"), refusedAs("redirect"));
    await assert.rejects(path("/private"), refusedAs("address"));
    await assert.rejects(path("/name"), refusedAs("address"));
    await assert.rejects(path("/plain"), refusedAs("scheme"));
    await assert.rejects(path("/port"), refusedAs("port"));
    await assert.rejects(path("/user"), refusedAs("userinfo"));
    assert.ok(dialled.every((address) => address === PUBLIC));
  });

  it("never repeats a POST at another address", async () => {
    answer = (_request, response) =>
      response.writeHead(307, { location: "https://other.test/" }).end();
    const posting = { method: "POST", body: "secret", redirect: "follow" } as const;
    await assert.rejects(production()("https://rp.test/token", posting), refusedAs("redirect"));
    assert.equal(connections, 1);
  });

  it("keeps method, headers and body, and replaces a dispatcher it is given", async () => {
    const received: unknown[] = [];
    answer = async (request, response) => {
      received.push(request.method, request.headers["x-test"], await text(request));
      response.writeHead(204).end();
    };
    const dispatcher = {
      dispatch() {
        throw new Error("the dispatcher of the caller was used");
      },
    };
    const init = {
      method: "POST",
      headers: new Headers({ "x-test": "yes" }),
      body: new URLSearchParams({ a: "1" }),
      dispatcher,
    };
    const response = await production()("https://rp.test/", init);
    assert.equal(response.status, 204);
    assert.deepEqual(received, ["POST", "yes", "a=1"]);
  });

  it("takes a Request as fetch does", async () => {
    const received: unknown[] = [];
    answer = async (request, response) => {
      received.push(request.method, request.headers["x-test"], await text(request));
      response.writeHead(302, { location: "/" }).end();
    };
    const request = new Request("https://rp.test/", {
      method: "PUT",
      headers: { "x-test": "yes" },
      body: "hello",
    });
    await assert.rejects(production()(request), refusedAs("redirect"));
    assert.deepEqual(received, ["PUT", "yes", "hello"]);
  });

  it("stops when the caller's signal says so", async () => {
    answer = () => {};
    const pending = production()("https://rp.test/", { signal: AbortSignal.timeout(50) });
    await assert.rejects(pending, { name: "TimeoutError" });
  });

  it("gives up on an answer larger than 256 kB", async () => {
    let closed: Promise<unknown> | undefined;
    answer = (_request, response) => {
      closed = once(response, "close");
      const more = () => {
        while (response.write(Buffer.alloc(65_536)));
      };
      response.on("drain", more);
      more();
    };
    await assert.rejects(production()("https://rp.test/"), refusedAs("too_large"));
    await closed;
  });

  it("counts the decoded size, so that a gzip bomb stays small", async () => {
    const bomb = gzipSync(Buffer.alloc(64 * 1024 * 1024));
    answer = (_request, response) => response.setHeader("content-encoding", "gzip").end(bomb);
    const before = process.memoryUsage().arrayBuffers;
    await assert.rejects(production()("https://rp.test/"), refusedAs("too_large"));
    assert.ok(process.memoryUsage().arrayBuffers - before < 16 * 1024 * 1024);
  });

  it("decodes a compressed answer and says nothing more about its coding", async () => {
    answer = (_request, response) =>
      response.setHeader("content-encoding", "gzip").end(gzipSync('{"keys":[]}'));
    const response = await production()("https://rp.test/");
    assert.deepEqual(await response.json(), { keys: [] });
    assert.equal(response.headers.get("content-encoding"), null);
  });

  it("gives up after five seconds, however slowly the answer or the name comes @alone", async function () {
    this.timeout(10_000);
    const timers: NodeJS.Timeout[] = [];
    answer = (request, response) => {
      if (request.url === "/body") timers.push(setInterval(() => response.write("."), 100));
    };
    const started = performance.now();
    await Promise.all([
      assert.rejects(production()("https://rp.test/headers"), refusedAs("timeout")),
      assert.rejects(production()("https://rp.test/body"), refusedAs("timeout")),
      assert.rejects(
        production({ resolve: () => new Promise(() => {}) })("https://rp.test/"),
        refusedAs("timeout"),
      ),
    ]);
    assert.ok(performance.now() - started < 6_000);
    timers.forEach(clearInterval);
  });

  it("reaches this machine in development only", async () => {
    const url = `http://127.0.0.1:${port}/`;
    assert.equal(await (await development()(url)).text(), "hello");
    assert.equal(await (await development()(`http://localhost:${port}/`)).text(), "hello");
    await assert.rejects(development()("http://10.0.0.1/"), refusedAs("address"));
    await assert.rejects(
      development({ resolve: async () => ["10.0.0.1"] })("http://private.test/"),
      refusedAs("address"),
    );
    connections = 0;
    await assert.rejects(createSafeFetch({ log, allowLoopback: true })(url), refusedAs("scheme"));
    await assert.rejects(createSafeFetch({ log, allowHttp: true })(url), refusedAs("port"));
    assert.equal(connections, 0);
  });

  it("speaks TLS under the name it was asked for, whatever the address", async () => {
    const listener = createTcpServer();
    await once(listener.listen(0, "127.0.0.1"), "listening");
    const hello = new Promise<Buffer>((resolve) => {
      listener.on("connection", (socket) =>
        socket
          .on("error", () => {})
          .once("data", (bytes: Buffer) => {
            socket.destroy();
            resolve(bytes);
          }),
      );
    });
    const safeFetch = development({ resolve: async () => ["127.0.0.1"] });
    const target = `https://rp.test:${(listener.address() as AddressInfo).port}/`;
    await assert.rejects(safeFetch(target), (error) => !(error instanceof UnsafeUrlError));
    // RFC 6066 §3: host_name (0), its length, the name itself.
    assert.ok((await hello).includes(Buffer.from("\0\0\x07rp.test")));
    listener.close();
  });

  it("ignores a proxy in the environment", async () => {
    const names = ["HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "ALL_PROXY", "NODE_USE_ENV_PROXY"];
    const previous = names.map((name) => process.env[name]);
    for (const name of names) process.env[name] = "http://127.0.0.1:9";
    try {
      const response = await development()(`http://127.0.0.1:${port}/`);
      assert.equal(await response.text(), "hello");
    } finally {
      names.forEach((name, index) => {
        if (previous[index] === undefined) delete process.env[name];
        else process.env[name] = previous[index];
      });
    }
  });

  it("reaches an origin that an operator vouches for, and nothing else of that host", async () => {
    const trusting = createSafeFetch({
      allowHttp: true,
      trustedOrigins: [`http://127.0.0.1:${port}`],
      log,
    });
    assert.equal(await (await trusting(`http://127.0.0.1:${port}/`)).text(), "hello");
    await assert.rejects(trusting(`http://127.0.0.1:${port + 1}/`), refusedAs("port"));
    await assert.rejects(trusting("http://127.0.0.1/"), refusedAs("address"));
    await assert.rejects(trusting(`http://localhost:${port}/`), refusedAs("port"));
    answer = (_request, response) =>
      response.writeHead(302, { location: "http://10.0.0.1/" }).end();
    const following = trusting(`http://127.0.0.1:${port}/`, { redirect: "follow" });
    await assert.rejects(following, refusedAs("address"));
    assert.equal(connections, 2);
  });
});
