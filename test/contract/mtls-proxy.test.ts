import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { OAuthClient } from "../../src/models/oauth-client.ts";
import { aCertificate, asJwks, CN, O, type Identity } from "../support/certificates.ts";
import { anAuthority } from "../support/mutual-tls.ts";
import {
  aProductionServer,
  errorOf,
  json,
  RelyingParty,
  send,
  type Target,
} from "../support/rp.ts";
import { aClient, type TestServer } from "../support/server.ts";

const HEADER = "client-cert";
const VERIFIED = "x-client-verify";
const MACHINE = { grant_types: ["client_credentials"], redirect_uris: [] };
const GRANT = { grant_type: "client_credentials" };

/** How proxies write a certificate into a header. */
const rfc9440 = ({ der }: Identity) => `:${der.toString("base64")}:`;
const nginx = ({ cert }: Identity) => encodeURIComponent(cert);
const envoy = ({ cert }: Identity, subject = "CN=photos") =>
  `Hash=00;Cert="${encodeURIComponent(cert)}";Subject="${subject}";URI=`;

describe("client certificates behind a proxy that ends TLS", () => {
  let server: TestServer;
  let identity: Identity;
  let client: { clientId: string };

  before(async () => {
    server = await aProductionServer({
      MTLS_HEADER: "Client-Cert",
      MTLS_VERIFIED_HEADER: "X-Client-Verify",
      MTLS_PROXIES: "127.0.0.0/8, ::1",
      MTLS_ORIGIN: "https://mtls.id.example",
    });
    identity = aCertificate({ subject: [[[O, "Acme"]], [[CN, "photos"]]] });
    client = await aClient(server, {
      ...MACHINE,
      token_endpoint_auth_method: "self_signed_tls_client_auth",
      jwks: asJwks(identity),
    });
  });
  after(() => server.stop());

  const there = (): Target => ({ issuer: "https://mtls.id.example", port: server.port });
  const ask = (headers: Record<string, string>, { clientId } = client, at: Target = there()) =>
    send(at, { path: "/token", fields: { ...GRANT, client_id: clientId }, headers });

  for (const [name, written] of [
    ["RFC 9440 §2.2 has it", rfc9440],
    ["nginx has it in $ssl_client_escaped_cert", nginx],
    ["Envoy has it in X-Forwarded-Client-Cert", envoy],
  ] as const)
    it(`are read as ${name}`, async () => {
      const answer = await ask({ [HEADER]: written(identity) });
      assert.equal(answer.status, 200, answer.text);
      assert.equal((await ask({ [HEADER]: written(aCertificate()) })).status, 401);
    });

  it("are none where the header is missing, empty or broken (RFC 9440 §2.4)", async () => {
    const good = rfc9440(identity);
    const cut = nginx(identity).slice(0, -60);
    for (const value of ["", "x", ":", "::", ":AAAA:", good.slice(1), cut, "%", "Cert=", "Cert"])
      assert.equal((await ask({ [HEADER]: value })).status, 401, value);
    assert.equal((await ask({})).status, 401);
  });

  it("are none where there are two, because one was sent from outside (RFC 9440 §2.4)", async () => {
    const [own, other] = [identity, aCertificate()];
    for (const value of [
      `${rfc9440(other)}, ${rfc9440(own)}`,
      `${rfc9440(own)}, ${rfc9440(other)}`,
      nginx(own) + nginx(other),
      `${envoy(other)},${envoy(own)}`,
      `${envoy(own)},${envoy(other)}`,
      `${envoy(other)};${envoy(own)}`,
      `Hash=00;Subject="CN=another",${envoy(own)}`,
    ])
      assert.equal((await ask({ [HEADER]: value })).status, 401);
  });

  it("are not taken from the subject of another certificate (Envoy quotes it)", async () => {
    const inside = `x\\";Cert=\\"${encodeURIComponent(identity.cert)}`;
    assert.equal((await ask({ [HEADER]: envoy(aCertificate(), inside) })).status, 401);
  });

  it("are not believed from a peer that is no proxy of ours (RFC 9440 §2.4)", async () => {
    const elsewhere = await aProductionServer({
      MTLS_HEADER: "Client-Cert",
      MTLS_VERIFIED_HEADER: "X-Client-Verify",
      MTLS_PROXIES: "10.0.0.0/8,2001:db8::1",
    });
    try {
      const known = await aClient(elsewhere, {
        ...MACHINE,
        token_endpoint_auth_method: "self_signed_tls_client_auth",
        jwks: asJwks(identity),
      });
      for (const written of [rfc9440, nginx, envoy])
        for (const from of ["10.0.0.1", "203.0.113.7, 10.0.0.1", "2001:db8::1"]) {
          const headers = { [HEADER]: written(identity), "x-forwarded-for": from };
          assert.equal((await ask(headers, known, elsewhere)).status, 401);
        }
    } finally {
      await elsewhere.stop();
    }
  });

  describe("from an authority that the proxy checks", () => {
    let issued: Identity;
    let byName: { clientId: string };
    before(async () => {
      const authority = anAuthority();
      issued = aCertificate({ subject: [[[CN, "photos"]]] }, authority);
      byName = await aClient(server, {
        ...MACHINE,
        token_endpoint_auth_method: "tls_client_auth",
        tls_client_auth_subject_dn: "CN=photos",
      });
    });

    for (const verdict of ["SUCCESS", "0"])
      it(`are verified where it says ${verdict} (RFC 8705 §2.1)`, async () => {
        const answer = await ask({ [HEADER]: rfc9440(issued), [VERIFIED]: verdict }, byName);
        assert.equal(answer.status, 200, answer.text);
      });

    it("are not verified where it says anything else, or nothing (RFC 8705 §2.1)", async () => {
      const header = { [HEADER]: rfc9440(issued) };
      for (const verdict of ["", "NONE", "FAILED:unable to verify", "18", "00", "SUCCESS, SUCCESS"])
        assert.equal((await ask({ ...header, [VERIFIED]: verdict }, byName)).status, 401, verdict);
      assert.equal((await ask(header, byName)).status, 401);
      assert.equal((await ask({ [VERIFIED]: "SUCCESS" }, byName)).status, 401);
    });

    it("are not verified once they have expired, whatever it says (RFC 5280 §6.1.3)", async () => {
      const old = aCertificate({ subject: [[[CN, "photos"]]], from: -9, until: -1 });
      const headers = { [HEADER]: rfc9440(old), [VERIFIED]: "SUCCESS" };
      assert.equal((await ask(headers, byName)).status, 401);
    });
  });

  it("are shown at the origin of the settings (RFC 8705 §5)", async () => {
    const metadata = json(await send(server, { path: "/.well-known/openid-configuration" }));
    const aliases = metadata["mtls_endpoint_aliases"] as Record<string, string>;
    assert.equal(aliases["token_endpoint"], "https://mtls.id.example/token");
    assert.equal((await ask({ [HEADER]: rfc9440(identity) })).status, 200);
    for (const path of ["/auth", "/", "/.well-known/openid-configuration"])
      assert.equal((await send(there(), { path })).status, 404, path);
  });

  it("are not believed at any other, where the proxy may pass on what a client sent (RFC 9440 §2.4)", async () => {
    for (const host of [{}, { "x-forwarded-host": "mtls.id.example" }]) {
      const headers = { [HEADER]: rfc9440(identity), ...host };
      assert.equal((await ask(headers, client, server)).status, 401);
    }
  });

  it("bind tokens (RFC 8705 §3)", async () => {
    const bound = await aClient(server, {
      ...MACHINE,
      token_endpoint_auth_method: "self_signed_tls_client_auth",
      jwks: asJwks(identity),
      tls_client_certificate_bound_access_tokens: true,
    });
    const headers = { [HEADER]: nginx(identity) };
    const { access_token: token } = json(await ask(headers, bound));
    const fields = { token: String(token), client_id: bound.clientId };
    const seen = await send(there(), { path: "/token/introspection", fields, headers });
    const thumbprint = createHash("sha256").update(identity.der).digest("base64url");
    assert.deepEqual(json(seen)["cnf"], { "x5t#S256": thumbprint });
  });
});

describe("where no client certificate can arrive", () => {
  let server: TestServer;
  before(async () => {
    server = await aProductionServer();
  });
  after(() => server.stop());

  it("nothing of it is offered (RFC 8705 §3.3, §5)", async () => {
    const metadata = json(await send(server, { path: "/.well-known/openid-configuration" }));
    assert.equal(metadata["tls_client_certificate_bound_access_tokens"], undefined);
    assert.equal(metadata["mtls_endpoint_aliases"], undefined);
    assert.doesNotMatch(JSON.stringify(metadata), /tls_client_auth/);
  });

  it("no client is registered that would need one (RFC 8705 §3.4)", async () => {
    await assert.rejects(
      aClient(server, { tls_client_certificate_bound_access_tokens: true }),
      /no client certificates reach this issuer/,
    );
    await assert.rejects(
      aClient(server, {
        token_endpoint_auth_method: "tls_client_auth",
        tls_client_auth_subject_dn: "CN=photos",
      }),
      /token_endpoint_auth_method must be/,
    );
  });

  it("a client that was bound to one gets no unbound tokens instead (RFC 8705 §3)", async () => {
    const credentials = await aClient(server, MACHINE);
    const { knex } = server.database;
    const row = await OAuthClient.query(knex).findOne({ clientId: credentials.clientId });
    await OAuthClient.query(knex)
      .findOne({ clientId: credentials.clientId })
      .patch({ metadata: { ...row?.metadata, tls_client_certificate_bound_access_tokens: true } });
    const answer = await new RelyingParty(server, credentials).token(GRANT);
    assert.equal(json(answer)["access_token"], undefined);
    assert.equal(errorOf(answer), "invalid_grant");
  });
});
