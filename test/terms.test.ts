import assert from "node:assert/strict";
import { TermsAcceptance } from "../src/models/terms.ts";
import {
  currentTerms,
  decideTerms,
  inLanguage,
  listTerms,
  publishTerms,
  undecidedTerms,
  withdrawTerms,
} from "../src/terms/terms.ts";
import { createUser } from "../src/users/users.ts";
import { testDatabase, type TestDatabase } from "./support/database.ts";

describe("terms", () => {
  let database: TestDatabase;
  let userId: string;

  before(async () => {
    database = await testDatabase();
    const user = await createUser(
      database.knex,
      { email: "ada@example.com", verified: true, via: "admin" },
      new Date(),
    );
    userId = user.id;
  });
  after(() => database.drop());
  beforeEach(() => database.knex.raw("TRUNCATE terms_acceptances, terms_texts, terms_versions"));

  const publish = (document: string, isMandatory = true) =>
    publishTerms(
      database.knex,
      {
        document,
        isMandatory,
        texts: [
          { locale: "en", title: `${document} in English`, body: "Be kind." },
          { locale: "de", title: `${document} auf Deutsch`, body: "Sei nett." },
        ],
      },
      new Date(),
    );
  const due = async () =>
    (await undecidedTerms(database.knex, userId, await currentTerms(database.knex))).map(
      ({ document, version }) => `${document} ${version}`,
    );
  const decide = (versionId: string, accepted: boolean) =>
    decideTerms(database.knex, userId, [{ versionId, accepted, locale: "de" }], new Date());

  it("are asked for until somebody agrees, and again when there is a new version", async () => {
    const first = await publish("terms");
    assert.deepEqual(await due(), ["terms 1"]);
    await decide(first.id, true);
    assert.deepEqual(await due(), []);
    await publish("terms");
    assert.deepEqual(await due(), ["terms 2"]);
  });

  it("count in their latest version only, and not at all once withdrawn", async () => {
    await publish("terms");
    await publish("terms");
    await publish("privacy");
    assert.deepEqual(await due(), ["privacy 1", "terms 2"]);
    await withdrawTerms(database.knex, "terms", new Date());
    assert.deepEqual(await due(), ["privacy 1"]);
    await assert.rejects(withdrawTerms(database.knex, "terms", new Date()), {
      code: "invalid_terms",
    });
    assert.equal((await listTerms(database.knex)).length, 3);
  });

  it("take no for an answer where they are not mandatory, and only there", async () => {
    const [terms, newsletter] = [await publish("terms"), await publish("newsletter", false)];
    assert.deepEqual(await due(), ["terms 1", "newsletter 1"]);
    await decide(terms.id, false);
    await decide(newsletter.id, false);
    assert.deepEqual(await due(), ["terms 1"]);
  });

  it("keep a yes with version, language and time, and never turn it into a no", async () => {
    const { id } = await publish("terms");
    await decide(id, true);
    await decide(id, false);
    const [kept] = await TermsAcceptance.query(database.knex);
    assert.deepEqual([kept?.versionId, kept?.accepted, kept?.locale], [id, true, "de"]);
    assert.ok(kept?.decidedAt instanceof Date);
  });

  it("are shown in the reader's language, or else in English", async () => {
    await publish("terms");
    const [version] = await undecidedTerms(
      database.knex,
      userId,
      await currentTerms(database.knex),
    );
    assert.ok(version);
    assert.equal(inLanguage(version, "de-AT").title, "terms auf Deutsch");
    assert.deepEqual(inLanguage(version, "fr").locale, "en");
  });

  it("are published by two at the same time as two versions or not at all", async () => {
    const results = await Promise.allSettled([publish("terms"), publish("terms")]);
    const versions = (await listTerms(database.knex)).map(({ version }) => version);
    assert.deepEqual(versions.length, new Set(versions).size);
    assert.ok(results.some(({ status }) => status === "fulfilled"));
  });

  it("have a name that a command line can carry, and a text", async () => {
    await assert.rejects(publish("Our Terms"), { code: "invalid_terms" });
    await assert.rejects(
      publishTerms(database.knex, { document: "empty", isMandatory: true, texts: [] }, new Date()),
      { code: "invalid_terms" },
    );
  });
});
