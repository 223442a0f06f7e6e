import assert from "node:assert/strict";
import { mock } from "node:test";
import { ensurePartitions } from "../../src/database/partitions.ts";
import { Session } from "../../src/models/session.ts";
import { aProductionServer, RelyingParty, walk, WebBrowser } from "../support/rp.ts";
import { aClient, aUser, type TestServer } from "../support/server.ts";

const MINUTE = 60;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;
/** Seconds by which a session may be younger than its row says, because touches are written once a minute. */
const TOUCH = 61;

interface Case {
  readonly settings: Record<string, string>;
  readonly remember: boolean;
  readonly idle: number;
  readonly absolute: number;
}

const CASES: Readonly<Record<string, Case>> = {
  "standard, kept": { settings: {}, remember: true, idle: 14 * DAY, absolute: 30 * DAY },
  "standard, not kept": { settings: {}, remember: false, idle: 12 * HOUR, absolute: DAY },
  aal2: { settings: { SESSION_LIMITS: "aal2" }, remember: true, idle: HOUR, absolute: DAY },
  aal3: {
    settings: { SESSION_LIMITS: "aal3" },
    remember: true,
    idle: 15 * MINUTE,
    absolute: 12 * HOUR,
  },
  "of one’s own": {
    settings: { SESSION_IDLE: "7200", SESSION_ABSOLUTE: "14400" },
    remember: true,
    idle: 2 * HOUR,
    absolute: 4 * HOUR,
  },
};

describe("T-28: how long a sign-in lasts (NIST SP 800-63B-4 §2.1.3, §2.2.3, §2.3.3)", () => {
  for (const [name, { settings, remember, idle, absolute }] of Object.entries(CASES))
    describe(name, () => {
      let server: TestServer;
      let app: RelyingParty;
      before(async () => {
        server = await aProductionServer(settings);
        app = new RelyingParty(server, await aClient(server, { first_party: true }));
      });
      after(() => server.stop());
      afterEach(() => mock.timers.reset());

      async function signedIn() {
        const user = await aUser(server);
        const browser = new WebBrowser(server);
        await walk(server, browser, app.authorization(), { email: user.email, remember });
        mock.timers.enable({ apis: ["Date"], now: Date.now() });
        return { user, browser };
      }
      /** Moves the clock, and does what a nightly job would have done meanwhile. */
      const later = async (seconds: number) => {
        mock.timers.setTime(Date.now() + seconds * 1000);
        await ensurePartitions(server.database.knex, new Date());
      };
      const isIn = async (browser: WebBrowser) => {
        const { location } = await browser.open(app.authorization({ prompt: "none" }));
        return location?.includes("code=") === true;
      };

      it("ends where it is not used for that long, whatever the cookie says", async () => {
        const { browser } = await signedIn();
        await later(idle - TOUCH);
        assert.equal(await isIn(browser), true);
        await later(idle + 1);
        assert.equal(await isIn(browser), false);
      });

      it("ends after its time however much it is used", async () => {
        const { browser, user } = await signedIn();
        const step = Math.min(idle, absolute) - TOUCH;
        let age = 0;
        while (age + step < absolute) {
          await later(step);
          age += step;
          assert.equal(await isIn(browser), true, `after ${age} s`);
        }
        const [session] = await Session.liveOf(server.database.knex, user.id, new Date());
        const left = (session?.expiresAt.getTime() ?? 0) - Date.now();
        assert.ok(Math.abs(left / 1000 - (absolute - age)) <= TOUCH, `${left / 1000} s are left`);
        await later(absolute - age + 1);
        assert.equal(await isIn(browser), false);
      });

      it("the person’s own pages end with it", async () => {
        const { browser } = await signedIn();
        assert.equal((await browser.open("/account")).page, "account");
        await later(idle + 1);
        assert.match((await browser.open("/account")).location ?? "", /\/interaction\//);
      });
    });

  describe("keeping it", () => {
    let server: TestServer;
    let app: RelyingParty;
    before(async () => {
      server = await aProductionServer();
      app = new RelyingParty(server, await aClient(server, { first_party: true }));
    });
    after(() => server.stop());

    for (const remember of [true, false])
      it(
        remember ? "is a cookie with an end" : "otherwise the cookie ends with the browser",
        async () => {
          const { email } = await aUser(server);
          for (const path of [app.authorization(), "/account"]) {
            const browser = new WebBrowser(server);
            const lines: string[] = [];
            const open = browser.open.bind(browser);
            browser.open = async (...request) => {
              const answer = await open(...request);
              lines.push(...answer.setCookies);
              return answer;
            };
            await walk(server, browser, path, { email, remember });
            const line = lines.findLast((cookie) => cookie.startsWith("__Host-lintel_session="));
            assert.equal(/expires=/i.test(line ?? "expires="), remember, path);
          }
        },
      );
  });
});
