import assert from "node:assert/strict";
import { once } from "node:events";
import type { IncomingMessage, ServerResponse } from "node:http";
import { createServer as createTcpServer, type AddressInfo } from "node:net";
import { decodeJwt, exportJWK, generateKeyPair, SignJWT } from "jose";
import { createClient, deleteClient } from "../../src/clients/clients.ts";
import { purge } from "../../src/jobs/purge.ts";
import { OAuthClient } from "../../src/models/oauth-client.ts";
import { addTypes, anApi, asksFor } from "../support/api.ts";
import { aHttpsServer } from "../support/https.ts";
import {
  aProductionServer,
  errorOf,
  json,
  RelyingParty,
  response,
  send,
  walk,
  WebBrowser,
  type Answer,
} from "../support/rp.ts";
import { aServer, aServerWith, aUser, issuerAt, type TestServer } from "../support/server.ts";

const REDIRECT = "http://localhost:33418/callback";

type Content = object | string | ((answer: ServerResponse, request: IncomingMessage) => void);

/** Clients that are known by the address of a document (draft-ietf-oauth-client-id-metadata-document-02). */
describe("client ID metadata documents", () => {
  let server: TestServer;
  let host: Awaited<ReturnType<typeof aHttpsServer>>;
  let user: { id: string; email: string };
  const asked: IncomingMessage[] = [];
  const content = new Map<string, Content>();
  let headers: Record<string, string> = {};
  let count = 0;

  before(async () => {
    server = await aServerWith(
      { open: "conformance" },
      { CLIENT_DOCUMENT_HOSTS: "localhost,*.app.example" },
    );
    user = await aUser(server);
    host = await aHttpsServer((request, answer) => {
      asked.push(request);
      const found = content.get(request.url ?? "");
      if (typeof found === "function") return found(answer, request);
      if (found === undefined) return answer.writeHead(404).end();
      answer.writeHead(200, { "content-type": "application/json", ...headers });
      return answer.end(typeof found === "string" ? found : JSON.stringify(found));
    });
  });
  after(async () => {
    host.close();
    await server.stop();
  });
  beforeEach(() => {
    asked.length = 0;
    content.clear();
    headers = {};
  });

  /** A document at an address of its own, and the client that it is about. */
  function publish(metadata: object = {}, path = `/${(count += 1)}/client.json`) {
    const clientId = host.origin + path;
    const document = {
      client_id: clientId,
      client_name: "Claude",
      redirect_uris: [REDIRECT],
      token_endpoint_auth_method: "none",
      ...metadata,
    };
    content.set(path, document);
    return { app: appOf(clientId), clientId, path, document };
  }

  const appOf = (clientId: string, target: TestServer = server) =>
    new RelyingParty(target, { clientId, clientSecret: "", redirectUri: REDIRECT });

  const open = (app: RelyingParty, changes = {}): Promise<Answer> =>
    new WebBrowser(server).open(app.authorization(changes));

  const refused = async (app: RelyingParty, pattern?: RegExp) => {
    const answer = await open(app);
    assert.equal(errorOf(answer), "invalid_client", answer.location);
    assert.equal(answer.location, undefined, "nobody is sent anywhere (RFC 6749 §4.1.2.1)");
    if (pattern !== undefined) assert.match(answer.text, pattern);
    const { clientId } = app.credentials;
    const rows = await OAuthClient.query(server.database.knex).where({
      clientId,
      fromDocument: true,
    });
    assert.equal(rows.length, 0, "and nothing is kept");
  };

  const accepted = async (app: RelyingParty) => {
    const answer = await open(app);
    assert.equal(answer.status, 303, answer.text.slice(0, 2_000));
    assert.match(answer.location ?? "", /\/interaction\//);
  };

  /** Time passes: the document is as old as `seconds` make it, on every node. */
  async function age(clientId: string, seconds: number): Promise<TestServer> {
    await server.database.knex.raw(
      `UPDATE client_documents SET fresh_until = fresh_until - make_interval(secs => ?), fetched_at = fetched_at - make_interval(secs => ?)
       WHERE client_id = (SELECT id FROM oauth_clients WHERE client_id = ?)`,
      [seconds, seconds, clientId],
    );
    const { running } = await server.another();
    return { ...server, port: running.port };
  }

  it("sign people in with nothing registered (Client ID Metadata Document §3, §5)", async () => {
    const { app, clientId } = publish();
    const answer = await walk(server, new WebBrowser(server), app.authorization(), user);
    const { code = "", iss } = response(answer);
    assert.equal(iss, server.issuer);
    const tokens = await app.redeem(code);
    assert.equal(tokens.status, 200, tokens.text);
    const row = await OAuthClient.query(server.database.knex).findOne({ clientId });
    assert.equal(row?.fromDocument, true);
    assert.equal(row?.consentMode, "explicit");
  });

  it("are said to work in discovery where they do (Client ID Metadata Document §6)", async () => {
    const at = async (path: string) =>
      json(await send(server, { path: `${path}/.well-known/oauth-authorization-server` }));
    assert.equal((await at(""))["client_id_metadata_document_supported"], true);
    assert.equal((await at("/open"))["client_id_metadata_document_supported"], undefined);
  });

  it("are fetched with GET, as JSON, without cookies or credentials (Client ID Metadata Document §5)", async () => {
    await accepted(publish().app);
    const [request] = asked;
    assert.equal(request?.method, "GET");
    assert.equal(request?.headers.accept, "application/json");
    for (const name of ["cookie", "authorization", "referer"])
      assert.equal(request?.headers[name], undefined, name);
  });

  it("are fetched once however many ask at once (Client ID Metadata Document §9.1)", async () => {
    const { app } = publish();
    const answers = await Promise.all(Array.from({ length: 8 }, () => open(app)));
    for (const { status } of answers) assert.equal(status, 303);
    assert.equal(asked.length, 1);
  });

  it("does not say with whom it shares its subjects (OIDC Core §8.1)", async () => {
    const { app } = publish({
      subject_type: "pairwise",
      sector_identifier_uri: "https://victim.example/sector.json",
    });
    await refused(app, /sector_identifier_uri must not be in a document/);
  });

  it("are one client when two nodes read a document at once (Client ID Metadata Document §3)", async () => {
    const { app, clientId } = publish();
    const { running } = await server.another();
    const other = { ...server, port: running.port };
    const answers = await Promise.all([
      new WebBrowser(server).open(app.authorization()),
      new WebBrowser(other).open(app.authorization()),
    ]);
    for (const { status, text } of answers) assert.equal(status, 303, text);
    assert.equal(await OAuthClient.query(server.database.knex).where({ clientId }).resultSize(), 1);
  });

  describe("on the consent page", () => {
    const consentOf = (app: RelyingParty, browser = new WebBrowser(server)) =>
      walk(server, browser, app.authorization({ scope: "openid email" }), {
        ...user,
        until: "consent",
      });

    it("are called by their host, and as what nobody checked (Client ID Metadata Document §8.5)", async () => {
      const { app } = publish({ redirect_uris: [REDIRECT, "https://localhost/cb"] });
      const { text } = await consentOf(app);
      const [, notice = ""] = /id="known-by-address">(.*?)<\/p>/s.exec(text) ?? [];
      assert.ok(notice.includes(`Known only by its address ${new URL(host.origin).host}.`), notice);
      assert.match(notice, /Nobody at Lintel has checked/);
      assert.match(
        notice,
        /Your answer goes to localhost:33418/,
        "where that is elsewhere (Client ID Metadata Document §8.1)",
      );
    });

    /** An address that no other program can claim, so that nothing else is a reason to ask. */
    const claimed = { redirect_uri: "https://claude.example/callback" };
    const publishClaimed = () => publish({ redirect_uris: [claimed.redirect_uri] });

    it("ask again every time, whatever was allowed before (Client ID Metadata Document §8.4)", async () => {
      const { app } = publishClaimed();
      const browser = new WebBrowser(server);
      for (let times = 0; times < 2; times += 1) {
        const path = app.authorization(claimed);
        const page = await walk(server, browser, path, { ...user, until: "consent" });
        assert.equal(page.page, "consent");
        await browser.submit(page.url.href, { decision: "allow", scope: ["openid"] });
      }
    });

    it("are not allowed without being asked for (OIDC Core §3.1.2.1)", async () => {
      const { app } = publishClaimed();
      const browser = new WebBrowser(server);
      const back = await walk(server, browser, app.authorization(claimed), user);
      assert.ok(response(back)["code"]);
      const answer = await browser.open(app.authorization({ ...claimed, prompt: "none" }));
      assert.match(errorOf(answer) ?? "", /^(consent|interaction)_required$/);
    });

    it("show no picture that they chose (Client ID Metadata Document §8.8)", async () => {
      const { text } = await consentOf(
        publish({ logo_uri: "https://claude.example/logo.png" }).app,
      );
      assert.doesNotMatch(text, /<img/);
    });

    it("are warned of where the answer stays on the device (RFC 8252 §8.6)", async () => {
      const { text } = await consentOf(publish().app);
      assert.match(text, /runs on your device/);
    });
  });

  describe("must have a document that", () => {
    it("names its own address as client_id, letter by letter (Client ID Metadata Document §4)", async () => {
      await refused(publish({ client_id: `${host.origin}/another.json` }).app, /client_id must be/);
      const path = `/${(count += 1)}/Client.json`;
      await refused(publish({ client_id: `${host.origin}${path.toLowerCase()}` }, path).app);
      await refused(publish({ client_id: undefined }).app);
    });

    for (const field of ["client_secret", "client_secret_expires_at"])
      it(`has no ${field} (Client ID Metadata Document §4.1)`, async () => {
        await refused(publish({ [field]: 0 }).app, new RegExp(field));
      });

    for (const method of ["client_secret_basic", "client_secret_post", "client_secret_jwt", "x", 1])
      it(`does not authenticate by ${method} (Client ID Metadata Document §4.1)`, async () => {
        await refused(publish({ token_endpoint_auth_method: method }).app);
      });

    it("needs no secret for anything else either (Client ID Metadata Document §4.1)", async () => {
      await refused(publish({ request_object_signing_alg: "HS256" }).app, /secret/);
    });

    it("says where people are sent back to (Client ID Metadata Document §4.2)", async () => {
      await refused(publish({ redirect_uris: undefined }).app, /redirect_uris/);
      await refused(publish({ redirect_uris: [] }).app, /redirect_uris/);
    });

    it("is held to every rule for redirect URIs (RFC 9700 §2.1)", async () => {
      for (const uri of [
        "http://app.example/cb",
        "https://*.app.example/cb",
        "javascript:alert(1)",
      ])
        await refused(publish({ redirect_uris: [uri] }).app, /redirect_uris\[0\]/);
    });

    it("has public keys, and no others, for private_key_jwt (Client ID Metadata Document §4.1)", async () => {
      const { privateKey } = await generateKeyPair("ES256", { extractable: true });
      await refused(publish({ token_endpoint_auth_method: "private_key_jwt" }).app, /jwks/);
      const jwks = { keys: [await exportJWK(privateKey)] };
      await refused(publish({ token_endpoint_auth_method: "private_key_jwt", jwks }).app, /jwks/);
    });

    it("is a JSON object (Client ID Metadata Document §4)", async () => {
      for (const text of ["", "{", "[]", "null", '"x"', "<html>"]) {
        const { app, path } = publish();
        content.set(path, text);
        await refused(app);
      }
    });

    it("is sent as JSON (Client ID Metadata Document §4)", async () => {
      headers = { "content-type": "text/html" };
      await refused(publish().app);
      headers = { "content-type": "application/vnd.client+json; charset=utf-8" };
      await accepted(publish().app);
    });

    it("is sent with 200 and nothing else (Client ID Metadata Document §5)", async () => {
      for (const status of [201, 204, 404, 410, 500]) {
        const { app, path, document } = publish();
        content.set(path, (answer) =>
          answer
            .writeHead(status, { "content-type": "application/json" })
            .end(status === 204 ? undefined : JSON.stringify(document)),
        );
        await refused(app);
      }
    });

    it("is at the address itself: no redirect is followed (Client ID Metadata Document §5)", async () => {
      const { document } = publish({}, "/elsewhere.json");
      const path = `/${(count += 1)}/client.json`;
      content.set("/elsewhere.json", { ...document, client_id: host.origin + path });
      content.set(path, (answer) => answer.writeHead(302, { location: "/elsewhere.json" }).end());
      await refused(appOf(host.origin + path));
      assert.deepEqual(
        asked.map(({ url }) => url),
        [path],
      );
    });

    it("is not too large, with or without an end (Client ID Metadata Document §8.7)", async () => {
      await refused(publish({ client_name: "x", padding: "x".repeat(17_000) }).app);
      const { app, path } = publish();
      content.set(path, (answer) => {
        answer.writeHead(200, { "content-type": "application/json" });
        const more = () => answer.write(" ".repeat(64 * 1024));
        answer.on("drain", more);
        for (let times = 0; times < 10; times += 1) more();
      });
      await refused(app);
    });
  });

  describe("have an address that", () => {
    const never = async (clientId: string) => {
      await refused(appOf(clientId));
      assert.equal(asked.length, 0, `${clientId} was fetched`);
    };

    it("is https (Client ID Metadata Document §3)", () =>
      never(host.origin.replace("https:", "http:") + "/client.json"));
    it("has a path (Client ID Metadata Document §3)", async () => {
      await never(host.origin);
      await never(`${host.origin}?client.json`);
    });
    for (const path of ["/./client.json", "/a/../client.json", "/a/%2e%2E/client.json", "/a/.."])
      it(`has no dot segments: ${path} (Client ID Metadata Document §3)`, () =>
        never(host.origin + path));
    it("has no fragment (Client ID Metadata Document §3)", async () => {
      publish({}, "/fragment.json");
      await never(`${host.origin}/fragment.json#`);
      await never(`${host.origin}/fragment.json#x`);
    });
    it("has no user name or password (Client ID Metadata Document §3)", async () => {
      const { host: name } = new URL(host.origin);
      for (const info of ["user@", "user:password@", ":@", "@"])
        await never(`https://${info}${name}/client.json`);
    });
    it("is spelled in one way (Client ID Metadata Document §3)", async () => {
      for (const origin of [
        host.origin.toUpperCase(),
        host.origin.replace("localhost", "loc%61lhost"),
      ])
        await never(`${origin}/client.json`);
      await never(`${host.origin}\\client.json`);
      await never(`${host.origin}/client.json/${"a".repeat(500)}`);
    });
    it("is of a host that the operator allows (Client ID Metadata Document §8.9)", async () => {
      for (const name of [
        "evil.example",
        "app.example",
        "xapp.example",
        "app.example.evil.example",
      ])
        await never(`https://${name}/client.json`);
      assert.doesNotMatch(server.logged(), /evil\.example.*not read/);
      await never(host.origin.replace("localhost", "127.0.0.1") + "/client.json");
    });
    it("is known to the issuer of ISSUER only (Client ID Metadata Document §6)", async () => {
      const { clientId } = publish();
      const there = issuerAt(server, "open");
      const app = new RelyingParty(there, { clientId, clientSecret: "", redirectUri: REDIRECT });
      const answer = await new WebBrowser(there).open(app.authorization());
      assert.equal(errorOf(answer), "invalid_client");
      assert.equal(asked.length, 0);
    });
    it("may have a port and a query (Client ID Metadata Document §3)", async () => {
      await accepted(publish({}, `/${(count += 1)}/client.json?v=1`).app);
    });
  });

  it("are read again right after an error: none is remembered (Client ID Metadata Document §5.2)", async () => {
    const { app, path, document } = publish();
    content.set(path, "{");
    await refused(app);
    content.delete(path);
    await refused(app);
    content.set(path, document);
    await accepted(app);
    assert.equal(asked.length, 3, "once for each request");
  });

  it("get tokens for an API that is open to any client, and for that alone (RFC 8707 §2)", async () => {
    const api = await anApi(server, { open_to: "any" });
    const { app } = publish({ scope: "openid read" });
    const path = asksFor(app, { scope: "read", resource: api });
    const answer = await walk(server, new WebBrowser(server), path, user);
    const { code = "" } = response(answer);
    const tokens = json(await app.redeem(code, { resource: api }));
    const claims = decodeJwt(String(tokens["access_token"]));
    assert.equal(claims.aud, api);
    assert.equal(claims["client_id"], app.credentials.clientId);
  });

  describe("are as their document says", () => {
    it("with the redirect URIs of it, and no others (Client ID Metadata Document §4.2)", async () => {
      const { app } = publish();
      const answer = await open(app, { redirect_uri: "http://localhost:33418/other" });
      assert.equal(errorOf(answer), "invalid_redirect_uri");
    });

    it("on any port of this device, where they are native (RFC 8252 §7.3)", async () => {
      const { app } = publish({
        application_type: "native",
        redirect_uris: ["http://127.0.0.1/callback"],
      });
      const answer = await open(app, { redirect_uri: "http://127.0.0.1:50123/callback" });
      assert.match(answer.location ?? "", /\/interaction\//);
    });

    it("with PKCE, as every public client (RFC 9700 §2.1.1)", async () => {
      const { app } = publish();
      const answer = await open(app, {
        code_challenge: undefined,
        code_challenge_method: undefined,
      });
      assert.equal(errorOf(answer), "invalid_request");
    });

    it("with a key, where they have one (Client ID Metadata Document §8.2)", async () => {
      const { publicKey, privateKey } = await generateKeyPair("ES256");
      const { app, clientId } = publish({
        token_endpoint_auth_method: "private_key_jwt",
        jwks: { keys: [{ ...(await exportJWK(publicKey)), kid: "k", alg: "ES256" }] },
      });
      const answer = await walk(server, new WebBrowser(server), app.authorization(), user);
      const { code = "" } = response(answer);
      assert.equal(errorOf(await app.redeem(code, { client_id: clientId })), "invalid_client");
      const assertion = await new SignJWT({ jti: "1" })
        .setProtectedHeader({ alg: "ES256", kid: "k" })
        .setIssuer(clientId)
        .setSubject(clientId)
        .setAudience(server.issuer)
        .setIssuedAt()
        .setExpirationTime("1m")
        .sign(privateKey);
      const tokens = await app.redeem(code, {
        client_assertion_type: "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
        client_assertion: assertion,
      });
      assert.equal(tokens.status, 200, tokens.text);
    });

    it("but for what only an operator decides, and what we do not offer (T-38)", async () => {
      const { app, clientId } = publish({
        first_party: true,
        cors_origins: ["https://evil.example"],
        refresh_reuse_interval: 300,
        grant_types: [
          "authorization_code",
          "refresh_token",
          "client_credentials",
          "urn:ietf:params:oauth:grant-type:device_code",
        ],
        response_types: ["code", "token"],
        scope: "openid mcp:tools",
        something_unknown: true,
      });
      await accepted(app);
      const row = await OAuthClient.query(server.database.knex).findOne({ clientId });
      assert.equal(row?.consentMode, "explicit");
      assert.deepEqual(row?.corsOrigins, []);
      assert.deepEqual(row?.grantTypes, ["authorization_code", "refresh_token"]);
      assert.deepEqual(row?.responseTypes, ["code"]);
      assert.equal(row?.scope, "openid");
    });

    it("called by the host where it gives no name (Client ID Metadata Document §8.5)", async () => {
      const { app, clientId } = publish({ client_name: undefined });
      await accepted(app);
      const row = await OAuthClient.query(server.database.knex).findOne({ clientId });
      assert.equal(row?.name, new URL(host.origin).host);
    });
  });

  describe("are read again", () => {
    it("not before five minutes are over, whatever the server says (Client ID Metadata Document §5.2)", async () => {
      headers = { "cache-control": "no-store, max-age=0" };
      const { app, clientId } = publish();
      await accepted(app);
      const earlier = await age(clientId, 290);
      await new WebBrowser(earlier).open(app.authorization());
      assert.equal(asked.length, 1);
    });

    it("when their time is over (RFC 9111 §4.2)", async () => {
      headers = { "cache-control": "max-age=600" };
      const { app, clientId } = publish();
      await accepted(app);
      await new WebBrowser(await age(clientId, 590)).open(app.authorization());
      assert.equal(asked.length, 1);
      await new WebBrowser(await age(clientId, 20)).open(app.authorization());
      assert.equal(asked.length, 2);
    });

    it("after a day at the latest (Client ID Metadata Document §5.2)", async () => {
      headers = { "cache-control": "max-age=31536000" };
      const { app, clientId } = publish();
      await accepted(app);
      await new WebBrowser(await age(clientId, 86_401)).open(app.authorization());
      assert.equal(asked.length, 2);
    });

    it("so that a redirect URI that was taken away is good no more (Client ID Metadata Document §8.4)", async () => {
      const { app, clientId, path, document } = publish();
      await accepted(app);
      content.set(path, { ...document, redirect_uris: ["https://claude.example/cb"] });
      const later = await age(clientId, 3_600);
      const answer = await new WebBrowser(later).open(app.authorization());
      assert.equal(errorOf(answer), "invalid_redirect_uri");
      const row = await OAuthClient.query(server.database.knex).findOne({ clientId });
      assert.deepEqual(row?.redirectUris, ["https://claude.example/cb"]);
      assert.equal(row?.version, 2);
    });

    it("and stay the same client, with its version, when nothing changed (Client ID Metadata Document §5.2)", async () => {
      const { app, clientId } = publish();
      await accepted(app);
      await new WebBrowser(await age(clientId, 3_600)).open(app.authorization());
      const row = await OAuthClient.query(server.database.knex).findOne({ clientId });
      assert.equal(asked.length, 2);
      assert.equal(row?.version, 1);
    });

    it("and used for a day longer while the server does not answer (RFC 5861 §4)", async () => {
      const { app, clientId, path } = publish();
      await accepted(app);
      content.set(path, (answer) => answer.writeHead(503).end());
      const later = await age(clientId, 3_600);
      const answer = await new WebBrowser(later).open(app.authorization());
      assert.equal(answer.status, 303, answer.text);
      const muchLater = await age(clientId, 86_400);
      const gone = await new WebBrowser(muchLater).open(app.authorization());
      assert.equal(errorOf(gone), "invalid_client");
    });

    for (const status of [404, 410, 302])
      it(`and used no longer when the server answers ${status} (Client ID Metadata Document §5.1)`, async () => {
        const { app, clientId, path } = publish();
        await accepted(app);
        content.set(path, (answer) => answer.writeHead(status, { location: "/x" }).end());
        const answer = await new WebBrowser(await age(clientId, 3_600)).open(app.authorization());
        assert.equal(errorOf(answer), "invalid_client");
      });
  });

  it("never take the place of a client that an operator registered, or deleted (Client ID Metadata Document §7.2)", async () => {
    const { app, clientId } = publish({ redirect_uris: [REDIRECT, "https://evil.example/cb"] });
    const { knex } = server.database;
    await createClient(
      knex,
      {
        clientId,
        metadata: {
          client_name: "Ours",
          redirect_uris: ["https://ours.example/cb"],
          token_endpoint_auth_method: "none",
        },
      },
      new Date(),
    );
    const answer = await open(app, { redirect_uri: "https://evil.example/cb" });
    assert.equal(errorOf(answer), "invalid_redirect_uri");
    const second = publish();
    await accepted(second.app);
    await knex.transaction((trx) => deleteClient(trx, second.clientId, {}, new Date()));
    const later = await age(second.clientId, 3_600);
    const blocked = await new WebBrowser(later).open(second.app.authorization());
    assert.equal(errorOf(blocked), "invalid_client", "an operator can turn one away");
    assert.equal(asked.length, 1);
  });

  it("are forgotten a week after their time where nobody allowed them anything (Client ID Metadata Document §5.2)", async () => {
    const [unused, used] = [publish(), publish()];
    await accepted(unused.app);
    await walk(server, new WebBrowser(server), used.app.authorization(), user);
    const { knex } = server.database;
    const inAWeek = new Date(Date.now() + 8 * 86_400_000);
    await purge(knex, inAWeek);
    const left = async ({ clientId }: { clientId: string }) =>
      OAuthClient.query(knex).where({ clientId }).resultSize();
    assert.equal(await left(unused), 0);
    assert.equal(await left(used), 1);
  });

  describe("are bounded", () => {
    const statusOf = async (target: TestServer) =>
      (await new WebBrowser(target).open(appOf(publish().clientId, target).authorization())).status;

    it("by how many are new in a day (Client ID Metadata Document §8.7)", async () => {
      const few = await aServer({ CLIENT_DOCUMENT_HOSTS: "localhost", REGISTRATION_QUOTA: "2" });
      try {
        const statuses = [];
        for (let n = 0; n < 3; n += 1) statuses.push(await statusOf(few));
        assert.deepEqual(statuses, [303, 303, 429]);
        assert.equal(asked.length, 2, "what is not kept is not fetched either");
        const [known] = await OAuthClient.query(few.database.knex).where({ fromDocument: true });
        const again = await new WebBrowser(few).open(
          appOf(known?.clientId ?? "", few).authorization(),
        );
        assert.equal(again.status, 303, "those that are known go on");
      } finally {
        await few.stop();
      }
    });

    it("by how many unknown ones a network has us fetch in an hour (Client ID Metadata Document §8.7)", async () => {
      const few = await aServer({ CLIENT_DOCUMENT_HOSTS: "localhost" });
      try {
        const statuses = [];
        for (let n = 0; n < 102; n += 1) {
          const app = appOf(`${host.origin}/missing/${n}`, few);
          statuses.push((await new WebBrowser(few).open(app.authorization())).status);
        }
        assert.deepEqual([...new Set(statuses)], [400, 429]);
        assert.equal(asked.length, 100);
        assert.equal(await statusOf(few), 429);
      } finally {
        await few.stop();
      }
    });

    it("by what they may ask people for in words of their own: nothing, unless an operator says so (RFC 9396 §10)", async () => {
      const types = { authorization_details_types: ["payment", "greeting"] };
      const { app, clientId } = publish(types);
      await accepted(app);
      const row = await OAuthClient.query(server.database.knex).findOne({ clientId });
      assert.deepEqual(row?.metadata["authorization_details_types"], []);
      const settings = { REGISTRATION_AUTHORIZATION_TYPES: "greeting" };
      const some = await aServer({ CLIENT_DOCUMENT_HOSTS: "localhost", ...settings });
      try {
        await addTypes(some, "greeting");
        const other = publish(types).clientId;
        await new WebBrowser(some).open(appOf(other, some).authorization());
        const kept = await OAuthClient.query(some.database.knex).findOne({ clientId: other });
        assert.deepEqual(kept?.metadata["authorization_details_types"], ["greeting"]);
      } finally {
        await some.stop();
      }
    });
  });

  it("are on only where an operator says from which hosts (Client ID Metadata Document §8.9)", async () => {
    const off = await aServer();
    try {
      const { clientId } = publish();
      const answer = await new WebBrowser(off).open(appOf(clientId, off).authorization());
      assert.equal(errorOf(answer), "invalid_client");
      assert.equal(asked.length, 0);
      const metadata = json(await send(off, { path: "/.well-known/oauth-authorization-server" }));
      assert.equal(metadata["client_id_metadata_document_supported"], undefined);
    } finally {
      await off.stop();
    }
  });
});

/** Any host is allowed, and still no address of the own network is reached (T-36, §8.6). */
describe("client ID metadata documents in production", () => {
  let server: TestServer;
  before(async () => {
    server = await aProductionServer({ CLIENT_DOCUMENT_HOSTS: "*" });
  });
  after(() => server.stop());

  for (const host of [
    "127.0.0.1",
    "localhost",
    "[::1]",
    "[::ffff:7f00:1]",
    "169.254.169.254",
    "10.0.0.1",
    "192.168.0.1",
    "0.0.0.0",
    "[fd00::1]",
  ])
    it(`do not connect to ${host} (T-36)`, async () => {
      let connections = 0;
      const trap = createTcpServer((socket) => {
        connections += 1;
        socket.destroy();
      });
      await once(trap.listen(0, "127.0.0.1"), "listening");
      const { port } = trap.address() as AddressInfo;
      for (const clientId of [
        `https://${host}/client.json`,
        `https://${host}:${port}/client.json`,
      ]) {
        const app = new RelyingParty(server, {
          clientId,
          clientSecret: "",
          redirectUri: "https://rp.example/cb",
        });
        const answer = await new WebBrowser(server).open(app.authorization());
        assert.equal(errorOf(answer), "invalid_client");
        assert.doesNotMatch(answer.text, /ECONN|public internet|refused/i, "no oracle");
      }
      trap.close();
      assert.equal(connections, 0);
    });
});
