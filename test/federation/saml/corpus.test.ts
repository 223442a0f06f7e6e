import assert from "node:assert/strict";
import { execFileSync, spawnSync } from "node:child_process";
import { randomBytes } from "node:crypto";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { UpstreamError, type UpstreamIdentity } from "../../../src/federation/connector.ts";
import { openSeal, type Seal } from "../../../src/keys/seal.ts";
import { testDatabase, type TestDatabase } from "../../support/database.ts";
import { aConnector, REQUEST_ID, sharedKey } from "../../support/saml.ts";
import { CORPUS, type Case } from "./corpus.ts";

const XMLSEC = "xmlsec1";
/** What xmlsec1 cannot read: what it has no key for, and RSA-PSS, which it does not know before version 1.3. */
const UNREADABLE = /AES|encrypted|PSS/;

describe("crafted SAML responses (T-100, T-101, T-104, T-105)", () => {
  let database: TestDatabase;
  let seal: Seal;

  before(async () => {
    database = await testDatabase();
    seal = await openSeal(database.knex, { encryptionKey: randomBytes(32) });
  });
  after(() => database.drop());

  async function arrive({ make, connection, secrets }: Case): Promise<UpstreamIdentity> {
    const options = (await connection?.()) ?? {};
    const connector = await aConnector({ knex: database.knex, seal }, options);
    const parameters = { SAMLResponse: await make(), RelayState: "fs_x" };
    const kept = secrets ?? { request_id: REQUEST_ID };
    return connector.arrive({ method: "POST", parameters, secrets: kept }, () => undefined);
  }

  for (const one of CORPUS.filter(({ rule }) => rule === undefined))
    it(`takes: ${one.name}`, async () => assert.equal((await arrive(one)).subject, "ada-0001"));

  for (const one of CORPUS.filter(({ rule }) => rule !== undefined))
    it(`refuses by ${one.rule}: ${one.name}`, () =>
      assert.rejects(arrive(one), (error) => {
        assert.ok(error instanceof UpstreamError, String(error));
        assert.equal(error.rule, one.rule, error.message);
        assert.match(error.message, /^[A-Z].*\.$/s);
        assert.notEqual(error.hint ?? "", "");
        return true;
      }));

  describe("xmlsec1 as a second opinion", () => {
    let directory: string;

    before(function skip() {
      if (spawnSync(XMLSEC, ["--version"]).status !== 0) {
        process.stderr.write("    xmlsec1 is not installed: apt-get install xmlsec1\n");
        this.skip();
      }
      directory = mkdtempSync(join(tmpdir(), "lintel-saml-"));
    });
    after(() => rmSync(directory ?? "", { recursive: true, force: true }));

    const readable = CORPUS.filter(
      ({ rule, name }) => rule === undefined && !UNREADABLE.test(name),
    );
    for (const { name, make, connection } of readable)
      it(`verifies: ${name}`, async () => {
        const [file, certificate] = [join(directory, "r.xml"), join(directory, "c.pem")];
        const xml = Buffer.from(await make(), "base64").toString();
        writeFileSync(file, xml);
        const trusted = (await connection?.())?.certificates ?? [(await sharedKey()).certificate];
        writeFileSync(certificate, trusted.at(-1) ?? "");
        const signatures = xml.match(/<ds:Signature /g)?.length ?? 0;
        assert.ok(signatures > 0);
        for (let at = 1; at <= signatures; at += 1)
          execFileSync(
            XMLSEC,
            [
              "--verify",
              "--pubkey-cert-pem",
              certificate,
              "--id-attr:ID",
              "urn:oasis:names:tc:SAML:2.0:assertion:Assertion",
              "--id-attr:ID",
              "urn:oasis:names:tc:SAML:2.0:protocol:Response",
              "--node-xpath",
              `(//*[local-name()='Signature'])[${at}]`,
              file,
            ],
            { stdio: "pipe" },
          );
      });
  });
});
