import assert from "node:assert/strict";
import { createPublicKey, randomBytes, sign, verify } from "node:crypto";
import { deflateRawSync, inflateRawSync } from "node:zlib";
import { DOMParser } from "@xmldom/xmldom";
import { UpstreamError, type Answer } from "../../../src/federation/connector.ts";
import { createSpKey, type SpKey } from "../../../src/federation/saml/sp-key.ts";
import { openSeal, type Seal } from "../../../src/keys/seal.ts";
import { testDatabase, type TestDatabase } from "../../support/database.ts";
import {
  aConnector,
  at,
  encrypted,
  IDP,
  metadata,
  nameId,
  posted,
  RSA_SHA256,
  sharedKey,
  signed,
  SITE,
  SUCCESS,
  type ConnectionOptions,
} from "../../support/saml.ts";

type Received = Omit<Answer, "secrets">;

const NAMESPACES =
  'xmlns:samlp="urn:oasis:names:tc:SAML:2.0:protocol" xmlns:saml="urn:oasis:names:tc:SAML:2.0:assertion"';
const quiet = () => undefined;

function request({
  issuer = IDP,
  destination = SITE.slo,
  issued = at(),
  until = at(300),
  name = nameId(),
  indexes = ["_session"],
  id = `_l${randomBytes(12).toString("hex")}`,
} = {}): string {
  const sessions = indexes.map((index) => `<samlp:SessionIndex>${index}</samlp:SessionIndex>`);
  return `<samlp:LogoutRequest ${NAMESPACES} ID="${id}" Version="2.0" IssueInstant="${issued}" NotOnOrAfter="${until}" Destination="${destination}"><saml:Issuer>${issuer}</saml:Issuer>${name}${sessions.join("")}</samlp:LogoutRequest>`;
}

function response({ inResponseTo = "_x", destination = SITE.slo, status = SUCCESS } = {}): string {
  return `<samlp:LogoutResponse ${NAMESPACES} ID="_l${randomBytes(12).toString("hex")}" Version="2.0" IssueInstant="${at()}" Destination="${destination}" InResponseTo="${inResponseTo}"><saml:Issuer>${IDP}</saml:Issuer><samlp:Status><samlp:StatusCode Value="${status}"/></samlp:Status></samlp:LogoutResponse>`;
}

/** A message as a query, signed. */
async function redirected(
  xml: string,
  {
    kind = "SAMLRequest",
    relayState,
    key,
    algorithm = RSA_SHA256,
    write = encodeURIComponent,
  }: {
    kind?: "SAMLRequest" | "SAMLResponse";
    relayState?: string;
    key?: SpKey;
    algorithm?: string;
    write?: (text: string) => string;
  } = {},
): Promise<Received> {
  const parts = [`${kind}=${write(deflateRawSync(xml).toString("base64"))}`];
  if (relayState !== undefined) parts.push(`RelayState=${write(relayState)}`);
  parts.push(`SigAlg=${write(algorithm)}`);
  const { privateKey } = key ?? (await sharedKey());
  const signature = sign("sha256", Buffer.from(parts.join("&")), privateKey).toString("base64");
  return got(`${parts.join("&")}&Signature=${write(signature)}`);
}

/** A query as it came, and as it is understood. */
const got = (query: string): Received => ({
  method: "GET",
  query,
  parameters: Object.fromEntries(new URLSearchParams(query)),
});

const form = (parameters: Record<string, string>): Received => ({
  method: "POST",
  query: "",
  parameters,
});

describe("signing out by SAML (SAML Profiles §4.4, T-107)", () => {
  let database: TestDatabase;
  let seal: Seal;

  before(async () => {
    database = await testDatabase();
    seal = await openSeal(database.knex, { encryptionKey: randomBytes(32) });
  });
  after(() => database.drop());

  const open = (options: ConnectionOptions = {}) =>
    aConnector({ knex: database.knex, seal }, options);
  const read = async (received: Received | Promise<Received>, options: ConnectionOptions = {}) =>
    (await open(options)).readLogout(await received, quiet);
  const refuses = (promise: Promise<unknown>, rule: string) =>
    assert.rejects(promise, (error) => {
      assert.ok(error instanceof UpstreamError, String(error));
      assert.equal(error.rule, rule, error.message);
      return true;
    });
  const messageIn = (url: string, name: string) => {
    const text = new URL(url).searchParams.get(name) ?? "";
    const xml = inflateRawSync(Buffer.from(text, "base64")).toString();
    return new DOMParser().parseFromString(xml, "text/xml").documentElement;
  };

  describe("because the provider says so", () => {
    it("reads whom a signed query names, and answers with a signed LogoutResponse (SAML Core §3.7.3)", async () => {
      const logout = await read(redirected(request({ id: "_l1" }), { relayState: "back there" }));
      assert.deepEqual(
        [logout.issuer, logout.subject, logout.index],
        [IDP, "ada-0001", "_session"],
      );
      const url = logout.reply?.url ?? "";
      assert.match(
        url,
        /^https:\/\/idp\.example\/slo\/done\?SAMLResponse=[^&]+&RelayState=back%20there&SigAlg=[^&]+&Signature=/,
      );
      const answer = messageIn(url, "SAMLResponse");
      assert.equal(answer.localName, "LogoutResponse");
      assert.equal(answer.getAttribute("InResponseTo"), "_l1");
      assert.equal(answer.getAttribute("Destination"), "https://idp.example/slo/done");
      const [query = "", signature = ""] = new URL(url).search.slice(1).split("&Signature=");
      const key = createPublicKey((await sharedKey()).certificate);
      assert.ok(
        verify(
          "sha256",
          Buffer.from(query),
          key,
          Buffer.from(decodeURIComponent(signature), "base64"),
        ),
      );
    });

    it("verifies a query as it was written, in lower-case escapes as well (SAML Bindings §3.4.4.1)", async () => {
      const write = (text: string) =>
        encodeURIComponent(text).replaceAll(/%../g, (sign) => sign.toLowerCase());
      assert.equal((await read(redirected(request(), { write }))).subject, "ada-0001");
    });

    it("reads a signed form", async () => {
      const xml = await signed(request(), "LogoutRequest");
      const logout = await read(form({ SAMLRequest: posted(xml) }));
      assert.deepEqual([logout.subject, logout.index], ["ada-0001", "_session"]);
    });

    it("reads an identifier that is encrypted for us, by either binding (SAML Core §3.7.1)", async () => {
      const plain = nameId().replace(
        "<saml:NameID",
        '<saml:NameID xmlns:saml="urn:oasis:names:tc:SAML:2.0:assertion"',
      );
      const { certificate } = await sharedKey();
      const secret = () =>
        request({ name: encrypted(plain, certificate, { element: "EncryptedID" }) });
      assert.equal((await read(redirected(secret()))).subject, "ada-0001");
      const xml = await signed(secret(), "LogoutRequest");
      assert.equal((await read(form({ SAMLRequest: posted(xml) }))).subject, "ada-0001");
    });

    it("means all sessions of the person, where none or several are named", async () => {
      for (const indexes of [[], ["_1", "_2"]]) {
        const logout = await read(redirected(request({ indexes })));
        assert.deepEqual([logout.subject, logout.index], ["ada-0001", undefined]);
      }
    });

    it("goes by the session alone, where an attribute says who somebody is", async () => {
      const options = { settings: { subject_attribute: "uid" } };
      const logout = await read(redirected(request()), options);
      assert.deepEqual([logout.subject, logout.index], [undefined, "_session"]);
      await refuses(read(redirected(request({ indexes: [] })), options), "saml.session_index");
    });

    it("has no answer for a provider without an address for it", async () => {
      const xml = metadata([(await sharedKey()).certificate]).replace(
        /<SingleLogoutService [^>]*>/,
        "",
      );
      assert.equal((await read(redirected(request()), { xml })).reply, undefined);
    });

    it("is done once for each message", async () => {
      const provider = { id: "0198f2c0-0000-7000-8000-000000000002" };
      const message = await redirected(request());
      await read(message, { provider });
      await refuses(read(message, { provider }), "saml.replay");
    });
  });

  describe("not, where the message", () => {
    const crafted: Record<string, [rule: string, () => Promise<Received>]> = {
      "has no signature in its query": [
        "saml.signature",
        async () =>
          got(`SAMLRequest=${encodeURIComponent(deflateRawSync(request()).toString("base64"))}`),
      ],
      "has no signature in its form": [
        "saml.signature",
        async () => form({ SAMLRequest: posted(request()) }),
      ],
      "is signed by somebody else": [
        "saml.signature",
        async () => redirected(request(), { key: await createSpKey("https://mallory.example") }),
      ],
      "is signed as a form by somebody else": [
        "saml.signature",
        async () =>
          form({
            SAMLRequest: posted(
              await signed(request(), "LogoutRequest", {
                key: await createSpKey("https://mallory.example"),
              }),
            ),
          }),
      ],
      "was changed after": [
        "saml.signature",
        async () => {
          const { query = "" } = await redirected(request());
          return got(
            query.replace(
              /SAMLRequest=[^&]+/,
              `SAMLRequest=${encodeURIComponent(deflateRawSync(request({ name: nameId("victim") })).toString("base64"))}`,
            ),
          );
        },
      ],
      "was given another RelayState": [
        "saml.signature",
        async () =>
          got(`${(await redirected(request())).query}&RelayState=https%3A%2F%2Fmallory.example`),
      ],
      "is there twice": [
        "saml.query",
        async () => got(`${(await redirected(request())).query}&SAMLRequest=x`),
      ],
      "is there as request and as response": [
        "saml.query",
        async () => got(`${(await redirected(request())).query}&SAMLResponse=x`),
      ],
      "is not there": ["saml.query", async () => got("")],
      "names its field in escapes": [
        "saml.query",
        async () =>
          got(((await redirected(request())).query ?? "").replace("SAMLRequest", "SAML%52equest")),
      ],
      "is signed with SHA-1": [
        "saml.algorithm",
        async () =>
          redirected(request(), { algorithm: "http://www.w3.org/2000/09/xmldsig#rsa-sha1" }),
      ],
      "is signed with nothing known": [
        "saml.algorithm",
        async () => redirected(request(), { algorithm: "none" }),
      ],
      "is a bomb of DEFLATE": ["saml.size", async () => redirected("a".repeat(20_000_000))],
      "is no DEFLATE": [
        "saml.deflate",
        async () => {
          const query = "SAMLRequest=AAAA&SigAlg=" + encodeURIComponent(RSA_SHA256);
          const signature = sign(
            "sha256",
            Buffer.from(query),
            (await sharedKey()).privateKey,
          ).toString("base64");
          return got(`${query}&Signature=${encodeURIComponent(signature)}`);
        },
      ],
      "has a document type": ["saml.doctype", async () => redirected(`<!DOCTYPE x>${request()}`)],
      "has a signed request wrapped in a forged one": [
        "saml.root",
        async () => {
          const inner = await signed(request(), "LogoutRequest");
          const forged = request({
            name: `${nameId("victim")}<samlp:Extensions>${inner}</samlp:Extensions>`,
          });
          return form({ SAMLRequest: posted(forged) });
        },
      ],
      "has the signature of another request": [
        "saml.reference",
        async () => {
          const inner = await signed(request(), "LogoutRequest");
          const signature = /<ds:Signature [\s\S]*<\/ds:Signature>/.exec(inner)?.[0] ?? "";
          return form({ SAMLRequest: posted(request({ name: signature + nameId("victim") })) });
        },
      ],
      "is for another service": [
        "saml.destination",
        async () => redirected(request({ destination: "https://other.example/slo" })),
      ],
      "is for our sign-ins": [
        "saml.destination",
        async () => redirected(request({ destination: SITE.acs })),
      ],
      "is from another issuer": [
        "saml.issuer",
        async () => redirected(request({ issuer: "https://other.example" })),
      ],
      "has ended": ["saml.expired", async () => redirected(request({ until: at(-61) }))],
      "is old": ["saml.expired", async () => redirected(request({ issued: at(-400) }))],
      "names nobody": ["saml.subject", async () => redirected(request({ name: "" }))],
      "is a LogoutResponse": [
        "saml.root",
        async () => redirected(response(), { kind: "SAMLResponse" }),
      ],
      "is an assertion of ours": [
        "saml.root",
        async () =>
          redirected('<samlp:Response xmlns:samlp="urn:oasis:names:tc:SAML:2.0:protocol"/>'),
      ],
    };
    for (const [what, [rule, make]] of Object.entries(crafted))
      it(`${what}: ${rule}`, () => refuses(read(make()), rule));
  });

  describe("there, because somebody signed out here", () => {
    const settings = { sign_out: true };
    const session = {
      index: "_s1",
      nameId: { value: "ada<1>", format: "urn:f", nameQualifier: "urn:q" },
    };

    it("sends a signed LogoutRequest that names person and session (SAML Core §3.7.1)", async () => {
      const to = await (await open({ settings })).signOut(session, "fs_out");
      const url = new URL(to?.url ?? "");
      assert.equal(url.origin + url.pathname, "https://idp.example/slo");
      assert.deepEqual(
        [...url.searchParams.keys()],
        ["SAMLRequest", "RelayState", "SigAlg", "Signature"],
      );
      const sent = messageIn(url.href, "SAMLRequest");
      const name = sent.getElementsByTagNameNS("*", "NameID")[0];
      assert.deepEqual(
        [name?.textContent, name?.getAttribute("Format"), name?.getAttribute("NameQualifier")],
        ["ada<1>", "urn:f", "urn:q"],
      );
      assert.equal(sent.getElementsByTagNameNS("*", "SessionIndex")[0]?.textContent, "_s1");
      assert.equal(sent.getAttribute("Destination"), "https://idp.example/slo");
    });

    it("sends nothing to a provider that takes none, nor for a session without a name", async () => {
      const xml = metadata([(await sharedKey()).certificate]).replace(
        /<SingleLogoutService [^>]*>/,
        "",
      );
      assert.equal(await (await open({ xml, settings })).signOut(session, "fs_out"), undefined);
      const nameless = await open({ settings });
      assert.equal(await nameless.signOut({ index: "_s1" }, "fs_out"), undefined);
      assert.equal(await (await open()).signOut(session, "fs_out"), undefined, "unless it is to");
    });

    it("takes the answer to its own request only (SAML Core §3.2.2)", async () => {
      const connector = await open({ settings });
      const to = await connector.signOut(session, "fs_out");
      const id = messageIn(to?.url ?? "", "SAMLRequest").getAttribute("ID") ?? "";
      const answer = (parts: Parameters<typeof response>[0], relayState = "fs_out") =>
        redirected(response({ inResponseTo: id, ...parts }), { kind: "SAMLResponse", relayState });
      assert.deepEqual(await connector.readLogoutResponse(await answer({})), { isComplete: true });
      const partial = "urn:oasis:names:tc:SAML:2.0:status:PartialLogout";
      assert.deepEqual(await connector.readLogoutResponse(await answer({ status: partial })), {
        isComplete: false,
      });
      await refuses(
        connector.readLogoutResponse(await answer({}, "fs_other")),
        "saml.in_response_to",
      );
      await refuses(
        connector.readLogoutResponse(await answer({ inResponseTo: "_other" })),
        "saml.in_response_to",
      );
      await refuses(
        connector.readLogoutResponse(await answer({ destination: SITE.acs })),
        "saml.destination",
      );
      await refuses(connector.readLogoutResponse(await redirected(request())), "saml.root");
      await refuses(
        connector.readLogoutResponse(
          form({ SAMLResponse: posted(response({ inResponseTo: id })) }),
        ),
        "saml.signature",
      );
    });
  });
});
