import { UniqueViolationError, type TransactionOrKnex } from "objection";
import { record } from "../audit/record.ts";
import { errors } from "../errors.ts";
import { TermsAcceptance, TermsText, TermsVersion } from "../models/terms.ts";

/** A version of a document in one language, as a person reads it. */
export interface TermsToRead {
  readonly versionId: string;
  readonly document: string;
  readonly isMandatory: boolean;
  /** The language that was found for the reader. */
  readonly locale: string;
  readonly title: string;
  readonly summary: string | undefined;
  readonly body: string;
}

/** A new version, in every language in which it exists. */
export interface NewTerms {
  readonly document: string;
  readonly isMandatory: boolean;
  readonly texts: readonly {
    readonly locale: string;
    readonly title: string;
    readonly summary?: string | undefined;
    readonly body: string;
  }[];
}

/** A decision about a version. */
export interface TermsDecision {
  readonly versionId: string;
  readonly accepted: boolean;
  readonly locale: string;
}

const DOCUMENT = /^[a-z][a-z0-9-]{0,39}$/;
const SYSTEM = { type: "system" } as const;

/**
 * Publishes a version; from now on everybody is asked for it at their next sign-in. What was published never changes,
 * so that what people agreed to stays what they read.
 *
 * @throws AppError `invalid_terms`
 */
export async function publishTerms(
  db: TransactionOrKnex,
  { document, isMandatory, texts }: NewTerms,
  now: Date,
): Promise<TermsVersion> {
  if (!DOCUMENT.test(document))
    throw errors.invalidTerms("A document is named by up to 40 small letters, digits and hyphens.");
  if (texts.length === 0) throw errors.invalidTerms("Give its text in one language at least.");
  const last = await TermsVersion.query(db).where({ document }).orderBy("version", "desc").first();
  try {
    const version = await TermsVersion.query(db).insertAndFetch({
      document,
      version: (last?.version ?? 0) + 1,
      isMandatory,
      publishedAt: now,
    });
    for (const text of texts)
      await TermsText.query(db).insert({
        versionId: version.id,
        ...text,
        summary: text.summary ?? null,
      });
    await record(db, {
      type: "terms.published",
      actor: SYSTEM,
      target: { type: "terms_version", id: version.id },
      details: { document, version: version.version },
    });
    return version;
  } catch (error) {
    if (error instanceof UniqueViolationError)
      throw errors.invalidTerms("Somebody else has just published a version. Look at it first.");
    throw error;
  }
}

/**
 * Takes a document back: nobody is asked for it any more. What people decided stays on file.
 *
 * @throws AppError `invalid_terms` where there is none.
 */
export async function withdrawTerms(
  db: TransactionOrKnex,
  document: string,
  now: Date,
): Promise<void> {
  const withdrawn = await TermsVersion.query(db)
    .patch({ withdrawnAt: now })
    .where({ document, withdrawnAt: null });
  if (withdrawn === 0) throw errors.invalidTerms(`There is no document ${document} to withdraw.`);
  await record(db, { type: "terms.withdrawn", actor: SYSTEM, details: { document } });
}

/** Every version there was, the newest first. */
export async function listTerms(db: TransactionOrKnex): Promise<TermsVersion[]> {
  return TermsVersion.query(db)
    .withGraphFetched("texts")
    .orderBy([
      { column: "publishedAt", order: "desc" },
      { column: "id", order: "desc" },
    ]);
}

/** What counts today: of each document its latest version, unless it was withdrawn; the mandatory ones first. */
export async function currentTerms(db: TransactionOrKnex): Promise<TermsVersion[]> {
  return TermsVersion.query(db)
    .withGraphFetched("texts")
    .whereNull("withdrawnAt")
    .whereRaw(
      "version = (SELECT max(latest.version) FROM terms_versions latest WHERE latest.document = terms_versions.document)",
    )
    .orderBy([{ column: "isMandatory", order: "desc" }, "document"]);
}

/** What of it somebody has still to decide about. Of a mandatory one only a yes is a decision. */
export async function undecidedTerms(
  db: TransactionOrKnex,
  userId: string,
  current: readonly TermsVersion[],
): Promise<TermsVersion[]> {
  if (current.length === 0) return [];
  const decided = await TermsAcceptance.query(db)
    .where({ userId })
    .whereIn(
      "versionId",
      current.map(({ id }) => id),
    );
  return current.filter(
    ({ id, isMandatory }) =>
      !decided.some(({ versionId, accepted }) => versionId === id && (accepted || !isMandatory)),
  );
}

/** A version in the reader's language, or in the first in which it was published. */
export function inLanguage(version: TermsVersion, locale: string): TermsToRead {
  const texts = (version.texts ?? []).toSorted((a, b) => a.locale.localeCompare(b.locale));
  const language = locale.split("-")[0];
  const text =
    texts.find((each) => each.locale === locale) ??
    texts.find((each) => each.locale.split("-")[0] === language) ??
    texts.find((each) => each.locale === "en") ??
    texts[0];
  return {
    versionId: version.id,
    document: version.document,
    isMandatory: version.isMandatory,
    locale: text?.locale ?? locale,
    title: text?.title ?? version.document,
    summary: text?.summary ?? undefined,
    body: text?.body ?? "",
  };
}

/** Writes decisions down; a yes to a mandatory version is never taken back. */
export async function decideTerms(
  db: TransactionOrKnex,
  userId: string,
  decisions: readonly TermsDecision[],
  now: Date,
): Promise<void> {
  for (const { versionId, accepted, locale } of decisions) {
    await TermsAcceptance.statement(
      db,
      `INSERT INTO terms_acceptances AS t (user_id, version_id, accepted, locale, decided_at)
       VALUES (:userId, :versionId, :accepted, :locale, :now)
       ON CONFLICT (user_id, version_id) DO UPDATE
         SET accepted = EXCLUDED.accepted, locale = EXCLUDED.locale, decided_at = EXCLUDED.decided_at
       WHERE NOT t.accepted`,
      { userId, versionId, accepted, locale, now },
    );
    await record(db, {
      type: accepted ? "terms.accepted" : "terms.declined",
      actor: { type: "user", id: userId },
      userId,
      target: { type: "terms_version", id: versionId },
      details: { locale },
    });
  }
}
