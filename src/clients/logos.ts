import type { Knex } from "knex";
import { ClientLogo } from "../models/client-logo.ts";
import { OAuthClient } from "../models/oauth-client.ts";

const DAY = 86_400_000;
/** How long nobody asks again for what could not be had. */
const PAUSE = 600_000;
/** A picture with more pixels on a side is made to exhaust whoever decodes it. */
const MOST_PIXELS = 2_048;
const MEDIA_TYPES: Readonly<Record<string, string>> = {
  png: "image/png",
  jpg: "image/jpeg",
  webp: "image/webp",
  gif: "image/gif",
};

/** What is being fetched in this process: visitors who ask at once wait for one answer, and few answers are waited for. */
const underway = new Map<string, Promise<Logo | undefined>>();
const MOST_AT_ONCE = 4;
/** Where a picture says how large it is; looking further is work that somebody else chose. */
const HEAD = 64 * 1024;

interface LogoNeeds {
  readonly knex: Knex;
  readonly fetch: typeof fetch;
}

/** A picture that can be shown. */
export interface Logo {
  readonly mediaType: string;
  readonly bytes: Buffer;
}

/**
 * The logo of a client (RFC 7591 §2, `logo_uri`), fetched by us and kept for a day, so that the client does not learn
 * who looks at our pages and cannot show each visitor another picture (T-42). What cannot be fetched is the last one,
 * if there was one, or none. SVG is a program, and never shown.
 */
export async function findLogo(
  { knex, fetch: send }: LogoNeeds,
  client: { issuer: string; clientId: string },
  now: Date,
): Promise<Logo | undefined> {
  // Of a client that is known by its address alone no page shows one.
  const found = { ...client, fromDocument: false };
  const row = await OAuthClient.query(knex).findOne(found).whereNull("deletedAt");
  const uri = row?.metadata["logo_uri"];
  if (row === undefined || typeof uri !== "string") return undefined;
  const known = await ClientLogo.query(knex).findById(row.id);
  const kept = known?.logoUri === uri ? known : undefined;
  if (kept !== undefined && now.getTime() - kept.fetchedAt.getTime() < (kept.bytes ? DAY : PAUSE))
    return shown(kept);
  const running = underway.get(row.id);
  if (running !== undefined || underway.size >= MOST_AT_ONCE) return running ?? shown(kept);
  const update = refetch({ knex, send }, { clientId: row.id, uri, kept, now });
  underway.set(row.id, update);
  return update.finally(() => underway.delete(row.id));
}

async function refetch(
  { knex, send }: { knex: Knex; send: typeof fetch },
  about: { clientId: string; uri: string; kept: ClientLogo | undefined; now: Date },
): Promise<Logo | undefined> {
  const { clientId, uri, kept, now } = about;
  const fetched = (await fetchLogo(send, uri)) ?? shown(kept);
  const { mediaType = null, bytes = null } = fetched ?? {};
  await ClientLogo.query(knex)
    .insert({ clientId, logoUri: uri, mediaType, bytes, fetchedAt: now })
    .onConflict("clientId")
    .merge();
  return fetched;
}

function shown(row: ClientLogo | undefined): Logo | undefined {
  if (!row?.mediaType || row.bytes === null) return undefined;
  return { mediaType: row.mediaType, bytes: row.bytes };
}

/** The type is what the bytes are and not what is said of them. */
async function fetchLogo(send: typeof fetch, uri: string): Promise<Logo | undefined> {
  try {
    const answer = await send(uri, { redirect: "follow", headers: { accept: "image/*" } });
    if (!answer.ok) return undefined;
    const bytes = Buffer.from(await answer.arrayBuffer());
    const { imageSize } = await import("image-size");
    const { type = "", width, height } = imageSize(bytes.subarray(0, HEAD));
    const mediaType = MEDIA_TYPES[type];
    if (mediaType === undefined || Math.max(width, height) > MOST_PIXELS) return undefined;
    return { mediaType, bytes };
  } catch {
    // The network, a rule of safeFetch, or bytes that are no picture: there is none.
    return undefined;
  }
}
