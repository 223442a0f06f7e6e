import type { Knex } from "knex";
import type { Origin } from "../http/origin.ts";
import { endSessions } from "../devices/sessions.ts";
import type { Seal } from "../keys/seal.ts";
import { sha256 } from "../lib/secret.ts";
import type { IdentityProvider } from "../models/identity-provider.ts";
import { Identity } from "../models/identity.ts";
import { Session, type UpstreamSignIn } from "../models/session.ts";
import type { UpstreamIdentity, UpstreamLogout, UpstreamSession } from "./connector.ts";

/** What is kept of a provider's words for how somebody signed in. */
const LONGEST = 255;
const MOST = 20;

const COLUMN = { table: "sessions", column: "upstream_enc" } as const;

/** What our session keeps of the one that it began with elsewhere; what names it there is sealed. */
export function upstreamOf(
  seal: Seal,
  { identityId, providerId }: { identityId: string; providerId: string },
  { session = {}, acr, amr }: Pick<UpstreamIdentity, "session" | "acr" | "amr">,
): UpstreamSignIn {
  const { index, notAfter } = session;
  return {
    identityId,
    sealed: seal.encrypt(JSON.stringify(session), { ...COLUMN, id: identityId }).toString("base64"),
    ...(index === undefined ? {} : { key: keyOf(providerId, index).toString("base64") }),
    ...(notAfter === undefined ? {} : { notAfter: notAfter * 1000 }),
    ...(acr === undefined ? {} : { acr: acr.slice(0, LONGEST) }),
    ...(amr === undefined ? {} : { amr: amr.slice(0, MOST).map((each) => each.slice(0, LONGEST)) }),
  };
}

/** The session elsewhere that one of ours began with. */
export function openUpstream(
  seal: Seal,
  { identityId, upstreamEnc }: Pick<Session, "identityId" | "upstreamEnc">,
): UpstreamSession | undefined {
  if (identityId === null || upstreamEnc === null) return undefined;
  const opened = seal.decrypt(upstreamEnc, { ...COLUMN, id: identityId });
  return JSON.parse(opened.toString()) as UpstreamSession;
}

/**
 * Ends our sessions that began with one that has ended elsewhere, with everything that was made in them; apps are told
 * (OIDC Back-Channel Logout §2.7, SAML Core §3.7.3.2).
 *
 * @returns how many there were.
 */
export async function endUpstreamSessions(
  knex: Knex,
  { provider, logout, ...origin }: { provider: IdentityProvider; logout: UpstreamLogout } & Origin,
  now: Date,
): Promise<number> {
  const { issuer, subject, index } = logout;
  return knex.transaction(async (trx) => {
    const key = { providerId: provider.id, issuer, subject: subject ?? "" };
    const identity = subject === undefined ? undefined : await Identity.query(trx).findOne(key);
    // A message that names nobody whom we know ends nothing.
    if (identity === undefined && (subject !== undefined || index === undefined)) return 0;
    const found = await Session.query(trx)
      .where({
        ...(index === undefined ? {} : { upstreamKey: keyOf(provider.id, index) }),
        ...(identity === undefined ? {} : { identityId: identity.id }),
      })
      .whereNull("endedAt")
      .where("expiresAt", ">", now);
    let ended = 0;
    for (const [userId, sessions] of Map.groupBy(found, (session) => session.userId ?? ""))
      ended += await endSessions(
        trx,
        sessions.map(({ uid }) => uid),
        { ...origin, actor: { type: "system" }, userId, reason: "upstream_logout" },
        now,
      );
    return ended;
  });
}

/** By what a session elsewhere is found; indexes are unique at one provider only. */
function keyOf(providerId: string, index: string): Buffer {
  return sha256(`${providerId}\0${index}`);
}
