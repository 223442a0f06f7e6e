import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { throttleCode, throttleFactor, throttleMail } from "../../src/authn/throttle.ts";
import { openSeal, type Seal } from "../../src/keys/seal.ts";
import { testDatabase, type TestDatabase } from "../support/database.ts";
import { aClient, aUser, PASSWORD, type TestServer } from "../support/server.ts";
import {
  aProductionServer,
  RelyingParty,
  response,
  walk,
  WebBrowser,
  type Answer,
} from "../support/rp.ts";

describe("T-63: guessing passwords on the page", () => {
  let server: TestServer;
  let app: RelyingParty;
  let networks = 0;

  before(async () => {
    server = await aProductionServer();
    app = new RelyingParty(server, await aClient(server, { first_party: true }));
  });
  after(async () => {
    await server?.stop();
  });

  /** Another network (/24), as the trusted proxy names it. */
  function newNetwork(): string {
    networks += 1;
    return `198.${18 + Math.floor(networks / 250)}.${networks % 250}.7`;
  }

  async function attempt(email: string, password: string, network: string): Promise<Answer> {
    const browser = new WebBrowser(server, { "x-forwarded-for": network });
    const { location = "" } = await browser.open(app.authorization());
    const answer = await browser.submit(location, { username: email, password });
    return answer.location === undefined ? answer : browser.open(answer.location);
  }
  const guess = (email: string, network: string) =>
    attempt(email, `guess ${randomBytes(8).toString("hex")}`, network);

  async function guessUntilBlocked(email: string, network: string): Promise<void> {
    for (let tries = 0; tries < 5; tries += 1) {
      assert.equal((await guess(email, network)).status, 401);
    }
  }

  it("the sixth is 429 and says when to come back, and then not even the right one is looked at", async () => {
    const { email } = await aUser(server);
    const network = newNetwork();
    await guessUntilBlocked(email, network);
    for (const answer of [await guess(email, network), await attempt(email, PASSWORD, network)]) {
      assert.equal(answer.status, 429);
      const wait = Number(answer.headers["retry-after"]);
      assert.ok(wait > 0 && wait <= 900, String(wait));
      assert.equal(answer.page, "login");
      assert.equal(answer.location, undefined);
    }
  });

  it("nobody else suffers: not the owner elsewhere, nor others in the same network", async () => {
    const [owner, neighbour] = [await aUser(server), await aUser(server)];
    const network = newNetwork();
    await guessUntilBlocked(owner.email, network);
    assert.equal((await guess(owner.email, network)).status, 429);
    assert.ok(response(await attempt(owner.email, PASSWORD, newNetwork()))["code"]);
    assert.ok(response(await attempt(neighbour.email, PASSWORD, network))["code"]);
  });

  it("another spelling of the address, another cookie or a new sign-in is no way around it", async () => {
    const { email } = await aUser(server);
    const network = newNetwork();
    for (const spelling of [
      email,
      email.toUpperCase(),
      ` ${email} `,
      email.replace("a", "A"),
      email,
    ]) {
      assert.equal((await guess(spelling, network)).status, 401);
    }
    for (const spelling of [email, email.toUpperCase(), email.replace("@", "＠")]) {
      assert.ok([429, 401].includes((await attempt(spelling, PASSWORD, network)).status), spelling);
    }
    assert.equal((await attempt(email.toUpperCase(), PASSWORD, network)).status, 429);
  });

  it("nor is an X-Forwarded-For of one’s own making, nor another address of the network (T-49)", async () => {
    const { email } = await aUser(server);
    const network = newNetwork();
    await guessUntilBlocked(email, network);
    const ownNetwork = network.replace(/7$/, "99");
    for (const forwarded of [
      `203.0.113.9, ${network}`,
      `unknown, ${network}`,
      `::ffff:${network}`,
      ownNetwork,
    ]) {
      assert.equal((await attempt(email, PASSWORD, forwarded)).status, 429, forwarded);
    }
  });

  it("many at once count like one after the other", async () => {
    const { email } = await aUser(server);
    const network = newNetwork();
    const answers = await Promise.all(Array.from({ length: 20 }, () => guess(email, network)));
    const statuses = answers.map(({ status }) => status);
    assert.equal(statuses.filter((status) => status === 401).length, 5, statuses.join(" "));
    assert.equal(statuses.filter((status) => status === 429).length, 15);
  });

  describe("while somebody hammers an account from everywhere", () => {
    let owner = { email: "" };
    let crowded = "";
    const DEVICE = "__Host-lintel_device";

    /** A browser that somebody signed in with before, as a thief of its cookies would have it too. */
    async function usedBy(email: string): Promise<WebBrowser> {
      const browser = new WebBrowser(server, { "x-forwarded-for": newNetwork() });
      await walk(server, browser, app.authorization(), { email });
      return browser;
    }
    async function signInWith(device: string | undefined, email: string, password: string) {
      const browser = new WebBrowser(server, { "x-forwarded-for": crowded });
      if (device !== undefined) browser.put(DEVICE, device);
      const { location = "" } = await browser.open(app.authorization());
      const answer = await browser.submit(location, { username: email, password });
      return answer.location === undefined ? answer : browser.open(answer.location);
    }
    let device = "";
    let other = "";

    before(async function () {
      this.timeout(60_000);
      owner = await aUser(server);
      crowded = newNetwork();
      device = (await usedBy(owner.email)).cookie(DEVICE) ?? "";
      other = (await usedBy((await aUser(server)).email)).cookie(DEVICE) ?? "";
      for (let places = 0; places < 20; places += 1) {
        const network = newNetwork();
        for (let tries = 0; tries < 5; tries += 1)
          assert.equal((await guess(owner.email, network)).status, 401);
      }
      await guessUntilBlocked(`somebody-${randomBytes(4).toString("hex")}@example.com`, crowded);
    });

    it("the hundredth was the last: then not even the right password is looked at, from anywhere", async () => {
      assert.equal((await attempt(owner.email, PASSWORD, newNetwork())).status, 429);
    });

    it("the owner gets in with a browser that they have used before", async () => {
      assert.ok(response(await signInWith(device, owner.email, PASSWORD))["code"]);
      assert.ok(response(await signInWith(device, owner.email.toUpperCase(), PASSWORD))["code"]);
    });

    it("the cookie of another person’s browser gives nothing, nor one that somebody made up", async () => {
      for (const cookie of [other, `dv_${randomBytes(32).toString("base64url")}`, "dv_", "x"])
        assert.equal((await signInWith(cookie, owner.email, PASSWORD)).status, 429, cookie);
    });

    it("who has stolen the owner’s cookie has five tries, like everybody", async () => {
      for (let tries = 0; tries < 5; tries += 1)
        assert.equal((await signInWith(device, owner.email, "a guess of a thief")).status, 401);
      assert.equal((await signInWith(device, owner.email, PASSWORD)).status, 429);
    });
  });

  it("stuffing: 200 from 40 networks, many at once, verify no more than a hundred", async function () {
    this.timeout(60_000);
    const { email } = await aUser(server);
    const places = Array.from({ length: 40 }, newNetwork);
    const statuses: number[] = [];
    for (let wave = 0; wave < 5; wave += 1)
      for (let first = 0; first < places.length; first += 8) {
        const some = places.slice(first, first + 8);
        const answers = await Promise.all(some.map((network) => guess(email, network)));
        statuses.push(...answers.map(({ status }) => status));
      }
    // A rush that the hashes cannot keep up with is turned away before it is counted.
    const looked = statuses.filter((status) => status === 401).length;
    assert.ok(looked > 50 && looked <= 100, statuses.join(" "));
    assert.ok(statuses.every((status) => [401, 429, 503].includes(status)));
  });

  it("spraying: the 21st account that fails in a network is one too many, also known to the attacker", async () => {
    const network = newNetwork();
    for (let index = 0; index < 20; index += 1)
      assert.equal((await guess(`sprayed-${index}@example.com`, network)).status, 401);
    const { email } = await aUser(server);
    assert.equal((await attempt(email, PASSWORD, network)).status, 429);
    assert.equal((await attempt("sprayed-3@example.com", PASSWORD, network)).status, 429);
    assert.ok(response(await attempt(email, PASSWORD, newNetwork()))["code"]);
  });

  it("30 in a network are too many, whoever they are about", async () => {
    const network = newNetwork();
    const statuses: number[] = [];
    for (let index = 0; index < 31; index += 1) {
      statuses.push((await guess(`nobody-${index % 10}@example.com`, network)).status);
    }
    assert.deepEqual([...new Set(statuses.slice(0, 30))], [401]);
    assert.equal(statuses[30], 429);
    const { email } = await aUser(server);
    assert.equal((await attempt(email, PASSWORD, network)).status, 429);
  });

  it("the right password forgives those before it", async () => {
    const { email } = await aUser(server);
    const network = newNetwork();
    for (let round = 0; round < 2; round += 1) {
      for (let tries = 0; tries < 4; tries += 1)
        assert.equal((await guess(email, network)).status, 401);
      assert.ok(response(await attempt(email, PASSWORD, network))["code"]);
    }
  });

  describe("says nothing about who has an account (T-62)", () => {
    const EMAIL = /[\w-]+@example\.com/g;
    const facts = ({ status, headers, text, setCookies }: Answer) => ({
      status,
      names: Object.keys(headers).sort(),
      retry: headers["retry-after"],
      cookies: setCookies.map((line) =>
        line.replace(/=[^;]*/, "").replaceAll(/expires=[^;]*/g, ""),
      ),
      text: text
        .replaceAll(EMAIL, "somebody@example.com")
        .replaceAll(/\/interaction\/[\w-]+/g, "/interaction/:uid")
        .replaceAll(/(id="correlation-id">)[^<]*/g, "$1")
        .replaceAll(/(challenge&#34;:&#34;)[\w-]+/g, "$1"),
    });
    const unknown = () => `eve-${randomBytes(4).toString("hex")}@example.com`;

    it("each answer about an unknown address is, byte for byte, that about a known one, blocked or not", async () => {
      const known = await aUser(server);
      const nobody = unknown();
      const [there, here] = [newNetwork(), newNetwork()];
      for (let tries = 0; tries < 5; tries += 1) {
        assert.deepEqual(facts(await guess(nobody, there)), facts(await guess(known.email, here)));
      }
      const [blocked, same] = [await guess(nobody, there), await guess(known.email, here)];
      assert.equal(blocked.status, 429);
      const about = (answer: Answer) => ({
        ...facts(answer),
        retry: undefined,
        text: facts(answer).text.replaceAll(/\d+/g, "0"),
      });
      assert.deepEqual(about(blocked), about(same));
    });

    it("the page for the password is the same for both", async () => {
      const known = await aUser(server);
      const pages = await Promise.all(
        [known.email, unknown()].map(async (email) => {
          const browser = new WebBrowser(server);
          const { location = "" } = await browser.open(app.authorization());
          const named = await browser.submit(location, { username: email });
          return facts(await browser.open(named.location ?? ""));
        }),
      );
      assert.deepEqual(pages[0], pages[1]);
    });

    it("takes as long for both, within 30 % @alone", async () => {
      const known = await aUser(server);
      const time = async (email: string) => {
        const browser = new WebBrowser(server, { "x-forwarded-for": newNetwork() });
        const { location = "" } = await browser.open(app.authorization());
        const startedAt = performance.now();
        const answer = await browser.submit(location, {
          username: email,
          password: "not the right one",
        });
        assert.equal(answer.status, 401);
        return performance.now() - startedAt;
      };
      const measure = async () => {
        const times: { known: number[]; unknown: number[] } = { known: [], unknown: [] };
        for (let round = 0; round < 15; round += 1) {
          times.known.push(await time(known.email));
          times.unknown.push(await time(unknown()));
        }
        const ratio = median(times.known) / median(times.unknown);
        return ratio > 1 ? 1 - 1 / ratio : 1 - ratio;
      };
      // A busy machine may spoil one measurement; a real difference spoils all.
      const differences: number[] = [];
      for (let tries = 0; tries < 3; tries += 1) {
        const difference = await measure();
        if (difference < 0.3) return;
        differences.push(difference);
      }
      assert.fail(
        `they differ by ${differences.map((part) => `${Math.round(part * 100)} %`).join(", ")}`,
      );
    });
  });
});

describe("T-72: guessing codes", () => {
  const now = new Date("2026-03-01T12:00:00Z");
  let database: TestDatabase;
  let seal: Seal;

  before(async () => {
    database = await testDatabase();
    seal = await openSeal(database.knex, { encryptionKey: randomBytes(32) });
  });
  after(() => database.drop());

  /** How many of 200 at once may go on. */
  async function allowedOf(ask: (index: number) => Promise<{ allowed: boolean }>): Promise<number> {
    const asked = await Promise.all(Array.from({ length: 200 }, (_, index) => ask(index)));
    return asked.filter(({ allowed }) => allowed).length;
  }

  it("of a second factor five are looked at in one sign-in, and ten of one person in an hour", async () => {
    const about = { method: "totp", who: "ada", now } as const;
    const guess = (interaction: string) =>
      throttleFactor(database.knex, seal, { ...about, interaction });
    assert.equal(await allowedOf(() => guess("one")), 5);
    assert.equal(await allowedOf((index) => guess(`another-${index}`)), 5);
  });

  it("of a device five are looked at in one session, and fifty from a network in an hour", async () => {
    const ipPrefix = "198.18.0.0/24";
    const guess = (sessionUid: string) =>
      throttleCode(database.knex, seal, { sessionUid, ipPrefix, now });
    assert.equal(await allowedOf(() => guess("one")), 5);
    assert.equal(await allowedOf((index) => guess(`another-${index}`)), 45);
  });
});

describe("T-75: filling somebody's mailbox", () => {
  const START = new Date("2026-03-01T12:00:00Z");
  let database: TestDatabase;
  let seal: Seal;
  let networks = 0;

  before(async () => {
    database = await testDatabase();
    seal = await openSeal(database.knex, { encryptionKey: randomBytes(32) });
  });
  after(() => database.drop());

  const ask = (address: string, ipPrefix: string, minutes = 0) =>
    throttleMail(database.knex, seal, {
      address,
      ipPrefix,
      now: new Date(START.getTime() + minutes * 60_000),
    });
  const newNetwork = () => `198.18.${(networks += 1)}.0/24`;

  it("an address gets five mails an hour, from wherever they are asked for", async () => {
    for (let mails = 0; mails < 5; mails += 1)
      assert.deepEqual(await ask("ada@example.com", newNetwork()), { allowed: true });
    const refused = await ask("ada@example.com", newNetwork(), 10);
    assert.deepEqual(refused, { allowed: false, retryAfter: 50 * 60 });
    assert.equal((await ask("ada@example.com", newNetwork(), 59)).allowed, false);
    for (let mails = 0; mails < 5; mails += 1)
      assert.equal((await ask("ada@example.com", newNetwork(), 61)).allowed, true);
    assert.equal((await ask("ada@example.com", newNetwork(), 61)).allowed, false);
  });

  it("its capitals, its tags and blanks around it are the same mailbox", async () => {
    for (const spelling of ["Bob@example.com", " bob@Example.com ", "bob+1@example.com"])
      assert.equal((await ask(spelling, newNetwork())).allowed, true);
    for (const spelling of ["bob@example.com", "BOB+2@example.com"])
      assert.equal((await ask(spelling, newNetwork())).allowed, true);
    assert.equal((await ask("bob+x@example.com", newNetwork())).allowed, false);
  });

  it("a network has twenty an hour sent, to whomever, and then uses up nobody's own five", async () => {
    const network = newNetwork();
    for (let mails = 0; mails < 20; mails += 1)
      assert.equal((await ask(`somebody-${mails}@example.com`, network)).allowed, true);
    for (let tries = 0; tries < 6; tries += 1)
      assert.equal((await ask("carol@example.com", network)).allowed, false);
    assert.equal((await ask("carol@example.com", newNetwork())).allowed, true);
  });

  it("200 at once bring five", async () => {
    const network = Array.from({ length: 20 }, newNetwork);
    const asked = await Promise.all(
      Array.from({ length: 200 }, (_, index) => ask("dave@example.com", network[index % 20] ?? "")),
    );
    assert.equal(asked.filter(({ allowed }) => allowed).length, 5);
  });
});

function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] ?? 0;
}
