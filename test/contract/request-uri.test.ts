import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { once } from "node:events";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import { createServer as createTcpServer, type AddressInfo } from "node:net";
import { exportJWK, generateKeyPair, SignJWT, UnsecuredJWT, type CryptoKey, type JWK } from "jose";
import {
  aProductionServer,
  challengeOf,
  errorOf,
  json,
  RelyingParty,
  response,
  send,
  VERIFIER,
  walk,
  WebBrowser,
  type Answer,
} from "../support/rp.ts";
import { aClient, aServerWith, aUser, issuerAt, type TestServer } from "../support/server.ts";

const hashOf = (content: string) => createHash("sha256").update(content).digest("base64url");

/** Request objects by reference (OIDC Core §6.2, RFC 9101 §5.2). */
describe("request_uri by reference", () => {
  let server: TestServer;
  let open: { issuer: string; port: number };
  let listener: Server;
  let host: string;
  let privateKey: CryptoKey;
  let jwk: JWK;
  let user: { id: string; email: string };
  /** What is asked for, and how it is answered. */
  const asked: IncomingMessage[] = [];
  const content = new Map<string, string | ((answer: ServerResponse) => void)>();

  before(async () => {
    server = await aServerWith({ open: "conformance", bank: "fapi2" });
    open = issuerAt(server, "open");
    user = await aUser(server);
    const keys = await generateKeyPair("ES256");
    ({ privateKey } = keys);
    jwk = { ...(await exportJWK(keys.publicKey)), kid: "k", alg: "ES256", use: "sig" };
    listener = createServer((request, answer) => {
      asked.push(request);
      const found = content.get(request.url ?? "");
      if (typeof found === "function") found(answer);
      else answer.writeHead(found === undefined ? 404 : 200).end(found);
    });
    await once(listener.listen(0, "127.0.0.1"), "listening");
    host = `http://127.0.0.1:${(listener.address() as AddressInfo).port}`;
  });
  after(async () => {
    listener.closeAllConnections();
    listener.close();
    await server.stop();
  });
  beforeEach(() => {
    asked.length = 0;
    content.clear();
  });

  const register = async (
    uris: readonly string[] | undefined,
    metadata: object = {},
    issuer?: string,
  ) => {
    const target = issuer === undefined ? server : open;
    const client = await aClient(
      server,
      {
        first_party: true,
        jwks: { keys: [jwk] },
        ...(uris === undefined ? {} : { request_uris: uris }),
        ...metadata,
      },
      issuer,
    );
    return new RelyingParty(target, client);
  };

  const objectOf = async (app: RelyingParty, changes: object = {}, audience = server.issuer) =>
    new SignJWT({
      iss: app.credentials.clientId,
      aud: audience,
      client_id: app.credentials.clientId,
      redirect_uri: app.credentials.redirectUri,
      response_type: "code",
      scope: "openid",
      state: "from-the-object",
      nonce: "n",
      code_challenge: challengeOf(VERIFIER),
      code_challenge_method: "S256",
      ...changes,
    })
      .setProtectedHeader({ alg: "ES256", kid: "k", typ: "oauth-authz-req+jwt" })
      .setIssuedAt()
      .setExpirationTime("2m")
      .sign(privateKey);

  /** What OpenID Connect wants beside it (OIDC Core §6.2). */
  const request = (app: RelyingParty, uri: string, more: Record<string, string> = {}) =>
    app.authorization({ request_uri: uri, state: "outside", ...more });

  const ask = (app: RelyingParty, uri: string, more?: Record<string, string>): Promise<Answer> =>
    walk(server, new WebBrowser(server), request(app, uri, more), user);

  const refused = async (app: RelyingParty, uri: string) => {
    const answer = await ask(app, uri);
    assert.equal(errorOf(answer), "invalid_request_uri", answer.text.slice(0, 300));
    return answer;
  };

  it("signs somebody in with what is at a registered address (RFC 9101 §5.2.2)", async () => {
    const app = await register([`${host}/a`]);
    content.set("/a", await objectOf(app));
    const { state, code = "" } = response(await ask(app, `${host}/a`));
    assert.equal(state, "from-the-object");
    assert.equal((await app.redeem(code)).status, 200);
    assert.equal(asked.length, 1);
    assert.equal(asked[0]?.method, "GET", "fetched with GET (RFC 9101 §5.2.3)");
  });

  it("uses only what is in the request object, not what is beside it (RFC 9101 §6.3)", async () => {
    const app = await register([`${host}/a`]);
    content.set("/a", await objectOf(app, { state: undefined }));
    const answer = await ask(app, `${host}/a`, { login_hint: "x", state: "outside" });
    assert.equal(response(answer)["state"], undefined);
  });

  it("takes a POST as well as a GET (OIDC Core §3.1.2.1)", async () => {
    const app = await register([`${host}/a`]);
    content.set("/a", await objectOf(app));
    const browser = new WebBrowser(server);
    await walk(server, browser, app.authorization(), user);
    const posted = await browser.submit("/auth", app.parameters({ request_uri: `${host}/a` }));
    const answer = await walk(server, browser, posted.location ?? "");
    assert.ok(response(answer)["code"]);
  });

  it("works at the conformance issuer, with the hash of the content in the address (OIDC Core §6.2)", async () => {
    const registered = await register([`${host}/b`], {}, "open");
    const theirs = await objectOf(registered, {}, open.issuer);
    content.set("/b", theirs);
    const path = request(registered, `${host}/b#${hashOf(theirs)}`);
    const answer = await walk(open, new WebBrowser(open), path, user);
    assert.ok(response(answer)["code"]);
  });

  it("fetches what its address identifies by a hash only once (OIDC Core §6.2)", async () => {
    const app = await register([`${host}/a`]);
    const signed = await objectOf(app);
    content.set("/a", signed);
    for (let times = 0; times < 3; times += 1)
      assert.ok(response(await ask(app, `${host}/a#${hashOf(signed)}`))["code"]);
    assert.equal(asked.length, 1);
  });

  it("fetches again what has no hash, or another hash than before (OIDC Core §6.2)", async () => {
    const app = await register([`${host}/a`]);
    for (const state of ["one", "two"]) {
      const signed = await objectOf(app, { state });
      content.set("/a", signed);
      assert.equal(response(await ask(app, `${host}/a`))["state"], state);
      assert.equal(response(await ask(app, `${host}/a#${hashOf(signed)}`))["state"], state);
    }
    assert.equal(asked.length, 4);
  });

  it("refuses content that does not have the hash of its address (OIDC Core §6.2)", async () => {
    const app = await register([`${host}/a`]);
    content.set("/a", await objectOf(app));
    await refused(app, `${host}/a#${hashOf("something else")}`);
  });

  it("sends invalid_request_uri to the registered redirect URI, with state (OIDC Core §3.1.2.6)", async () => {
    const app = await register([`${host}/missing`]);
    const answer = await refused(app, `${host}/missing`);
    assert.ok(answer.location?.startsWith(app.credentials.redirectUri));
    assert.equal(response(answer)["state"], "outside");
    assert.equal(response(answer)["iss"], server.issuer);
  });

  it("fetches nothing that the client did not register (RFC 9101 §10.4.1)", async () => {
    const app = await register([`${host}/a`]);
    for (const uri of [`${host}/b`, `${host}/a/`, `${host}/a?x=1`, `${host}/A`, `${host}//a`])
      await refused(app, uri);
    await refused(await register(undefined), `${host}/a`);
    assert.equal(asked.length, 0);
  });

  it("takes an address that was registered with a hash with no other (OIDC Core §6.2)", async () => {
    const app = await register([`${host}/a#${hashOf("as registered")}`]);
    content.set("/a", "as registered");
    await refused(app, `${host}/a`);
    await refused(app, `${host}/a#${hashOf("x")}`);
    assert.equal(asked.length, 0);
  });

  it("fetches nothing for a client that is unknown (RFC 9101 §10.4.1)", async () => {
    const app = new RelyingParty(server, {
      clientId: "nobody",
      clientSecret: "",
      redirectUri: "https://rp.example/callback",
    });
    assert.equal(errorOf(await ask(app, `${host}/a`)), "invalid_client");
    assert.equal(asked.length, 0);
  });

  it("fetches nothing that another client registered (RFC 9101 §10.4.1)", async () => {
    await register([`${host}/a`]);
    const other = await register([`${host}/other`]);
    await refused(other, `${host}/a`);
    assert.equal(asked.length, 0);
  });

  it("refuses request and request_uri together, and fetches nothing (RFC 9101 §5)", async () => {
    const app = await register([`${host}/a`]);
    content.set("/a", await objectOf(app));
    const answer = await ask(app, `${host}/a`, { request: await objectOf(app) });
    assert.equal(errorOf(answer), "invalid_request");
    assert.equal(asked.length, 0);
  });

  it("refuses request_uri twice (RFC 6749 §3.1)", async () => {
    const app = await register([`${host}/a`]);
    content.set("/a", await objectOf(app));
    const path = `${request(app, `${host}/a`)}&request_uri=${encodeURIComponent(`${host}/a`)}`;
    const answer = await new WebBrowser(server).open(path);
    assert.equal(errorOf(answer), "invalid_request");
    assert.equal(asked.length, 0);
  });

  it("refuses request_uri at the pushed authorization request endpoint (RFC 9126 §2.1)", async () => {
    const app = await register([`${host}/a`]);
    const answer = await app.post("/request", app.parameters({ request_uri: `${host}/a` }));
    assert.ok(answer.status === 400, answer.text);
    assert.equal(asked.length, 0);
  });

  it("fetches nothing for a client that must push its requests (RFC 9126 §6)", async () => {
    const app = await register([`${host}/a`], { require_pushed_authorization_requests: true });
    content.set("/a", await objectOf(app));
    assert.match(errorOf(await ask(app, `${host}/a`)) ?? "", /request/);
    assert.equal(asked.length, 0);
  });

  it("refuses a request object that nobody signed (RFC 9101 §4, §10.2)", async () => {
    const app = await register([`${host}/a`]);
    content.set(
      "/a",
      new UnsecuredJWT({ iss: app.credentials.clientId, aud: server.issuer }).encode(),
    );
    assert.equal(errorOf(await ask(app, `${host}/a`)), "invalid_request_object");
  });

  it("refuses a request object that another client signed for itself (RFC 9101 §6.3)", async () => {
    const other = await register([]);
    const app = await register([`${host}/a`]);
    content.set("/a", await objectOf(other));
    assert.equal(errorOf(await ask(app, `${host}/a`)), "invalid_request_object");
  });

  it("refuses a request object that refers to another one (RFC 9101 §4)", async () => {
    const app = await register([`${host}/a`, `${host}/b`]);
    content.set("/a", await objectOf(app, { request_uri: `${host}/b` }));
    content.set("/b", await objectOf(app));
    assert.equal(errorOf(await ask(app, `${host}/a`)), "invalid_request_object");
    assert.equal(asked.length, 1);
  });

  it("refuses what is no request object at all (RFC 9101 §6.1)", async () => {
    const app = await register([`${host}/a`]);
    content.set("/a", "<html>hello</html>");
    assert.equal(errorOf(await ask(app, `${host}/a`)), "invalid_request_object");
  });

  it("follows no redirect (RFC 9101 §10.4.1)", async () => {
    const app = await register([`${host}/a`]);
    const signed = await objectOf(app);
    content.set("/b", signed);
    content.set("/a", (answer) => answer.writeHead(302, { location: `${host}/b` }).end());
    await refused(app, `${host}/a`);
    assert.deepEqual(
      asked.map(({ url }) => url),
      ["/a"],
    );
  });

  it("gives up on an answer that is too large, with or without an end (T-36)", async () => {
    const app = await register([`${host}/large`, `${host}/endless`]);
    content.set("/large", "x".repeat(65 * 1024));
    content.set("/endless", (answer) => {
      const more = () => answer.write("x".repeat(64 * 1024));
      answer.on("drain", more).writeHead(200);
      for (let times = 0; times < 10; times += 1) more();
    });
    await refused(app, `${host}/large`);
    await refused(app, `${host}/endless`);
  });

  it("gives up on a server that does not answer (T-36)", async () => {
    const app = await register([`${host}/slow`]);
    content.set("/slow", () => {});
    const start = Date.now();
    await refused(app, `${host}/slow`);
    assert.ok(Date.now() - start < 4_500);
  });

  it("asks with no cookie, no credentials and no referrer (T-36)", async () => {
    const app = await register([`${host}/a`]);
    content.set("/a", await objectOf(app));
    await ask(app, `${host}/a`);
    for (const name of ["cookie", "authorization", "referer", "x-forwarded-for"])
      assert.equal(asked[0]?.headers[name], undefined, name);
  });

  it("tells clients in discovery, where the issuer takes them (OIDC Discovery §3)", async () => {
    const at = async (path: string) =>
      json(await send(server, { path: `${path}/.well-known/openid-configuration` }));
    for (const path of ["", "/open"]) {
      const metadata = await at(path);
      assert.equal(metadata["request_uri_parameter_supported"], true, path);
      assert.equal(metadata["require_request_uri_registration"], true, path);
    }
    const bank = await at("/bank");
    assert.equal(bank["request_uri_parameter_supported"], false);
    assert.equal(bank["require_request_uri_registration"], undefined);
  });

  it("can be registered by clients themselves, and is shown to them (OIDC Registration §2)", async () => {
    const metadata = {
      redirect_uris: ["https://rp.example/callback"],
      request_uris: [`https://rp.example/request.jwt#${hashOf("x")}`],
    };
    const body = JSON.stringify(metadata);
    const made = await send(server, {
      path: "/open/reg",
      body,
      headers: {
        "content-type": "application/json",
        "content-length": String(Buffer.byteLength(body)),
      },
    });
    assert.equal(made.status, 201, made.text);
    assert.deepEqual(json(made)["request_uris"], metadata.request_uris);
  });

  for (const [what, uri] of [
    ["plain http", "http://rp.example/request.jwt"],
    ["a fragment that is no hash", "https://rp.example/request.jwt#latest"],
    ["more than 512 characters", `https://rp.example/${"a".repeat(500)}`],
    ["a user name", "https://user@rp.example/request.jwt"],
    ["a wildcard", "https://rp.example/*"],
    ["another scheme", "file:///etc/passwd"],
  ] as const)
    it(`cannot be registered with ${what} (OIDC Core §6.2)`, async () => {
      await assert.rejects(register([uri]), /request_uris\[0\] must/);
    });

  it("cannot be registered where requests must be pushed (FAPI 2.0 §5.3.2.2)", async () => {
    await assert.rejects(
      aClient(server, { request_uris: ["https://rp.example/request.jwt"] }, "bank"),
      /request_uris must be left out/,
    );
  });
});

/** The same with the settings of production, where no address of the own network is reached (T-36). */
describe("request_uri by reference in production", () => {
  let server: TestServer;
  before(async () => {
    server = await aProductionServer();
  });
  after(() => server.stop());

  for (const [what, host] of [
    ["this machine", "127.0.0.1"],
    ["this machine by its name", "localhost"],
    ["this machine in IPv6", "[::1]"],
    ["this machine as IPv4 in IPv6", "[::ffff:7f00:1]"],
    ["the metadata service of a cloud", "169.254.169.254"],
    ["a private network", "10.0.0.1"],
    ["every address of this machine", "0.0.0.0"],
  ] as const)
    it(`does not connect to ${what} (T-36)`, async () => {
      let connections = 0;
      const trap = createTcpServer((socket) => {
        connections += 1;
        socket.destroy();
      });
      await once(trap.listen(0, "127.0.0.1"), "listening");
      const { port } = trap.address() as AddressInfo;
      const uris = [`https://${host}/request.jwt`, `https://${host}:${port}/request.jwt`];
      const app = new RelyingParty(server, await aClient(server, { request_uris: uris }));
      for (const uri of uris) {
        const answer = await new WebBrowser(server).open(app.authorization({ request_uri: uri }));
        assert.equal(errorOf(answer), "invalid_request_uri");
        assert.doesNotMatch(answer.location ?? "", /ECONN|refused|public|127|169/i, "no oracle");
      }
      trap.close();
      assert.equal(connections, 0);
    });
});
