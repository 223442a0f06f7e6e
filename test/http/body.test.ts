import assert from "node:assert/strict";
import { once } from "node:events";
import { connect } from "node:net";
import { gzipSync } from "node:zlib";
import { ask, beginSignIn, speak, submit, type Answer, type Question } from "../support/raw.ts";
import { aClient, aServer, aUser, type TestServer } from "../support/server.ts";

const FORM = "application/x-www-form-urlencoded";

describe("the body of a form (T-131)", () => {
  let server: TestServer;
  let address: string;
  let cookies: string;

  before(async () => {
    server = await aServer();
    ({ address, cookies } = await beginSignIn(server.issuer, await aClient(server)));
  });
  after(() => server.stop());

  const send = (question: Question): Promise<Answer> =>
    ask(address, {
      method: "POST",
      ...question,
      headers: { Cookie: cookies, "Content-Type": FORM, ...question.headers },
    });
  const code = (answer: Answer) => (JSON.parse(answer.body) as { error: string }).error;

  for (const chunked of [false, true]) {
    it(`may be 64 kB and no more, ${chunked ? "also when nobody says how long it is" : "and is refused by its length"}`, async () => {
      for (const size of [65_537, 70_000, 3_000_000]) {
        const answer = await send({ body: `username=${"a".repeat(size - 9)}`, chunked });
        assert.equal(answer.status, 413, `${size}`);
        assert.equal(code(answer), "body_too_large");
        assert.equal(answer.headers.connection, "close");
        assert.ok(answer.headers["content-security-policy"]);
      }
      const most = await send({
        body: `username=ada&password=${"a".repeat(65_536 - 22)}`,
        chunked,
      });
      assert.equal(most.status, 400, "read, and then a password of that length is refused");
    });
  }

  it("that never ends is cut off at the limit, and memory stays flat", async () => {
    const { host, pathname, port } = new URL(address);
    const socket = connect(Number(port), "localhost");
    socket.on("error", () => {});
    let answer = "";
    socket.on("data", (chunk: Buffer) => (answer += chunk.toString()));
    const closed = new Promise((resolve) => void socket.once("close", resolve));
    socket.write(
      `POST ${pathname} HTTP/1.1\r\nHost: ${host}\r\nCookie: ${cookies}\r\nContent-Type: ${FORM}\r\nTransfer-Encoding: chunked\r\n\r\n`,
    );
    const piece = `10000\r\n${"a".repeat(65_536)}\r\n`;
    const before = process.memoryUsage().rss;
    let sent = 0;
    while (!socket.destroyed && sent < 1024) {
      sent += 1;
      if (socket.write(piece)) continue;
      await Promise.race([new Promise((resolve) => void socket.once("drain", resolve)), closed]);
    }
    await closed;
    assert.ok(sent < 1024, "the server hangs up before 64 MB");
    assert.ok(answer === "" || answer.startsWith("HTTP/1.1 413 "), answer);
    assert.ok(process.memoryUsage().rss - before < 100_000_000);
  });

  it("is a form: anything else is answered 415", async () => {
    for (const [type, body] of [
      ["application/json", '{"username":"ada"}'],
      ["text/plain", "username=ada"],
      [
        "multipart/form-data; boundary=x",
        '--x\r\nContent-Disposition: form-data; name="username"\r\n\r\nada\r\n--x--',
      ],
      ["", "username=ada"],
      ["nonsense", "username=ada"],
    ] as const) {
      const answer = await send({ body, headers: { "Content-Type": type } });
      assert.equal(answer.status, 415, type);
      assert.equal(code(answer), "unsupported_body");
    }
    const packed = await send({
      body: gzipSync("username=ada"),
      headers: { "Content-Encoding": "gzip" },
    });
    assert.equal(packed.status, 415);
  });

  it("has each field once and none that the page has not", async () => {
    for (const body of [
      "username=ada&username=eve",
      "username=ada&password=a&password=b",
      "username[]=ada",
      "username=ada&role=admin",
      "username=ada&userId=1",
      "__proto__=x",
      "username=ada&__proto__=x",
      "__proto__[admin]=1&username=ada",
      "constructor=x&username=ada",
      "toString=x",
      "hasOwnProperty=x&username=ada",
      `username=${"a".repeat(321)}`,
      `username=ada&password=${"a".repeat(1025)}`,
      "username=ada&remember=yes",
    ]) {
      const answer = await send({ body });
      assert.equal(answer.status, 400, body.slice(0, 60));
      assert.equal(code(answer), "bad_request");
    }
    assert.equal(Reflect.get({}, "admin"), undefined);
    assert.equal(Reflect.get({}, "x"), undefined);
  });

  it("can hold any text and any nonsense, and is never our mistake", async () => {
    for (const body of [
      "%",
      "username=%",
      "username=%ff%fe",
      "username=%00",
      "username=%F0%9F%A6%84",
      "&&&==&",
      "=x",
      "username",
      "\u0000",
      "username=a%0d%0ab",
      "username=%E2%80%AE",
    ]) {
      const answer = await send({ body });
      assert.ok(answer.status < 500, `${body}: ${answer.status}`);
    }
  });

  it("can name people whose names look like code, and shows them as text", async () => {
    const username = '"><script>alert(1)</script>';
    const answer = await send({ body: new URLSearchParams({ username }).toString() });
    assert.equal(answer.status, 303);
    const page = await ask(`${address}/password`, { headers: { Cookie: cookies } });
    assert.ok(page.body.includes("&#34;&gt;&lt;script&gt;alert(1)&lt;/script&gt;"));
    assert.ok(!page.body.includes("<script>alert"));
  });

  it("asks for lists only where the page has one: scopes", async () => {
    const user = await aUser(server);
    const begun = await beginSignIn(server.issuer, await aClient(server), {
      scope: "openid profile email",
    });
    const headers = { Cookie: begun.cookies };
    const named = await submit(
      begun.address,
      { username: user.email, password: "correct horse battery staple" },
      headers,
    );
    assert.match(named.headers.location ?? "", /\/consent$/);
    const consent = `${begun.address}/consent`;
    assert.equal((await submit(consent, "decision=allow&decision=deny", headers)).status, 400);
    assert.equal((await submit(consent, "decision=maybe", headers)).status, 400);
    assert.equal(
      (await submit(consent, `decision=allow${"&scope=x".repeat(201)}`, headers)).status,
      400,
    );
    assert.equal(
      (await submit(consent, "decision=allow&scope=profile&scope=email", headers)).status,
      303,
    );
  });

  it("of the protocol’s own endpoints is limited too", async () => {
    for (const chunked of [false, true]) {
      const answer = await ask(`${server.issuer}/token`, {
        method: "POST",
        headers: { "Content-Type": FORM },
        body: `grant_type=${"a".repeat(3_000_000)}`,
        chunked,
      });
      assert.ok(answer.status === 400 || answer.status === 413, `${answer.status}`);
    }
  });
});

describe("connections (T-130)", () => {
  let server: TestServer;
  before(async () => {
    server = await aServer();
  });
  after(() => server.stop());

  it("are cut with 408 when the headers come too slowly", async function () {
    this.timeout(20_000);
    const startedAt = performance.now();
    const { host, port } = new URL(server.issuer);
    const socket = connect(Number(port), "localhost");
    let answer = "";
    socket.on("data", (chunk: Buffer) => (answer += chunk.toString()));
    socket.on("error", () => {});
    socket.write(`GET / HTTP/1.1\r\nHost: ${host}\r\n`);
    const drip = setInterval(() => socket.write("X-Slow: 1\r\n"), 500);
    await once(socket, "close");
    clearInterval(drip);
    assert.match(answer, /^HTTP\/1\.1 408 /);
    const took = performance.now() - startedAt;
    assert.ok(took > 8_000 && took < 13_500, `${took} ms`);
  });

  it("have headers of 16 kB at most: 431", async () => {
    const { host, port } = new URL(server.issuer);
    const answer = await speak(
      Number(port),
      `GET / HTTP/1.1\r\nHost: ${host}\r\nX-Big: ${"a".repeat(17_000)}\r\n\r\n`,
    );
    assert.match(answer, /^HTTP\/1\.1 431 /);
  });

  it("cannot be smuggled through: a length and chunks at once, or two lengths, are answered 400", async () => {
    const { host, port } = new URL(server.issuer);
    for (const headers of [
      "Content-Length: 4\r\nTransfer-Encoding: chunked",
      "Content-Length: 4\r\nContent-Length: 5",
      "Transfer-Encoding: chunked, identity",
      "Transfer-Encoding: xchunked",
    ]) {
      const answer = await speak(
        Number(port),
        `POST /token HTTP/1.1\r\nHost: ${host}\r\n${headers}\r\n\r\n0\r\n\r\nGET /healthz HTTP/1.1\r\nHost: ${host}\r\n\r\n`,
      );
      assert.match(answer, /^HTTP\/1\.1 400 /, headers);
      assert.doesNotMatch(answer, /200 OK/, headers);
    }
  });

  it("that do nothing do not keep others waiting", async () => {
    const { port } = new URL(server.issuer);
    const idle = Array.from({ length: 500 }, () => connect(Number(port), "localhost"));
    for (const socket of idle) socket.on("error", () => {});
    try {
      await Promise.all(idle.map((socket) => once(socket, "connect")));
      assert.equal((await ask(`${server.issuer}/healthz`)).status, 200);
    } finally {
      for (const socket of idle) socket.destroy();
    }
  });
});
