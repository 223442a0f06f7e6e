import assert from "node:assert/strict";
import { createHash, randomUUID } from "node:crypto";
import { exportJWK, generateKeyPair, SignJWT } from "jose";
import {
  aCertificate,
  asJwks,
  CN,
  O,
  type CertificateOptions,
  type Identity,
} from "../support/certificates.ts";
import { aMutualServer, anAuthority, type MutualServer } from "../support/mutual-tls.ts";
import {
  basic,
  errorOf,
  json,
  RelyingParty,
  response,
  send,
  walk,
  WebBrowser,
  type Answer,
  type Credentials,
  type Target,
} from "../support/rp.ts";
import { aClient, aUser } from "../support/server.ts";

const MACHINE = { grant_types: ["client_credentials"], redirect_uris: [] };
const PKI = { ...MACHINE, token_endpoint_auth_method: "tls_client_auth" };
const BOUND = { tls_client_certificate_bound_access_tokens: true };
const SELF_SIGNED = { token_endpoint_auth_method: "self_signed_tls_client_auth" };
const GRANT = { grant_type: "client_credentials" };

const thumbprint = ({ der }: Identity) => createHash("sha256").update(der).digest("base64url");

describe("mutual TLS (RFC 8705)", () => {
  let lintel: MutualServer;
  let user: { id: string; email: string };
  let browser: WebBrowser;

  before(async () => {
    lintel = await aMutualServer();
    user = await aUser(lintel.server);
    browser = new WebBrowser(lintel.target);
  });
  after(() => lintel.stop());

  const register = (metadata: Record<string, unknown>, issuer?: string) =>
    aClient(lintel.server, metadata, issuer);
  const issued = (options: CertificateOptions) => aCertificate(options, lintel.authority);
  /** Asks for a token of its own, with a certificate or without. */
  const ask = (credentials: Credentials, shown?: Identity) =>
    new RelyingParty(lintel.shows(shown), credentials).token(GRANT);
  const metadataOf = async (path = "") =>
    json(await send(lintel.target, { path: `${path}/.well-known/openid-configuration` }));
  const refused = (answer: Answer) => {
    assert.equal(answer.status, 401, answer.text);
    assert.equal(errorOf(answer), "invalid_client");
  };

  describe("metadata", () => {
    it("names both methods of client authentication (RFC 8705 §2.1.1, §2.2.1)", async () => {
      for (const path of ["", "/open", "/bank"]) {
        const methods = (await metadataOf(path))["token_endpoint_auth_methods_supported"];
        assert.ok(Array.isArray(methods));
        assert.ok(methods.includes("tls_client_auth"), path);
        assert.ok(methods.includes("self_signed_tls_client_auth"), path);
      }
    });

    it("says that tokens can be bound to certificates (RFC 8705 §3.3)", async () => {
      const { tls_client_certificate_bound_access_tokens: bound } = await metadataOf();
      assert.equal(bound, true);
    });

    it("names the endpoints that ask for certificates, and only those (RFC 8705 §5)", async () => {
      for (const path of ["", "/bank"]) {
        const { issuer } = lintel.shows(undefined, path);
        assert.deepEqual((await metadataOf(path))["mtls_endpoint_aliases"], {
          token_endpoint: `${issuer}/token`,
          revocation_endpoint: `${issuer}/token/revocation`,
          introspection_endpoint: `${issuer}/token/introspection`,
          userinfo_endpoint: `${issuer}/me`,
          pushed_authorization_request_endpoint: `${issuer}/request`,
          ...(path === ""
            ? {
                device_authorization_endpoint: `${issuer}/device/auth`,
                backchannel_authentication_endpoint: `${issuer}/backchannel`,
              }
            : {}),
        });
      }
    });

    it("leaves the conventional endpoints where they were (RFC 8705 §5)", async () => {
      const metadata = await metadataOf();
      assert.equal(metadata["issuer"], lintel.target.issuer);
      assert.equal(metadata["token_endpoint"], `${lintel.target.issuer}/token`);
    });

    it("has no page where certificates are asked for: cookies know no port (RFC 6265 §8.5)", async () => {
      for (const path of ["/", "/auth", "/interaction/x", "/session/end", "/setup", "/jwks"])
        assert.equal((await send(lintel.shows(), { path })).status, 404, path);
    });
  });

  describe("tls_client_auth", () => {
    const subject: CertificateOptions["subject"] = [[[O, "Acme"]], [[CN, "photos"]]];
    let byName: Credentials;
    before(async () => {
      byName = await register({ ...PKI, tls_client_auth_subject_dn: "CN=photos,O=Acme" });
    });

    it("knows a client by the subject of its certificate (RFC 8705 §2.1.2)", async () => {
      const answer = await ask(byName, issued({ subject }));
      assert.equal(answer.status, 200, answer.text);
    });

    const NAMES: readonly [
      kind: "dns" | "uri" | "ip" | "email",
      registered: string,
      shown: string,
      other: string,
    ][] = [
      ["dns", "photos.acme.example", "Photos.acme.example", "*.acme.example"],
      ["uri", "spiffe://acme/photos", "spiffe://acme/photos", "spiffe://acme/Photos"],
      ["ip", "2001:db8::1", "2001:db8:0:0::1", "2001:db8::2"],
      ["email", "photos@acme.example", "photos@ACME.example", "Photos@acme.example"],
    ];
    for (const [kind, registered, shown, other] of NAMES) {
      const field = `tls_client_auth_san_${kind}`;

      it(`knows a client by ${field} (RFC 8705 §2.1.2)`, async () => {
        const client = await register({ ...PKI, [field]: registered });
        const san: CertificateOptions["san"] = [
          ["dns", "other.example"],
          [kind, shown],
        ];
        const answer = await ask(client, issued({ san }));
        assert.equal(answer.status, 200, answer.text);
      });

      it(`refuses a certificate that says otherwise in ${field} (RFC 8705 §2.1)`, async () => {
        const client = await register({ ...PKI, [field]: registered });
        refused(await ask(client, issued({ san: [[kind, other]] })));
        refused(await ask(client, issued({ subject: [[[CN, registered]]] })));
        const elsewhere = kind === "uri" ? "dns" : "uri";
        refused(await ask(client, issued({ san: [[elsewhere, registered]] })));
      });
    }

    it("does not read two names where one holds a comma (CVE-2021-44532)", async () => {
      const client = await register({ ...PKI, tls_client_auth_san_dns: "photos.acme.example" });
      const san: CertificateOptions["san"] = [
        ["uri", "https://x.example/, DNS:photos.acme.example"],
      ];
      refused(await ask(client, issued({ san })));
    });

    it("refuses another subject of the same authority (RFC 8705 §2.1)", async () => {
      refused(await ask(byName, issued({ subject: [[[O, "Acme"]], [[CN, "photo"]]] })));
      refused(await ask(byName, issued({ subject: [[[CN, "photos"]], [[O, "Acme"]]] })));
    });

    it("refuses no certificate (RFC 8705 §2.1)", async () => refused(await ask(byName)));

    it("refuses one that signed itself (RFC 8705 §2.1)", async () =>
      refused(await ask(byName, aCertificate({ subject }))));

    it("refuses one of an authority with the same name (RFC 8705 §2.1)", async () =>
      refused(await ask(byName, aCertificate({ subject }, anAuthority()))));

    it("refuses one of a client that plays authority (RFC 5280 §6.1.4)", async () => {
      const client = issued({ subject: [[[CN, "another"]]] });
      refused(await ask(byName, aCertificate({ subject }, client)));
    });

    it("refuses one that has expired (RFC 5280 §6.1.3)", async () =>
      refused(await ask(byName, issued({ subject, from: -9, until: -1 }))));

    it("refuses one that is not valid yet (RFC 5280 §6.1.3)", async () =>
      refused(await ask(byName, issued({ subject, from: 1, until: 9 }))));

    it("needs client_id beside the certificate (RFC 8705 §2)", async () => {
      const answer = await send(lintel.shows(issued({ subject })), {
        path: "/token",
        fields: GRANT,
      });
      assert.equal(errorOf(answer), "invalid_request");
    });

    it("lets no certificate speak for another client (RFC 8705 §2)", async () => {
      const other = await register({ ...PKI, tls_client_auth_subject_dn: "CN=other" });
      refused(await ask(other, issued({ subject })));
    });

    it("is not replaced by a secret (RFC 8705 §2)", async () => {
      const rp = new RelyingParty(lintel.shows(issued({ subject })), byName);
      const authorization = basic(byName.clientId, "guess");
      refused(await rp.token(GRANT, { authorization }));
      refused(await rp.token({ ...GRANT, client_id: byName.clientId, client_secret: "guess" }, {}));
    });

    it("does not make a certificate a replacement for a secret (RFC 8705 §2)", async () => {
      const client = await register(MACHINE);
      refused(await ask({ ...client, clientSecret: "" }, issued({ subject })));
    });

    it("works at all endpoints where clients authenticate (RFC 8705 §2)", async () => {
      const rp = new RelyingParty(lintel.shows(issued({ subject })), byName);
      const { access_token: token } = json(await rp.token(GRANT));
      const seen = await rp.post("/token/introspection", { token: String(token) });
      assert.equal(json(seen)["active"], true);
      assert.equal((await rp.post("/token/revocation", { token: String(token) })).status, 200);
      const without = new RelyingParty(lintel.shows(), byName);
      refused(await without.post("/token/introspection", { token: String(token) }));
      refused(await without.post("/token/revocation", { token: String(token) }));
    });

    it("is out of reach at the port for people, which asks for no certificate (RFC 8705 §5)", async () => {
      const { cert, key } = issued({ subject });
      const target: Target = { ...lintel.target, tls: { ...lintel.target.tls, cert, key } };
      refused(await new RelyingParty(target, byName).token(GRANT));
    });

    it("believes no header that nobody configured (RFC 9440 §2.4)", async () => {
      const { der, cert } = issued({ subject });
      const fields = { ...GRANT, client_id: byName.clientId };
      for (const [name, value] of [
        ["client-cert", `:${der.toString("base64")}:`],
        ["ssl-client-cert", encodeURIComponent(cert)],
        ["x-forwarded-client-cert", `Cert="${encodeURIComponent(cert)}"`],
      ] as const)
        for (const target of [lintel.target, lintel.shows()])
          refused(await send(target, { path: "/token", fields, headers: { [name]: value } }));
    });

    it("is registered with exactly one name (RFC 8705 §2.1.2)", async () => {
      const two = { tls_client_auth_san_dns: "a.example", tls_client_auth_san_uri: "https://a/" };
      await assert.rejects(register(PKI), /exactly one of tls_client_auth_subject_dn/);
      await assert.rejects(register({ ...PKI, ...two }), /exactly one of/);
    });

    it("is registered with a name that can be one (RFC 8705 §2.1.2)", async () => {
      for (const [field, value] of [
        ["tls_client_auth_subject_dn", "photos"],
        ["tls_client_auth_san_dns", "*.acme.example"],
        ["tls_client_auth_san_uri", "photos"],
        ["tls_client_auth_san_ip", "10.0.0.0/8"],
        ["tls_client_auth_san_email", "photos"],
      ] as const)
        await assert.rejects(register({ ...PKI, [field]: value }), new RegExp(`${field} must be`));
    });

    it("is what a client can register itself for (RFC 8705 §2.1.2, RFC 7591 §2)", async () => {
      const register = async (metadata: object) => {
        const body = JSON.stringify({ ...MACHINE, response_types: [], ...BOUND, ...metadata });
        const headers = {
          "content-type": "application/json",
          "content-length": String(Buffer.byteLength(body)),
        };
        return send(lintel.target, { path: "/open/reg", method: "POST", body, headers });
      };
      const names = { tls_client_auth_subject_dn: "CN=photos,O=Acme" };
      const method = { token_endpoint_auth_method: "tls_client_auth" };
      const answer = await register({ ...method, ...names });
      assert.equal(answer.status, 201, answer.text);
      const made = json(answer);
      assert.equal(made["tls_client_auth_subject_dn"], "CN=photos,O=Acme");
      assert.equal(made["tls_client_certificate_bound_access_tokens"], true);
      assert.equal(made["client_secret"], undefined);
      const credentials = {
        clientId: String(made["client_id"]),
        clientSecret: "",
        redirectUri: "",
      };
      const there = new RelyingParty(lintel.shows(issued({ subject }), "/open"), credentials);
      assert.equal((await there.token(GRANT)).status, 200);
      for (const wrong of [{}, { ...names, tls_client_auth_san_dns: "a.example" }]) {
        const refusal = await register({ ...method, ...wrong });
        assert.equal(errorOf(refusal), "invalid_client_metadata");
      }
    });

    it("is what its names are for, and no other method (RFC 8705 §2.1.2)", async () => {
      await assert.rejects(
        register({ tls_client_auth_san_dns: "a.example" }),
        /tls_client_auth_san_dns must be left out/,
      );
    });
  });

  describe("self_signed_tls_client_auth", () => {
    let identity: Identity;
    let client: Credentials;
    before(async () => {
      identity = aCertificate();
      client = await register({ ...MACHINE, ...SELF_SIGNED, jwks: asJwks(identity) });
    });

    it("knows a client by the certificate in its key set (RFC 8705 §2.2)", async () => {
      const answer = await ask(client, identity);
      assert.equal(answer.status, 200, answer.text);
    });

    it("refuses no certificate (RFC 8705 §2.2)", async () => refused(await ask(client)));

    it("refuses another certificate of the same name (RFC 8705 §2.2)", async () =>
      refused(await ask(client, aCertificate())));

    it("refuses one of a trusted authority that is not registered (RFC 8705 §2.2)", async () =>
      refused(await ask(client, issued({}))));

    it("knows each of several certificates, so that they can be rotated (RFC 8705 §2.2.2)", async () => {
      const next = aCertificate();
      const keys = [...asJwks(identity).keys, ...asJwks(next).keys];
      const both = await register({ ...MACHINE, ...SELF_SIGNED, jwks: { keys } });
      for (const each of [identity, next]) assert.equal((await ask(both, each)).status, 200);
    });

    it("is registered with certificates (RFC 8705 §2.2.2)", async () => {
      await assert.rejects(register({ ...MACHINE, ...SELF_SIGNED }), /jwks or jwks_uri must be/);
      const [{ x5c: _x5c, ...bare } = {}] = asJwks(identity).keys;
      await assert.rejects(
        register({ ...MACHINE, ...SELF_SIGNED, jwks: { keys: [bare] } }),
        /jwks must have the certificate as x5c/,
      );
    });

    it("is registered with a certificate of the very key (RFC 7517 §4.7)", async () => {
      const [key] = asJwks(identity).keys;
      for (const x5c of [[aCertificate().der.toString("base64")], ["AAAA"], []])
        await assert.rejects(
          register({ ...MACHINE, ...SELF_SIGNED, jwks: { keys: [{ ...key, x5c }] } }),
          /jwks.keys\[0\] must have an x5c/,
        );
    });
  });

  describe("tokens that are bound to a certificate", () => {
    let identity: Identity;
    before(() => {
      identity = aCertificate();
    });

    /** A code for a new client, at the port for people. */
    const authorized = async (metadata: Record<string, unknown>) => {
      const credentials = await register({ first_party: true, ...BOUND, ...metadata });
      const rp = new RelyingParty(lintel.target, credentials);
      const answer = await walk(lintel.target, browser, rp.authorization(), user);
      return { credentials, code: response(answer)["code"] ?? "" };
    };
    const at = (shown: Identity | undefined, credentials: Credentials) =>
      new RelyingParty(lintel.shows(shown), credentials);
    const refresh = (token: unknown) => ({
      grant_type: "refresh_token",
      refresh_token: String(token),
    });

    it("carry its thumbprint, and introspection shows it (RFC 8705 §3.2)", async () => {
      const { credentials, code } = await authorized({});
      const rp = at(identity, credentials);
      const tokens = json(await rp.redeem(code));
      assert.equal(tokens["token_type"], "Bearer");
      const token = String(tokens["access_token"]);
      const seen = json(await rp.post("/token/introspection", { token }));
      assert.deepEqual(seen["cnf"], { "x5t#S256": thumbprint(identity) });
    });

    it("are good with it, and with nothing else (RFC 8705 §3)", async () => {
      const { credentials, code } = await authorized({});
      const token = String(json(await at(identity, credentials).redeem(code))["access_token"]);
      assert.equal((await at(identity, credentials).userinfo(token)).status, 200);
      for (const thief of [undefined, aCertificate(), issued({})]) {
        const answer = await at(thief, credentials).userinfo(token);
        assert.equal(answer.status, 401);
        assert.equal(errorOf(answer), "invalid_token");
      }
    });

    it("are not good at the port for people (RFC 8705 §3)", async () => {
      const { credentials, code } = await authorized({});
      const token = String(json(await at(identity, credentials).redeem(code))["access_token"]);
      const answer = await new RelyingParty(lintel.target, credentials).userinfo(token);
      assert.equal(errorOf(answer), "invalid_token");
    });

    it("are not issued without a certificate, however the client authenticates (RFC 8705 §3)", async () => {
      const { credentials, code } = await authorized({});
      for (const target of [lintel.shows(), lintel.target]) {
        const answer = await new RelyingParty(target, credentials).redeem(code);
        assert.equal(answer.status, 400);
        assert.equal(json(answer)["access_token"], undefined);
      }
    });

    it("are bound for the client credentials grant, too (RFC 8705 §3)", async () => {
      const client = await register({ ...MACHINE, ...BOUND });
      const { access_token: token } = json(await at(identity, client).token(GRANT));
      const seen = await at(identity, client).post("/token/introspection", {
        token: String(token),
      });
      assert.deepEqual(json(seen)["cnf"], { "x5t#S256": thumbprint(identity) });
      const without = await at(undefined, client).token(GRANT);
      assert.equal(json(without)["access_token"], undefined);
    });

    it("are not bound where the client did not ask for it (RFC 8705 §3.4)", async () => {
      const client = await register(MACHINE);
      const { access_token: token } = json(await at(identity, client).token(GRANT));
      const seen = await at(identity, client).post("/token/introspection", {
        token: String(token),
      });
      assert.equal(json(seen)["cnf"], undefined);
    });

    it("come with a refresh token that is bound, for a client that has nothing else (RFC 8705 §4)", async () => {
      const { credentials, code } = await authorized({ token_endpoint_auth_method: "none" });
      const tokens = json(await at(identity, credentials).redeem(code));
      const { refresh_token: token } = tokens;
      for (const thief of [undefined, aCertificate()]) {
        const stolen = await at(thief, credentials).token(refresh(token));
        assert.equal(errorOf(stolen), "invalid_grant");
      }
      const answer = await at(identity, credentials).token(refresh(token));
      assert.equal(answer.status, 200, answer.text);
      const next = await at(aCertificate(), credentials).token(
        refresh(json(answer)["refresh_token"]),
      );
      assert.equal(errorOf(next), "invalid_grant");
    });

    it("follow a confidential client to its next certificate (RFC 8705 §6.3)", async () => {
      const { credentials, code } = await authorized({});
      const { refresh_token: token } = json(await at(identity, credentials).redeem(code));
      const next = aCertificate();
      const answer = json(await at(next, credentials).token(refresh(token)));
      const renewed = String(answer["access_token"]);
      assert.equal((await at(next, credentials).userinfo(renewed)).status, 200);
      assert.equal((await at(identity, credentials).userinfo(renewed)).status, 401);
      const without = await at(undefined, credentials).token(refresh(answer["refresh_token"]));
      assert.equal(errorOf(without), "invalid_grant");
    });
  });

  describe("with FAPI 2.0", () => {
    const BANK = { require_pushed_authorization_requests: true, first_party: true };

    it("is one of two ways to bind tokens, and one is needed (FAPI 2.0 §5.3.2.1)", async () => {
      const client = { ...BANK, ...SELF_SIGNED, jwks: asJwks(aCertificate()) };
      await assert.rejects(
        register(client, "bank"),
        /dpop_bound_access_tokens or tls_client_certificate_bound_access_tokens must be true/,
      );
      await register({ ...client, ...BOUND }, "bank");
      await register({ ...client, dpop_bound_access_tokens: true }, "bank");
    });

    /** Pushes a request with a certificate and lets the person decide at the port for people. */
    const pushed = async (identity: Identity, metadata: object) => {
      const client = { ...BANK, ...SELF_SIGNED, jwks: asJwks(identity), ...metadata };
      const credentials = await register(client, "bank");
      const rp = new RelyingParty(lintel.shows(identity, "/bank"), credentials);
      const answer = await rp.post("/request", rp.parameters());
      assert.equal(answer.status, 201, answer.text);
      const bank = { ...lintel.target, issuer: `${lintel.target.issuer}/bank` };
      const query = new URLSearchParams({
        client_id: credentials.clientId,
        request_uri: String(json(answer)["request_uri"]),
      });
      const back = await walk(bank, new WebBrowser(bank), `/bank/auth?${query}`, user);
      return { rp, credentials, code: response(back)["code"] ?? "" };
    };

    it("serves a whole sign-in with certificates (FAPI 2.0 §5.3.2.1, RFC 8705 §3)", async () => {
      const identity = aCertificate();
      const { rp, code } = await pushed(identity, BOUND);
      const tokens = json(await rp.redeem(code));
      const userinfo = await rp.userinfo(String(tokens["access_token"]));
      assert.equal(json(userinfo)["sub"], user.id);
    });

    it("takes a DPoP proof for the address where certificates are shown (RFC 9449 §4.3)", async () => {
      const identity = aCertificate();
      const bound = { dpop_bound_access_tokens: true };
      const { rp, credentials, code } = await pushed(identity, bound);
      const pair = await generateKeyPair("ES256", { extractable: true });
      const { issuer } = lintel.shows(undefined, "/bank");
      const proof = await new SignJWT({ jti: randomUUID(), htm: "POST", htu: `${issuer}/token` })
        .setProtectedHeader({
          alg: "ES256",
          typ: "dpop+jwt",
          jwk: await exportJWK(pair.publicKey),
        })
        .setIssuedAt()
        .sign(pair.privateKey);
      const answer = await rp.redeem(code, { client_id: credentials.clientId }, { dpop: proof });
      assert.equal(json(answer)["token_type"], "DPoP", answer.text);
    });
  });
});
