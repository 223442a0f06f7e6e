import assert from "node:assert/strict";
import { UserPassword } from "../../src/models/user-password.ts";
import { issueSetupLink } from "../../src/setup/setup-link.ts";
import { importUser } from "../../src/users/import.ts";
import { RelyingParty, response, walk, WebBrowser, type Answer } from "../support/rp.ts";
import { aClient, aServer, aUser, PASSWORD, type TestServer } from "../support/server.ts";

describe("passwords", () => {
  let server: TestServer;
  let app: RelyingParty;
  let setupPath: string;
  before(async () => {
    server = await aServer();
    app = new RelyingParty(server, await aClient(server, { first_party: true }));
    const link = await issueSetupLink(server.database.knex, server.deps.config, new Date());
    setupPath = new URL(link).pathname;
  });
  after(() => server.stop());

  const FORM = { email: "grace@wanderlust.example", display_name: "Grace Hopper" };
  /** What the form says of a password for a new account; the form is never all right, so that it can be sent again. */
  async function refusalOf(password: string): Promise<string | undefined> {
    const answer = await new WebBrowser(server).submit(setupPath, {
      ...FORM,
      email: password === PASSWORD ? "" : FORM.email,
      password,
    });
    assert.equal(answer.status, 422, password);
    return /id="password-error">([^<]+)/.exec(answer.text)?.[1];
  }
  async function adviceOn(password: string, more: Record<string, string> = {}): Promise<string> {
    const answer = await new WebBrowser(server).submit("/password-advice", { password, ...more });
    assert.equal(answer.status, 200);
    assert.match(String(answer.headers["content-type"]), /^text\/plain/);
    assert.equal(answer.headers["cache-control"], "no-store");
    return answer.text;
  }
  async function userWith(password: string): Promise<{ id: string; email: string }> {
    const user = await aUser(server);
    const hash = await server.deps.passwords.hash(password);
    await UserPassword.query(server.database.knex).patch({ hash }).where({ userId: user.id });
    return user;
  }
  const signIn = (email: string, password: string): Promise<Answer> =>
    walk(server, new WebBrowser(server), app.authorization(), { email, password });
  async function signsIn(email: string, password: string): Promise<boolean> {
    return response(await signIn(email, password).catch(() => assert.fail()))["code"] !== undefined;
  }
  async function isRefused(email: string, password: string): Promise<boolean> {
    const answer = await signIn(email, password);
    return answer.status === 401 && answer.text.includes("password is not right");
  }

  it("have fifteen characters or more where they are the only factor (SP 800-63B-4 §3.1.1.2)", async () => {
    assert.match((await refusalOf("7 chars")) ?? "", /at least 15 characters/);
    assert.match((await refusalOf("14 characters.")) ?? "", /at least 15 characters/);
    assert.equal(await refusalOf(PASSWORD), undefined);
  });

  it("count each code point as one character (SP 800-63B-4 §3.1.1.2)", async () => {
    assert.match((await refusalOf("😀🎉🚗🌳🐎🔋📎🌊🦊🍀🎻🧭🪁🛶")) ?? "", /at least 15/);
    assert.match(await adviceOn("😀🎉🚗🌳🐎🔋📎🌊🦊🍀🎻🧭🪁🛶"), /^1 more character needed$/);
    assert.match(await adviceOn("😀🎉🚗🌳🐎🔋📎🌊🦊🍀🎻🧭🪁🛶🏕"), /^Good/);
  });

  it("may have 64 and 256 characters, all of which are verified (SP 800-63B-4 §3.1.1.2)", async () => {
    for (const length of [64, 256]) {
      const password = Array.from({ length }, (_, n) => String.fromCodePoint(0x4e00 + n)).join("");
      const { email } = await userWith(password);
      assert.equal(await signsIn(email, password), true);
      assert.equal(await isRefused(email, password.slice(0, -1)), true);
      assert.equal(await isRefused(email, `${password.slice(0, -1)}x`), true);
    }
  });

  it("of 257 characters are refused, and not cut (SP 800-63B-4 §3.1.1.2)", async () => {
    const long = Array.from({ length: 257 }, (_, n) =>
      String.fromCodePoint(0x61 + ((n * n) % 24)),
    ).join("");
    assert.match((await refusalOf(long)) ?? "", /at most 256 characters/);
    const { email } = await userWith(long.slice(0, 256));
    assert.equal(await isRefused(email, long), true);
  });

  it("may have any character and spaces, and no kind is demanded (SP 800-63B-4 §3.1.1.2)", async () => {
    for (const password of [
      "lowercase words only",
      "   spaces   around   ",
      "934751860247139",
      "~`!@#$%^&*()_-+={[}]|",
      "пароль из простых слов",
      "😀🎉🚗🌳🐎🔋📎🌊🦊🍀🎻🧭🪁🛶🏕",
    ])
      assert.match(await adviceOn(password), /^(?:Good|Strong)/, password);
  });

  it("are the same from a keyboard that composes characters differently (SP 800-63B-4 §3.1.1.2)", async () => {
    const password = "Grüße aus Köln 🎉 und Ängelholm";
    const { email } = await userWith(password.normalize("NFC"));
    assert.equal(await signsIn(email, password.normalize("NFD")), true);
    assert.equal(await isRefused(email, password.toLowerCase()), true);
    assert.equal(await isRefused(email, ` ${password}`), true);
  });

  it("that are on a blocklist are refused, and the person hears why (SP 800-63B-4 §3.1.1.2)", async () => {
    for (const password of [
      "1qaz2wsx3edc4rfv",
      "ThisIsAPassword",
      "aaaaaaaaaaaaaaaa",
      "qwertyuiopasdfghjkl",
    ])
      assert.match(
        (await refusalOf(password)) ?? "",
        /among the first that attackers try/,
        password,
      );
    for (const password of ["password1", "Password1!"])
      assert.match(await adviceOn(password, { min: "8" }), /among the first/, password);
  });

  it("that are the service, the person or their address are refused, with the reason (SP 800-63B-4 §3.1.1.2)", async () => {
    for (const password of [
      "Lintel lintel lintel",
      "grace@wanderlust.example2026",
      "GraceHopper-2026",
      "Wanderlust 2026!",
    ])
      assert.match((await refusalOf(password)) ?? "", /do not count/, password);
  });

  it("are asked for without a hint or a question about the person (SP 800-63B-4 §3.1.1.2)", async () => {
    const page = await new WebBrowser(server).open(setupPath);
    const fields = [...page.text.matchAll(/<input[^>]* name="([^"]+)"/g)].map(([, name]) => name);
    assert.deepEqual(fields, ["email", "display_name", "password"]);
  });

  it("can be pasted, shown and made by a password manager (SP 800-63B-4 §3.1.1.2)", async () => {
    const page = await new WebBrowser(server).open(setupPath);
    const [field = ""] = /<input[^>]* id="password"[^>]*>/.exec(page.text) ?? [];
    assert.match(field, / autocomplete="new-password"/);
    assert.match(field, / minlength="15" passwordrules="minlength: 15;"/);
    assert.doesNotMatch(field, /maxlength|pattern|onpaste/);
    assert.match(page.text, /<button type="button"[^>]*aria-controls="password"/);
  });

  it("never run out: an old one signs in as a new one does (SP 800-63B-4 §3.1.1.2)", async () => {
    const { id, email } = await userWith(PASSWORD);
    const changedAt = new Date("2001-01-01T00:00:00Z");
    await UserPassword.query(server.database.knex).patch({ changedAt }).where({ userId: id });
    assert.equal(await signsIn(email, PASSWORD), true);
  });

  it("are kept as salted Argon2id hashes (SP 800-63B-4 §3.1.1.2, RFC 9106 §4)", async () => {
    const hashes = await Promise.all([1, 2].map(() => server.deps.passwords.hash(PASSWORD)));
    for (const hash of hashes)
      assert.match(
        hash,
        /^\$argon2id\$v=19\$m=19456,t=2,p=1\$|^\$argon2id\$v=19\$m=19456,p=1,t=2\$/,
      );
    assert.notEqual(hashes[0], hashes[1]);
  });

  it("from another system sign in, and are kept as ours from then on (T-61)", async () => {
    const { knex } = server.database;
    const line = {
      email: "django@example.com",
      email_verified: true,
      password_hash: "bcrypt_sha256$$2b$05$dYSEcdDuyTpRdlGMkgVNo.dtYB/ofNCKVhy3JLByNSOc/eGX18oHG",
    };
    const { id } = await knex.transaction((trx) =>
      importUser(trx, JSON.stringify(line), new Date()),
    );
    assert.equal(await isRefused(line.email, PASSWORD), true);
    assert.equal(await signsIn(line.email, "Schöne Grüße, Ada 🎉"), true);
    const stored = await UserPassword.query(knex).findById(id);
    assert.match(stored?.hash ?? "", /^\$argon2id\$/);
    assert.equal(await signsIn(line.email, "Schöne Grüße, Ada 🎉"), true);
  });

  describe("while they are typed", () => {
    it("get advice in the language of the page, and none while the field is empty", async () => {
      assert.equal(await adviceOn(""), "");
      assert.equal(await adviceOn("quiet river"), "4 more characters needed");
      assert.match(await adviceOn("quiet river sun"), /^Good\./);
      assert.match(await adviceOn("quiet river sun under old bridges"), /^Strong/);
      const german = await new WebBrowser(server).submit("/password-advice?ui_lang=de", {
        password: "quiet river",
      });
      assert.equal(german.text, "Noch 4 Zeichen nötig");
    });

    it("are judged with what else is in the form", async () => {
      assert.match(await adviceOn("wanderlust and us"), /^Good/);
      const about = await adviceOn("wanderlust and us", FORM);
      assert.match(about, /do not count/);
    });

    it("are in no log, and no other site can ask", async () => {
      await adviceOn("a password nobody else has");
      assert.equal(server.logged().includes("a password nobody"), false);
      const answer = await fetch(`${server.issuer}/password-advice`, {
        method: "POST",
        headers: { origin: "https://evil.example" },
        body: new URLSearchParams({ password: "x" }),
      });
      assert.equal(answer.status, 403);
      assert.equal((await fetch(`${server.issuer}/password-advice`)).status, 405);
    });

    it("cannot be asked about with a length that no policy has", async () => {
      for (const min of ["0", "7", "16", "1e9", "x"]) {
        const answer = await new WebBrowser(server).submit("/password-advice", {
          password: "x",
          min,
        });
        assert.equal(answer.status, 400, min);
      }
    });
  });
});
