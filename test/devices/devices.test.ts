import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { readAgent } from "../../src/devices/agents.ts";
import { openPlaces, type Place } from "../../src/devices/places.ts";
import { weighSignIn, type Risk } from "../../src/devices/risk.ts";
import { runStatement } from "../../src/database/statement.ts";
import { findPerson } from "../../src/interaction/person.ts";
import { Session } from "../../src/models/session.ts";
import { UserDevice } from "../../src/models/user-device.ts";
import { User } from "../../src/models/user.ts";
import { testDatabase, type TestDatabase } from "../support/database.ts";
import { writeDatabase } from "../support/mmdb.ts";

describe("devices", () => {
  describe("what a browser calls itself", () => {
    const MAC = "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/";
    const KNOWN: Readonly<Record<string, readonly [string?, string?]>> = {
      "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:133.0) Gecko/20100101 Firefox/133.0": [
        "Firefox",
        "Windows",
      ],
      "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0.0.0 Safari/537.36 Edg/131.0.0.0":
        ["Edge", "Windows"],
      [`${MAC}605.1.15 (KHTML, like Gecko) Version/18.1 Safari/605.1.15`]: ["Safari", "macOS"],
      [`${MAC}537.36 (KHTML, like Gecko) Chrome/131.0.0.0 Safari/537.36 OPR/116.0.0.0`]: [
        "Opera",
        "macOS",
      ],
      "Mozilla/5.0 (iPhone; CPU iPhone OS 18_1 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) CriOS/131.0 Mobile/15E148 Safari/604.1":
        ["Chrome", "iOS"],
      "Mozilla/5.0 (iPad; CPU OS 17_0 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.0 Mobile/15E148 Safari/604.1":
        ["Safari", "iPadOS"],
      "Mozilla/5.0 (Linux; Android 14; SM-S921B) AppleWebKit/537.36 (KHTML, like Gecko) SamsungBrowser/27.0 Chrome/125.0.0.0 Mobile Safari/537.36":
        ["Samsung Internet", "Android"],
      "Mozilla/5.0 (X11; CrOS x86_64 14541.0.0) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0.0.0 Safari/537.36":
        ["Chrome", "ChromeOS"],
      "Mozilla/5.0 (X11; Linux x86_64; rv:133.0) Gecko/20100101 Firefox/133.0": [
        "Firefox",
        "Linux",
      ],
      "curl/8.5.0": [],
      "": [],
    };
    for (const [userAgent, [browser, os]] of Object.entries(KNOWN))
      it(`reads ${browser ?? "nothing"} on ${os ?? "nothing"} from ${userAgent.slice(0, 60)}`, () => {
        assert.deepEqual(readAgent(userAgent), { browser, os });
      });

    it("takes no longer for a header that somebody made long", () => {
      const startedAt = performance.now();
      for (const part of ["Version/1 ", "Chrome", "(", "Mac OS "]) readAgent(part.repeat(8000));
      assert.ok(performance.now() - startedAt < 100);
    });
  });

  describe("where a network is", () => {
    const directory = mkdtempSync(join(tmpdir(), "lintel-places-"));
    const file = join(directory, "places.mmdb");
    after(() => rmSync(directory, { recursive: true }));

    it("is read from a database in MaxMind’s format, countries and whole degrees", () => {
      writeFileSync(
        file,
        writeDatabase([
          [
            "192.0.2.0/24",
            { country: { iso_code: "DE" }, location: { latitude: 52.52, longitude: 13.4 } },
          ],
          ["198.51.100.0/24", { country: { iso_code: "JP" } }],
          ["203.0.113.0/24", { registered_country: { iso_code: "CH" } }],
        ]),
      );
      const find = openPlaces(file);
      assert.deepEqual(find("192.0.2.0/24"), { country: "DE", point: { x: 13, y: 53 } });
      assert.deepEqual(find("198.51.100.0/24"), { country: "JP", point: undefined });
      assert.deepEqual(find("203.0.113.0/24"), { country: "CH", point: undefined });
      for (const unknown of ["10.0.0.0/24", "2001:db8::/64", undefined])
        assert.deepEqual(find(unknown), { country: undefined, point: undefined }, unknown);
    });

    it("is unknown without a database", () => {
      assert.deepEqual(openPlaces(undefined)("192.0.2.0/24"), {
        country: undefined,
        point: undefined,
      });
    });

    it("stops the start where the file is missing or is something else", () => {
      assert.throws(() => openPlaces(join(directory, "none.mmdb")), /GEOIP_FILE/);
      writeFileSync(join(directory, "odd.mmdb"), "not a database");
      assert.throws(() => openPlaces(join(directory, "odd.mmdb")), /GEOIP_FILE/);
    });
  });

  describe("how unusual a sign-in is", () => {
    const NOW = new Date("2026-06-01T12:00:00Z");
    const hoursAgo = (hours: number) => new Date(NOW.getTime() - hours * 3_600_000);
    const NOWHERE: Place = { country: undefined, point: undefined };
    const BERLIN: Place = { country: "DE", point: { x: 13, y: 53 } };
    const TOKYO: Place = { country: "JP", point: { x: 140, y: 36 } };
    const device = randomBytes(32);
    let database: TestDatabase;
    before(async () => {
      database = await testDatabase();
    });
    after(() => database.drop());

    /** Somebody who signed in so many hours ago, on `device`, in Berlin. */
    async function somebody(hours: number | undefined): Promise<User> {
      const user = await User.query(database.knex).insertAndFetch({
        createdVia: "admin",
        lastLoginAt: hours === undefined ? null : hoursAgo(hours),
      });
      if (hours === undefined) return user;
      const { id } = await UserDevice.note(database.knex, {
        userId: user.id,
        cookieHash: device,
        browserFamily: null,
        osFamily: null,
        country: "DE",
        now: hoursAgo(hours),
      });
      const uid = randomBytes(16).toString("hex");
      await Session.query(database.knex).insert({
        uid,
        userId: user.id,
        loggedInAt: hoursAgo(hours),
        expiresAt: NOW,
        gcOn: "2026-06-03",
      });
      const describing = Session.describing(uid, {
        deviceId: id,
        method: "pwd",
        country: "DE",
        place: BERLIN.point,
        riskScore: 0,
        riskReasons: [],
      });
      await runStatement(database.knex, describing);
      return user;
    }
    const weigh = async (
      user: User,
      seen: { device?: Buffer; place?: Place; hasManyFailures?: boolean },
    ): Promise<Risk> => {
      const { device } = seen;
      const about = { userId: user.id, clientId: undefined, rpId: undefined, device };
      const person = await findPerson(database.knex, about);
      assert.ok(person);
      return weighSignIn(database.knex, {
        user,
        devices: person.devices,
        place: seen.place ?? NOWHERE,
        hasManyFailures: seen.hasManyFailures ?? false,
        now: NOW,
      });
    };

    it("is nothing for who comes back as always", async () => {
      assert.deepEqual(await weigh(await somebody(24), { device, place: BERLIN }), {
        score: 0,
        reasons: [],
      });
    });

    it("is nothing for who signs in for the first time", async () => {
      assert.deepEqual(await weigh(await somebody(undefined), { place: TOKYO }), {
        score: 0,
        reasons: [],
      });
    });

    it("grows with a browser that is not known, and one that only others have used", async () => {
      const user = await somebody(24);
      for (const other of [undefined, randomBytes(32)])
        assert.deepEqual(await weigh(user, other === undefined ? {} : { device: other }), {
          score: 25,
          reasons: ["new_device"],
        });
      const stranger = await User.query(database.knex).insertAndFetch({
        createdVia: "admin",
        lastLoginAt: hoursAgo(1),
      });
      assert.deepEqual((await weigh(stranger, { device })).reasons, ["new_device"]);
    });

    it("grows with a country of no sign-in before", async () => {
      assert.deepEqual(await weigh(await somebody(24), { device, place: TOKYO }), {
        score: 25,
        reasons: ["new_country"],
      });
    });

    it("grows with a journey that nobody can make, and not with one that a flight takes", async () => {
      assert.deepEqual(await weigh(await somebody(3), { device, place: TOKYO }), {
        score: 55,
        reasons: ["new_country", "impossible_travel"],
      });
      const near: Place = { country: "DE", point: { x: 12, y: 48 } };
      assert.deepEqual((await weigh(await somebody(1), { device, place: near })).reasons, []);
      const early = { country: "DE", point: { x: 13, y: 43 } };
      assert.deepEqual((await weigh(await somebody(1.5), { device, place: early })).reasons, []);
      assert.deepEqual((await weigh(await somebody(1), { device, place: early })).reasons, [
        "impossible_travel",
      ]);
    });

    it("grows with guesses at the password, and with half a year without a sign-in", async () => {
      assert.deepEqual(await weigh(await somebody(24), { device, hasManyFailures: true }), {
        score: 20,
        reasons: ["many_failures"],
      });
      assert.deepEqual(await weigh(await somebody(181 * 24), { device }), {
        score: 15,
        reasons: ["dormant_user"],
      });
    });

    it("is never more than 100, whatever comes together", async () => {
      const user = await somebody(1);
      const risk = await weigh(user, { place: TOKYO, hasManyFailures: true });
      assert.equal(risk.score, 100);
      assert.equal(risk.reasons.length, 4);
    });
  });
});
