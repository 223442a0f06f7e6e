import type { SessionAuthorizations } from "./session.ts";
import { selectUser, type UserJson } from "./user.ts";

/** The columns of a grant that was read beside something of the same user's, and perhaps the user. */
export interface GrantRow {
  grant_id: string | null;
  grant_user_id: string | null;
  grant_payload: Record<string, unknown> | null;
  grant_expires_at: Date | null;
  /** Where it was asked for, by {@link selectUser}. */
  account?: UserJson | null;
}

/** The columns that a look-up of a token joins: its grant, and the session it may be bound to. */
export interface TokenContextRow extends GrantRow {
  session_uid: string | null;
  session_user_id: string | null;
  session_authorizations: SessionAuthorizations | null;
  session_expires_at: Date | null;
  session_logged_in_at: Date | null;
}

/** Selects {@link GrantRow} for a grant aliased `g`. */
export const GRANT_COLUMNS = `
  g.id AS grant_id, g.user_id AS grant_user_id, g.payload AS grant_payload, g.expires_at AS grant_expires_at`;

/** Selects {@link TokenContextRow} for a token with its grant aliased `g` and its session aliased `s`. */
export const TOKEN_CONTEXT_COLUMNS = `${GRANT_COLUMNS},
  s.uid AS session_uid, s.user_id AS session_user_id, s.authorizations AS session_authorizations,
  s.expires_at AS session_expires_at, s.logged_in_at AS session_logged_in_at`;

/** Selects the user of a grant aliased `g`, for whoever is about to ask for them. */
export const USER_COLUMN = `${selectUser("g.user_id")} AS account`;

const COVERS = `g.revoked_at IS NULL
   AND (g.tokens_valid_after IS NULL OR t.created_at > g.tokens_valid_after)`;

/** Joins the grant of a token aliased `t`; a token that the grant no longer covers does not appear. */
export const GRANT_JOIN = `
  JOIN oauth_grants g ON g.id = t.grant_id AND ${COVERS}`;

/** Whether the grant of a token aliased `t` still covers it. Looked up by its key, however many tokens there are. */
export const IS_COVERED = `(SELECT ${COVERS} FROM oauth_grants g WHERE g.id = t.grant_id)`;
