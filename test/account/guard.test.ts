import assert from "node:assert/strict";
import { PRESET_NAMES } from "../../src/issuers.ts";
import { aServer, aUser, PASSWORD, type TestServer } from "../support/server.ts";
import { Visitor } from "../support/visitor.ts";

/** A sign-in for the person's own pages is an interaction like any other, and no client has a part in it. */
for (const preset of PRESET_NAMES)
  describe(`account: signing in, ${preset}`, () => {
    let server: TestServer;
    let user: { id: string; email: string };
    before(async () => {
      server = await aServer({ PRESET: preset });
      user = await aUser(server);
    });
    after(() => server.stop());

    const signedIn = async (): Promise<Visitor> => {
      const visitor = new Visitor();
      await visitor.open(`${server.issuer}/account?from=here`);
      assert.equal(visitor.page, "login");
      await visitor.submit({ username: user.email });
      await visitor.submit({ password: PASSWORD });
      return visitor;
    };

    it("leads through the sign-in back to the page that was wanted", async () => {
      const visitor = await signedIn();
      assert.equal(visitor.page, "account");
      assert.equal(visitor.url, `${server.issuer}/account?from=here`);
      assert.ok(visitor.html.includes(user.email));
    });

    it("asks nobody twice", async () => {
      const visitor = await signedIn();
      await visitor.open(`${server.issuer}/account`);
      assert.equal(visitor.page, "account");
    });

    it("ends where the person cancels, and nobody is signed in", async () => {
      const visitor = new Visitor();
      await visitor.open(`${server.issuer}/account`);
      await visitor.submit({}, `${new URL(visitor.url).pathname}/cancel`);
      assert.equal(visitor.page, "home");
      await visitor.open(`${server.issuer}/account`);
      assert.equal(visitor.page, "login");
    });

    it("is no client: nobody is sent anywhere by its name", async () => {
      const visitor = new Visitor();
      const query = new URLSearchParams({
        client_id: "urn:lintel:pages",
        response_type: "code",
        redirect_uri: `${server.issuer}/account`,
      });
      await visitor.open(`${server.issuer}/auth?${query}`);
      assert.equal(visitor.page, "error");
      assert.ok(visitor.html.includes("invalid_client"));
    });

    it("starts the session once, however often its end is asked for", async () => {
      const visitor = new Visitor({ follows: false });
      await visitor.open(`${server.issuer}/account`);
      await visitor.open(visitor.location ?? "");
      await visitor.submit({ username: user.email });
      await visitor.open(visitor.location ?? "");
      await visitor.submit({ password: PASSWORD });
      const end = visitor.location ?? "";
      assert.match(end, /\/own$/);
      await visitor.open(end);
      assert.equal(visitor.location, `${server.issuer}/account`);
      await visitor.open(end);
      assert.equal(visitor.page, "stale");
    });
  });
