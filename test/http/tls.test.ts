import assert from "node:assert/strict";
import { once } from "node:events";
import { writeFileSync } from "node:fs";
import { setTimeout } from "node:timers/promises";
import { connect, type ConnectionOptions, type TLSSocket } from "node:tls";
import {
  aServerCertificate,
  aMutualServer,
  anAuthority,
  type MutualServer,
} from "../support/mutual-tls.ts";
import { json, RelyingParty, response, walk, WebBrowser } from "../support/rp.ts";
import { aClient, aUser } from "../support/server.ts";

describe("TLS that Lintel ends itself", () => {
  let lintel: MutualServer;
  before(async () => {
    lintel = await aMutualServer();
  });
  after(() => lintel.stop());

  /** One handshake with the port for people; rejects where the server refuses it. */
  const handshake = async (options: ConnectionOptions): Promise<TLSSocket> => {
    const { port } = lintel.target;
    const socket = connect({ port, host: "127.0.0.1", rejectUnauthorized: false, ...options });
    await once(socket, "secureConnect");
    socket.destroy();
    return socket;
  };
  const legacy = { ciphers: "ALL:@SECLEVEL=0" };

  it("signs people in at an https issuer without any proxy", async () => {
    const { server, target } = lintel;
    const rp = new RelyingParty(target, await aClient(server, { first_party: true }));
    const browser = new WebBrowser(target);
    const answer = await walk(target, browser, rp.authorization(), await aUser(server));
    const tokens = json(await rp.redeem(response(answer)["code"] ?? ""));
    assert.ok(tokens["id_token"]);
    assert.ok(browser.cookie("__Host-lintel_session"), "cookies are those of https");
  });

  for (const version of ["TLSv1", "TLSv1.1"] as const)
    it(`refuses ${version} (RFC 9325 §3.1.1)`, async () => {
      const options = { ...legacy, minVersion: version, maxVersion: version };
      await assert.rejects(handshake(options), /EPROTO|ECONNRESET|protocol version|alert/i);
    });

  for (const version of ["TLSv1.2", "TLSv1.3"] as const)
    it(`speaks ${version} (RFC 9325 §3.1.1)`, async () => {
      const socket = await handshake({ minVersion: version, maxVersion: version });
      assert.ok(socket);
    });

  for (const cipher of [
    "ECDHE-ECDSA-AES128-SHA256",
    "ECDHE-ECDSA-AES256-SHA",
    "ECDHE-ECDSA-CHACHA20-POLY1305",
    "AES128-GCM-SHA256",
  ])
    it(`refuses ${cipher} (RFC 9325 §4.2, FAPI 2.0 §5.2.1)`, async () => {
      const options = { ciphers: cipher, maxVersion: "TLSv1.2" } as const;
      await assert.rejects(handshake(options), /EPROTO|ECONNRESET|handshake failure|alert/i);
    });

  it("asks people's browsers for no certificate", async () => {
    const asked = async (port: number) => {
      const socket = connect({
        port,
        host: "127.0.0.1",
        rejectUnauthorized: false,
        maxVersion: "TLSv1.2",
      });
      await once(socket, "secureConnect");
      // In TLS 1.2 a client without a certificate that is asked for one answers with an empty one.
      const isAsked = socket.getSharedSigalgs().length > 0;
      socket.destroy();
      return isAsked;
    };
    assert.equal(await asked(lintel.target.port), false);
    assert.equal(await asked(lintel.shows().port), true);
  });

  it("takes up a renewed certificate without a restart, and keeps the old one meanwhile (R-26)", async () => {
    const fingerprint = async () => {
      const socket = connect({
        port: lintel.target.port,
        host: "127.0.0.1",
        rejectUnauthorized: false,
      });
      await once(socket, "secureConnect");
      const { fingerprint256 } = socket.getPeerCertificate();
      socket.destroy();
      return fingerprint256;
    };
    const before = await fingerprint();
    const next = aServerCertificate(anAuthority("Web"));
    writeFileSync(lintel.files.certificate, next.cert);
    await setTimeout(2_500);
    assert.equal(await fingerprint(), before, "the key is still the old one");
    assert.match(lintel.server.logged(), /renewed TLS files cannot be used/);
    writeFileSync(lintel.files.key, next.key);
    for (let tries = 0; tries < 50 && (await fingerprint()) === before; tries += 1)
      await setTimeout(100);
    assert.equal(await fingerprint(), next.certificate.fingerprint256);
  });
});
