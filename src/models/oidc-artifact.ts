import type { TransactionOrKnex } from "objection";
import { lookUp } from "../database/look-up.ts";
import type { Statement } from "../database/statement.ts";
import { BaseModel } from "./base.ts";
import { TOKEN_CONTEXT_COLUMNS, USER_COLUMN, type TokenContextRow } from "./token-context.ts";

/** The engine's models that are inserted once, read, perhaps consumed once, and forgotten. */
const ARTIFACT_MODELS = {
  AccessToken: 1,
  ClientCredentials: 2,
  PushedAuthorizationRequest: 3,
} as const;
export type ArtifactModel = keyof typeof ARTIFACT_MODELS;

/** Longest life of an artifact; together with {@link KEPT} it bounds the partitions a look-up touches. */
const MAX_LIFETIME = "interval '1 day'";
/** Rows are found this long after they ended: a pushed request is consumed at the end of its interaction. */
const KEPT = "interval '2 hours'";
const IN_TIME = `t.expires_at > CAST(:now AS timestamptz) - ${KEPT}
  AND t.expires_at <= CAST(:now AS timestamptz) + ${MAX_LIFETIME}`;
const WHERE = `t.id_hash = :idHash AND t.model = :model AND ${IN_TIME}`;

/** An artifact, unless its grant no longer covers it. */
const selectArtifact = (columns: string) =>
  lookUp(
    `SELECT t.model, t.payload, t.expires_at, t.consumed_at, ${columns}
   FROM oidc_artifacts t
   LEFT JOIN oauth_grants g ON g.id = t.grant_id
   LEFT JOIN sessions s ON s.uid = t.payload->>'sessionUid' AND s.ended_at IS NULL
   WHERE t.id_hash = k.idHash AND ${IN_TIME}
     AND (t.grant_id IS NULL OR (g.id IS NOT NULL AND g.revoked_at IS NULL
       AND (g.tokens_valid_after IS NULL OR t.created_at > g.tokens_valid_after)))`,
    { idHash: "bytea" },
  );
const FIND = selectArtifact(TOKEN_CONTEXT_COLUMNS);
const FIND_WITH_USER = selectArtifact(`${TOKEN_CONTEXT_COLUMNS}, ${USER_COLUMN}`);

interface OidcArtifactRow extends TokenContextRow {
  /** One of {@link ARTIFACT_MODELS}. */
  model: number;
  payload: Record<string, unknown>;
  expires_at: Date;
  consumed_at: Date | null;
}

/** An opaque access token, a client-credentials token or a pushed authorization request, by its hash. */
export class OidcArtifact extends BaseModel {
  static override tableName = "oidc_artifacts";
  static override idColumn = ["idHash", "expiresAt"];
  static override jsonAttributes = ["payload"];
  declare idHash: Buffer;
  declare expiresAt: Date;
  declare model: number;
  declare grantId: string | null;
  declare createdAt: Date;
  declare consumedAt: Date | null;
  declare payload: Record<string, unknown>;

  /** The write that adds an artifact. */
  static addition(artifact: {
    idHash: Buffer;
    model: ArtifactModel;
    expiresAt: Date;
    grantId: string | null;
    payload: Record<string, unknown>;
  }): Statement {
    return {
      sql: `INSERT INTO oidc_artifacts (id_hash, model, expires_at, grant_id, payload)
            SELECT k.idHash, k.model, k.expiresAt, k.grantId, k.payload FROM :each`,
      each: {
        idHash: "bytea",
        model: "smallint",
        expiresAt: "timestamptz",
        grantId: "uuid",
        payload: "jsonb",
      },
      bindings: {
        ...artifact,
        model: ARTIFACT_MODELS[artifact.model],
        payload: JSON.stringify(artifact.payload),
      },
    };
  }

  /** An artifact of whatever model, unless its grant no longer covers it. */
  static async find(
    db: TransactionOrKnex,
    idHash: Buffer,
    now: Date,
  ): Promise<OidcArtifactRow | undefined> {
    return OidcArtifact.lookUp(db, FIND, { idHash, now });
  }

  /** The same with the user whose it is. */
  static async findWithUser(
    db: TransactionOrKnex,
    idHash: Buffer,
    now: Date,
  ): Promise<OidcArtifactRow | undefined> {
    return OidcArtifact.lookUp(db, FIND_WITH_USER, { idHash, now });
  }

  static is({ model }: OidcArtifactRow, expected: ArtifactModel): boolean {
    return model === ARTIFACT_MODELS[expected];
  }

  /** Spends the artifact. Of any number of callers exactly one gets `true`. */
  static async consume(
    db: TransactionOrKnex,
    model: ArtifactModel,
    idHash: Buffer,
    now: Date,
  ): Promise<boolean> {
    const rows = await OidcArtifact.statement(
      db,
      `UPDATE oidc_artifacts t SET consumed_at = :now WHERE ${WHERE} AND t.consumed_at IS NULL RETURNING 1`,
      { idHash, model: ARTIFACT_MODELS[model], now },
    );
    return rows.length === 1;
  }

  static async remove(
    db: TransactionOrKnex,
    model: ArtifactModel,
    idHash: Buffer,
    now: Date,
  ): Promise<void> {
    await OidcArtifact.statement(db, `DELETE FROM oidc_artifacts t WHERE ${WHERE}`, {
      idHash,
      model: ARTIFACT_MODELS[model],
      now,
    });
  }
}
