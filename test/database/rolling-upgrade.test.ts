import assert from "node:assert/strict";
import { aHouse, type House } from "../support/presets.ts";
import { json, walk, WebBrowser, type RelyingParty } from "../support/rp.ts";

/** A newer version may migrate the database while this one still answers (README, "More than one node"). */
describe("a table that gets another column", () => {
  let house: House;
  let app: RelyingParty;

  before(async () => {
    house = await aHouse({ DATABASE_POOL: "2" });
    app = await house.client({
      first_party: false,
      grant_types: ["authorization_code", "refresh_token"],
    });
  });
  after(() => house.server.stop());

  /** Signs in with a password and consent, as somebody known, and silently; and uses what that brings. */
  async function useEverything(): Promise<void> {
    const asked = { scope: "openid email offline_access", prompt: "consent" };
    for (const changes of [asked, { ...asked, prompt: "none" }]) {
      const tokens = await house.tokensOf(app, changes);
      const refreshed = await app.token({
        grant_type: "refresh_token",
        refresh_token: tokens["refresh_token"] ?? "",
      });
      assert.equal(refreshed.status, 200, refreshed.text);
      const { access_token: token } = json(refreshed);
      assert.equal((await app.userinfo(String(token))).status, 200);
      const introspected = await app.post("/token/introspection", { token: String(token) });
      assert.equal(json(introspected)["active"], true);
    }
    const another = new WebBrowser(house.server);
    const answer = await walk(house.server, another, app.authorization(asked), house.user);
    assert.match(answer.location ?? answer.text, /[?&]code=/);
  }

  it("goes on serving whoever has prepared statements about it", async () => {
    for (let round = 0; round < 3; round += 1) await useEverything();
    await house.server.database.knex.raw(`DO $$ DECLARE t regclass; BEGIN
      FOR t IN SELECT c.oid FROM pg_class c WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition
        AND c.relnamespace = 'public'::regnamespace
      LOOP EXECUTE format('ALTER TABLE %s ADD COLUMN from_a_newer_version text', t); END LOOP; END $$`);
    for (let round = 0; round < 3; round += 1) await useEverything();
  });
});
