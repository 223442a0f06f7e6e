import assert from "node:assert/strict";
import { DECOUPLED_GRANTS } from "../../src/issuers.ts";
import { sha256 } from "../../src/lib/secret.ts";
import { DecoupledAuthorization } from "../../src/models/decoupled-authorization.ts";
import { errorOf, json, RelyingParty, send, walk, WebBrowser, type Answer } from "../support/rp.ts";
import { aClient, aServerWith, aUser, issuerAt, type TestServer } from "../support/server.ts";

/** Issuers of one process share users and tables, and nothing that is approved elsewhere. */
describe("device flow and CIBA at several issuers", () => {
  let server: TestServer;
  let open: { issuer: string; port: number };
  let user: { id: string; email: string };

  before(async () => {
    server = await aServerWith({ open: "conformance", bank: "fapi2" });
    open = issuerAt(server, "open");
    user = await aUser(server);
  });
  after(() => server.stop());

  async function aDecoupledClient(grant: string, issuer: string): Promise<RelyingParty> {
    const metadata = {
      redirect_uris: [],
      post_logout_redirect_uris: [],
      grant_types: [grant],
      ...(grant === DECOUPLED_GRANTS.ciba ? { backchannel_token_delivery_mode: "poll" } : {}),
    };
    const client = await aClient(server, metadata, issuer);
    return new RelyingParty(issuer === "" ? server : open, client);
  }
  const field = ({ text }: Answer, name: string) =>
    new RegExp(`name="${name}" value="([^"]*)"`).exec(text)?.[1];

  it("a code is typed at its own issuer, whose path all addresses have (RFC 8628 §3.2)", async () => {
    const device = await aDecoupledClient(DECOUPLED_GRANTS.device, "open");
    const shown = json(await device.post("/device/auth", { scope: "openid" }));
    assert.equal(shown["verification_uri"], `${open.issuer}/device`);
    const user_code = String(shown["user_code"]);
    const browser = new WebBrowser(server);

    const elsewhere = await browser.open("/device");
    const unknown = await browser.submit("/device", { xsrf: field(elsewhere, "xsrf"), user_code });
    assert.match(unknown.text, /don’t know that code/);

    const page = await browser.open("/open/device");
    const confirm = await browser.submit("/open/device", { xsrf: field(page, "xsrf"), user_code });
    assert.equal(confirm.page, "device-confirm");
    assert.match(confirm.text, /action="[^"]*\/open\/device"/);
    const xsrf = field(confirm, "xsrf");
    const next = await browser.submit("/open/device", { xsrf, user_code, confirm: "yes" });
    const end = await walk(server, browser, next.location ?? "", user);
    assert.match(end.text, /data-outcome="approved"/);
    const fields = {
      grant_type: DECOUPLED_GRANTS.device,
      device_code: String(shown["device_code"]),
    };
    assert.equal((await device.token(fields)).status, 200);
  });

  it("a device code of one issuer is nothing to a client of another (RFC 8628 §3.5)", async () => {
    const [here, there] = [
      await aDecoupledClient(DECOUPLED_GRANTS.device, ""),
      await aDecoupledClient(DECOUPLED_GRANTS.device, "open"),
    ];
    const { device_code } = json(await there.post("/device/auth", {}));
    const answer = await here.token({
      grant_type: DECOUPLED_GRANTS.device,
      device_code: String(device_code),
    });
    assert.equal(errorOf(answer), "invalid_grant");
  });

  it("a request is decided at its own issuer, and listed there (CIBA Core §8)", async () => {
    const till = await aDecoupledClient(DECOUPLED_GRANTS.ciba, "open");
    const asked = await till.post("/backchannel", { scope: "openid", login_hint: user.email });
    const { auth_req_id } = json(asked);
    const row = await DecoupledAuthorization.query(server.database.knex).findOne({
      codeHash: sha256(String(auth_req_id)),
    });
    const browser = new WebBrowser(server);
    assert.equal((await browser.open(`/approve/${row?.id}`)).status, 410);
    const path = `/open/approve/${row?.id}`;
    assert.equal((await walk(server, browser, path, user)).page, "ciba");
    assert.match((await browser.submit(path, { decision: "approve" })).text, /"approved"/);
  });

  it("neither is offered by the preset fapi2", async () => {
    for (const path of ["/bank/device/auth", "/bank/backchannel"])
      assert.equal((await send(server, { path, fields: {} })).status, 404);
  });
});
