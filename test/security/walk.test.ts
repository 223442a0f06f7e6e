import assert from "node:assert/strict";
import { decodeJwt } from "jose";
import { addEmailFactor } from "../../src/authn/factors.ts";
import { EmailCode } from "../../src/models/email-code.ts";
import { MfaFactor } from "../../src/models/mfa-factor.ts";
import { RecoveryCode } from "../../src/models/recovery-code.ts";
import { Session } from "../../src/models/session.ts";
import { UserPassword } from "../../src/models/user-password.ts";
import { User } from "../../src/models/user.ts";
import {
  anApp,
  codeAt,
  mailedCode,
  seedOn,
  someRecoveryCodes,
  type App,
} from "../support/factors.ts";
import {
  aProductionServer,
  json,
  RelyingParty,
  WebBrowser,
  type Answer,
  type Fields,
} from "../support/rp.ts";
import { aPasskey } from "../support/passkeys.ts";
import { aClient, aUser, PASSWORD, type TestServer } from "../support/server.ts";

/** Walks of each person with each knowledge at each issuer; `WALKS=50` is for the night. */
const WALKS = Number(process.env["WALKS"] ?? 1);
const STEPS = 20;
const FIRST_SEED = Number(process.env["WALK_SEED"] ?? 1);

/** What people have set up, and what whoever walks knows of them. */
const PEOPLE = [
  "nothing",
  "app",
  "app and codes",
  "app turned off",
  "mailbox",
  "passkey that is always asked for",
] as const;
const KNOWLEDGE = {
  "a stranger who has the app": { password: false, app: true, mail: false },
  "a thief who has the password": { password: true, app: false, mail: false },
  "a thief who has the mailbox": { password: false, app: false, mail: true },
  "the owner": { password: true, app: true, mail: true },
} as const;
type Knowledge = (typeof KNOWLEDGE)[keyof typeof KNOWLEDGE];

/** mulberry32: the same walk for the same seed. */
function randomOf(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296;
  };
}

/** One interaction, and what the database says was accepted in it. */
interface Tab {
  readonly path: string;
  readonly evidence: Set<string>;
}

/** What the database knows of what was accepted, to be compared before and after a request. */
interface Traces {
  readonly totp: string;
  readonly codes: number;
  readonly mails: string;
  readonly apps: number;
  readonly mailbox: boolean;
  readonly skips: number;
  readonly password: string | undefined;
}

/** What whoever has the mailbox can make of the password. */
const NEW_PASSWORD = "seven herons over the salt marsh";

/** Somebody who presses everything in any order, in several tabs, with cookies of before, and never asks first. */
class Walker {
  readonly log: string[] = [];
  readonly tabs: Tab[] = [];
  readonly #jars: Map<string, { name: string; value: string; path: string }>[] = [];
  readonly #random: () => number;
  readonly #server: TestServer;
  readonly #clients: { plain: RelyingParty; strict: RelyingParty };
  readonly #user: { id: string; email: string };
  readonly #app: App | undefined;
  readonly #codes: readonly string[];
  readonly #knows: Knowledge;
  readonly #browser: WebBrowser;
  #password: string | undefined;
  hasBeenIn = false;

  constructor(on: {
    server: TestServer;
    clients: { plain: RelyingParty; strict: RelyingParty };
    user: { id: string; email: string };
    app: App | undefined;
    codes: readonly string[];
    knows: Knowledge;
    seed: number;
  }) {
    this.#server = on.server;
    this.#clients = on.clients;
    this.#user = on.user;
    this.#app = on.app;
    this.#codes = on.codes;
    this.#knows = on.knows;
    this.#password = on.knows.password ? PASSWORD : undefined;
    this.#random = randomOf(on.seed);
    const network = `198.${18 + (on.seed % 200)}.${Math.floor(on.seed / 200) % 250}.7`;
    this.#browser = new WebBrowser(on.server, { "x-forwarded-for": network });
  }

  #pick<T>(from: readonly T[]): T {
    const picked = from[Math.floor(this.#random() * from.length)];
    assert.ok(picked !== undefined);
    return picked;
  }

  async step(): Promise<void> {
    const dice = this.#random();
    const tab = this.tabs.length === 0 ? undefined : this.#pick(this.tabs.slice(-3));
    if (tab === undefined || dice < 0.1) return this.#begin();
    // Whoever knows everything is more often reasonable, so that they do arrive.
    if (dice < (this.#knows.password && this.#knows.app ? 0.7 : 0.4)) return this.#sensible(tab);
    if (dice < 0.8) return this.#post(tab);
    if (dice < 0.92) return void (await this.#follow(await this.#open(tab.path + this.#aPage())));
    if (dice < 0.96) return this.#goBack();
    const uid = tab.path.split("/").at(-1) ?? "";
    await this.#follow(await this.#open(`/auth/${uid}`));
  }

  async #begin(): Promise<void> {
    const client = this.#pick(["plain", "plain", "strict"] as const);
    const changes = this.#pick<Fields>([
      {},
      {},
      { prompt: "login" },
      { acr_values: "2" },
      { acr_values: "1" },
      { max_age: "0" },
      { prompt: "select_account" },
    ]);
    this.#note(`begin ${client} ${JSON.stringify(changes)}`);
    await this.#follow(await this.#browser.open(this.#clients[client].authorization(changes)));
  }

  /** Puts the cookies back that the browser had some steps ago. */
  #goBack(): void {
    const jar = this.#jars.length === 0 ? undefined : this.#pick(this.#jars);
    if (jar === undefined) return;
    this.#note("cookies of before");
    this.#browser.jar.clear();
    for (const [key, cookie] of jar) this.#browser.jar.set(key, cookie);
  }

  #aPage(): string {
    return this.#pick([
      "",
      "?change=1",
      "/accounts",
      "/password",
      "/methods",
      "/code",
      "/mfa",
      "/mfa?choose=1",
      "/mfa/totp",
      "/mfa/email",
      "/mfa/recovery",
      "/mfa/help",
      "/enroll",
      "/enroll/totp",
      "/enroll/codes",
      "/forgot",
      "/forgot/code",
      "/forgot/password",
      "/register",
      "/verify",
      "/terms",
      "/profile",
      "/offer",
      "/consent",
    ]);
  }

  /** Any form, to any address, whatever is due. */
  async #post(tab: Tab): Promise<void> {
    const password = this.#password ?? "a wrong password of some length";
    const otp = this.#knows.app && this.#app !== undefined ? await this.#app.code() : "000000";
    const forms: [string, Fields][] = [
      ["", { username: this.#user.email }],
      ["", { username: this.#user.email, password }],
      ["", { username: "somebody-else@example.com" }],
      ["/password", { password }],
      ["/methods", { method: "email-code" }],
      ["/code", { otp: await this.#mailed() }],
      ["/mfa", { factor: this.#pick(["totp", "email", "recovery", "webauthn"]) }],
      ["/mfa/totp", { otp }],
      ["/mfa/totp", { otp: "000000" }],
      ["/mfa/email/send", {}],
      ["/mfa/email", { otp: await this.#mailed() }],
      ["/mfa/webauthn", { passkey_response: "{}" }],
      ["/mfa/recovery", { recovery_code: this.#code() }],
      ["/enroll", { factor: this.#pick(["totp", "email"]) }],
      ["/enroll/skip", {}],
      ["/enroll/totp", { otp }],
      ["/enroll/codes", { saved: "1" }],
      ["/forgot", { username: this.#user.email }],
      ["/forgot/code", { otp: await this.#mailed("reset_password") }],
      ["/forgot/password", { password: NEW_PASSWORD }],
      ["/register", { email: this.#user.email }],
      ["/verify", { otp: await this.#mailed("reset_password") }],
      ["/terms", {}],
      ["/profile", {}],
      ["/offer", { decision: "never" }],
      ["/consent", { decision: "allow", scope: "openid" }],
      ["/accounts", { account: this.#pick(["current", "another", this.#user.id]) }],
      ["/mfa/skip", {}],
      ["/own", {}],
    ];
    const [path, fields] = this.#pick(forms);
    await this.#send(tab, path, fields);
  }

  /** What a person would do on the page that is due, and on those after it. */
  async #sensible(tab: Tab): Promise<void> {
    let answer: Answer | undefined = await this.#follow(await this.#open(tab.path));
    const pages = this.#pick([1, 2, 3]);
    for (let page = 0; page < pages && answer !== undefined; page += 1)
      answer = await this.#answerPage(tab, answer);
  }

  async #answerPage(tab: Tab, answer: Answer): Promise<Answer | undefined> {
    const password = this.#password ?? "a wrong password of some length";
    const offersSkip = answer.text.includes('id="enroll-skip"');
    const app = this.#knows.app ? this.#app : undefined;
    const forms: Record<string, () => Promise<[string, Fields]> | [string, Fields]> = {
      login: () => ["", { username: this.#user.email }],
      password: () =>
        this.#knows.mail && this.#password === undefined
          ? ["/methods", { method: "email-code" }]
          : ["/password", { password }],
      "email-code": async () => ["/code", { otp: await this.#mailed() }],
      "mfa-totp": async () => ["/mfa/totp", { otp: (await app?.code()) ?? "000000" }],
      "mfa-email": async () =>
        answer.text.includes('id="send-code"')
          ? ["/mfa/email/send", {}]
          : ["/mfa/email", { otp: await this.#mailed() }],
      mfa: () => ["/mfa", { factor: "totp" }],
      enroll: () => (offersSkip ? ["/enroll/skip", {}] : ["/enroll", { factor: "totp" }]),
      "enroll-totp": () => ["/enroll/totp", { otp: codeAt(seedOn(answer.text), new Date()) }],
      "enroll-codes": () => ["/enroll/codes", { saved: "1" }],
      accounts: () => ["/accounts", { account: "current" }],
    };
    const form = await forms[answer.page ?? ""]?.();
    if (form === undefined || !answer.url.pathname.startsWith(tab.path)) return undefined;
    return this.#send(tab, ...form);
  }

  async #mailed(what?: "reset_password"): Promise<string> {
    const code = this.#knows.mail
      ? await mailedCode(this.#server, this.#user.id, what)
      : "undefined";
    return code === "undefined" ? "00000000" : code;
  }

  #code(): string {
    return this.#knows.app ? this.#pick([...this.#codes, "none"]) : "0000-0000-0000-0000-0000";
  }

  async #open(path: string): Promise<Answer> {
    this.#note(`GET ${path}`);
    return this.#browser.open(path);
  }

  async #send(tab: Tab, path: string, fields: Fields): Promise<Answer> {
    const before = await this.#traces();
    const answer = await this.#browser.submit(tab.path + path, fields);
    const after = await this.#traces();
    this.#note(`POST ${tab.path}${path} ${JSON.stringify(fields)} ${answer.status}`);
    // A right password is taken for shown wherever it was posted; whoever has none is on other walks.
    if (fields["password"] === this.#password && answer.status === 303) tab.evidence.add("pwd");
    if (after.password !== before.password) {
      tab.evidence.add("pwd");
      this.#password = NEW_PASSWORD;
    }
    if (after.apps > before.apps) tab.evidence.add("strong");
    else if (after.totp !== before.totp) tab.evidence.add("strong");
    if (after.codes < before.codes) tab.evidence.add("recovery");
    if (after.mails !== before.mails) tab.evidence.add(path === "/code" ? "mail" : "second mail");
    if (after.mailbox && !before.mailbox) tab.evidence.add("enrolled mailbox");
    if (path === "/enroll/skip" && answer.status === 303 && after.skips > before.skips)
      tab.evidence.add("skipped");
    return this.#follow(answer);
  }

  async #traces(): Promise<Traces> {
    const db = this.#server.database.knex;
    const factors = await MfaFactor.query(db)
      .where({ userId: this.#user.id })
      .whereNotNull("verifiedAt");
    const apps = factors.filter(({ type }) => type === "totp");
    const used = await EmailCode.query(db).where({ userId: this.#user.id }).whereNotNull("usedAt");
    const user = await User.query(db).findById(this.#user.id);
    return {
      totp: JSON.stringify(apps.map(({ lastUsedAt }) => lastUsedAt)),
      codes: await RecoveryCode.countLeft(db, this.#user.id),
      mails: JSON.stringify(used.map(({ usedAt }) => usedAt)),
      apps: apps.length,
      mailbox: factors.some(({ type }) => type === "email"),
      skips: user?.enrolmentSkips ?? 0,
      password: (await UserPassword.query(db).findById(this.#user.id))?.hash,
    };
  }

  /** Goes on until there is a page; a new interaction on the way is a new tab, and a code is looked into. */
  async #follow(first: Answer): Promise<Answer> {
    let answer = first;
    for (let steps = 0; steps < 10; steps += 1) {
      const { location } = answer;
      if (location === undefined) break;
      if (location.startsWith("https://rp.example")) {
        await this.#lookInto(new URL(location));
        break;
      }
      const path = /^\/interaction\/[\w-]+/.exec(new URL(location).pathname)?.[0];
      if (path !== undefined && !this.tabs.some((tab) => tab.path === path))
        this.tabs.push({ path, evidence: new Set() });
      answer = await this.#browser.open(location);
    }
    if (this.#random() < 0.3) this.#jars.push(new Map(this.#browser.jar));
    return answer;
  }

  /** What the tokens say of a sign-in must be what was shown. */
  async #lookInto({ searchParams }: URL): Promise<void> {
    const code = searchParams.get("code");
    if (code === null) return;
    this.#note("code");
    await this.check();
    assert.ok(this.hasBeenIn, "a code without a session");
    const answers = await Promise.all(
      [this.#clients.strict, this.#clients.plain].map(async (client) => ({
        client,
        answer: await client.redeem(code),
      })),
    );
    const redeemed = answers.find(({ answer }) => answer.status === 200);
    if (redeemed === undefined) return;
    // Not `acr`, which has the name by which the client asked, also for a better sign-in.
    const { amr } = decodeJwt(String(json(redeemed.answer)["id_token"]));
    const isTwo = Array.isArray(amr) && amr.includes("mfa");
    const hasStrong = this.tabs.some(({ evidence }) => evidence.has("strong"));
    if (isTwo) assert.ok(hasStrong, "two factors are claimed, and no app was shown");
    if (redeemed.client === this.#clients.strict) assert.ok(isTwo, "less than required");
  }

  /** The invariant: whoever has a session has shown everything that was due, in one interaction. */
  async check(): Promise<void> {
    const db = this.#server.database.knex;
    const sessions = await Session.query(db).where({ userId: this.#user.id }).resultSize();
    if (sessions === 0) return;
    this.hasBeenIn = true;
    const isEnough = this.tabs.some(({ evidence }) => this.enough(evidence));
    assert.ok(isEnough, "somebody is signed in who has not shown what was due");
  }

  enough: (evidence: ReadonlySet<string>) => boolean = () => false;

  #note(line: string): void {
    this.log.push(line.replaceAll(/(?<=interaction\/.{6})[\w-]+/g, ""));
  }
}

/** Whether what was shown in one interaction is enough for a session of this person, by the policy of the issuer. */
function enough(person: (typeof PEOPLE)[number], isRequired: boolean) {
  return (evidence: ReadonlySet<string>): boolean => {
    const has = (...any: string[]) => any.some((each) => evidence.has(each));
    if (!has("pwd", "mail")) return false;
    if (person === "nothing")
      return (
        !isRequired || has("strong", "skipped") || (has("enrolled mailbox") && has("second mail"))
      );
    if (person === "mailbox") return has("pwd") && has("second mail", "strong");
    return has("strong", "recovery");
  };
}

for (const [policy, settings] of Object.entries({
  optional: {},
  required: { SECOND_FACTOR: "required", SECOND_FACTOR_SKIPS: "1", SECOND_FACTOR_BY_EMAIL: "on" },
}))
  describe(`T-70, F-05: a random walk over every page and form, second step ${policy}`, function () {
    this.timeout(600_000);
    let server: TestServer;
    let clients: { plain: RelyingParty; strict: RelyingParty };
    let arrivals = 0;

    before(async () => {
      server = await aProductionServer(settings);
      const register = async (metadata: object) =>
        new RelyingParty(server, await aClient(server, { first_party: true, ...metadata }));
      clients = {
        plain: await register({}),
        strict: await register({ require_second_factor: true }),
      };
    });
    after(() => server?.stop());

    async function aWalker(person: (typeof PEOPLE)[number], knows: Knowledge, seed: number) {
      const db = server.database.knex;
      const user = await aUser(server);
      const app = person.startsWith("app") ? await anApp(server, user.id) : undefined;
      const codes = person === "app and codes" ? await someRecoveryCodes(server, user.id) : [];
      if (person === "mailbox") await addEmailFactor(db, user.id, new Date());
      if (person.startsWith("passkey")) {
        await aPasskey(server, user.id);
        await User.query(db).findById(user.id).patch({ passkeyIsSecondStep: true });
      }
      if (person === "app turned off")
        await MfaFactor.query(db).patch({ disabledAt: new Date() }).where({ userId: user.id });
      const walker = new Walker({ server, clients, user, app, codes, knows, seed });
      walker.enough = enough(person, policy === "required");
      return walker;
    }

    for (const [who, knows] of Object.entries(KNOWLEDGE))
      it(`${who} signs in nowhere before everything that was due was shown`, async () => {
        for (const person of PEOPLE)
          for (let seed = FIRST_SEED; seed < FIRST_SEED + WALKS; seed += 1) {
            const walker = await aWalker(person, knows, seed * 31 + person.length);
            try {
              for (let step = 0; step < STEPS; step += 1) {
                await walker.step();
                await walker.check();
              }
            } catch (error) {
              throw new Error(`${person}, seed ${seed}:\n${walker.log.join("\n")}`, {
                cause: error,
              });
            }
            if (walker.hasBeenIn) arrivals += 1;
          }
      });

    it("and walks do arrive: the invariant is not about nothing", () => {
      assert.ok(arrivals >= 3, `${arrivals} walks ended signed in`);
    });
  });
