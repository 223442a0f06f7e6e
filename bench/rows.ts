import { createHash, createHmac } from "node:crypto";
import { Client } from "pg";
import { openSeal, type Seal } from "../src/keys/seal.ts";
import { connect } from "../src/database/connect.ts";
import { cookieKey } from "../src/oidc/provider.ts";
import { RefreshTokenFormat } from "../src/oidc/refresh-token-format.ts";
import { CLIENTS, type Caller, type Crowd, type Member } from "./world.ts";

/*
 * Fills a database with people: every row is a copy of one that Lintel wrote when somebody really signed in, under
 * other keys, which are made of the row's number, so that whoever knows the number knows the cookie and the tokens.
 */

/** As many of the people have browsers; each round meets others of them. */
const SAMPLE = 20_000;
const SESSION_COOKIE = "__Host-lintel_session";
/** Milliseconds: the people came one every five seconds, up to now. */
const APART = 5000;

/** What a table takes, and how much of it is index. */
export interface TableSize {
  readonly rows: number;
  readonly bytes: number;
  readonly index_bytes: number;
}

/** The template's identifiers, which its copies replace wherever they occur in what is kept as JSON. */
interface Names {
  user_id: string;
  uid: string;
  sid: string;
  grant_id: string;
}

/** What of a row differs from its template, by column, as SQL over `k`, which {@link keys} makes. */
type Changes = Readonly<Record<string, string>>;

interface Copied {
  readonly table: string;
  /** Which row is the template, as SQL over the template's names. */
  readonly where: string;
  readonly changes: Changes;
  /** Left to the purge if its rows say that they ended. */
  readonly expires?: boolean;
}

const text = (label: string): string => `md5('${label} ' || i)`;
const hash = (value: string): string => `sha256(convert_to(${value}, 'UTF8'))`;
/** As Lintel makes keys: a version 7 UUID of the moment when the person came. */
const timed = (label: string): string =>
  `(lpad(to_hex(now_ms - (n - i) * ${APART}::bigint), 12, '0') || '7' || substr(${text(label)}, 1, 3) || '8' || substr(${text(label)}, 4, 15))::uuid`;

/** Of every number the keys of all its rows. */
const KEYS = `SELECT i, ${timed("user")} AS user_id, ${timed("grant")} AS grant_id,
    ${timed("device")} AS device_id, substr(${text("session")}, 1, 21) AS uid, substr(${text("sid")}, 1, 21) AS sid,
    c.id AS client_uuid, c.client_id AS client_name, n, now_ms
  FROM (SELECT $1::int AS n, $8::bigint AS now_ms) AS whole
  CROSS JOIN LATERAL generate_series(1, n) AS i
  JOIN (SELECT *, row_number() OVER (ORDER BY client_id) - 1 AS k
          FROM oauth_clients WHERE client_id = ANY ($2)) AS c ON c.k = i % cardinality($2)`;

const USER = { user_id: "k.user_id" };
const HOLDER = "user_id = $3";

const COPIED: readonly Copied[] = [
  {
    table: "users",
    where: "id = $3",
    changes: {
      id: "k.user_id",
      webauthn_user_handle: "sha512(convert_to(k.user_id::text, 'UTF8'))",
    },
  },
  {
    table: "user_emails",
    where: HOLDER,
    changes: {
      ...USER,
      id: "gen_random_uuid()",
      email: "'somebody-' || i || '@example.com'",
      email_norm: "'somebody-' || i || '@example.com'",
    },
  },
  { table: "user_profiles", where: HOLDER, changes: USER },
  { table: "user_passwords", where: HOLDER, changes: USER },
  {
    table: "user_devices",
    where: HOLDER,
    changes: { ...USER, id: "k.device_id", cookie_hash: hash(text("device")) },
  },
  {
    table: "sessions",
    where: HOLDER,
    changes: {
      ...USER,
      uid: "k.uid",
      cookie_hash: hash(text("cookie")),
      device_id: "k.device_id",
      // Otherwise few people, whom every round meets again, would cost fewer writes than many.
      last_active_at: "now() + interval '1 day'",
    },
    expires: true,
  },
  {
    table: "oauth_grants",
    where: "id = $4",
    changes: { ...USER, id: "k.grant_id", client_id: "k.client_uuid", session_uid: "k.uid" },
    expires: true,
  },
  {
    table: "oauth_consents",
    where: HOLDER,
    changes: { ...USER, id: "gen_random_uuid()", client_id: "k.client_uuid" },
  },
  {
    table: "refresh_tokens",
    where: "grant_id = $4",
    changes: {
      ...USER,
      id: `${text("family")}::uuid`,
      grant_id: "k.grant_id",
      client_id: "k.client_uuid",
      session_uid: "k.uid",
    },
    expires: true,
  },
  {
    table: "oidc_artifacts",
    where: "grant_id = $4",
    changes: {
      id_hash: hash(text("token")),
      grant_id: "k.grant_id",
      expires_at: "now() + interval '3 hours' + random() * interval '20 hours'",
    },
  },
  {
    table: "audit_events",
    where: HOLDER,
    changes: {
      ...USER,
      id: timed("event"),
      occurred_at: "now() - random() * interval '25 days'",
      client_id: "k.client_uuid",
      session_uid: "k.uid",
    },
  },
];

/** A database in which somebody signed in at the client {@link CLIENTS.web}, and then a great many more. */
export class Rows {
  readonly #client: Client;
  readonly #callers: readonly Caller[];
  readonly #names: Names;
  readonly #startedAt = Date.now();

  private constructor(client: Client, callers: readonly Caller[], names: Names) {
    this.#client = client;
    this.#callers = callers;
    this.#names = names;
  }

  /** @param url of a database of which the role is superuser: references are not checked row by row. */
  static async open(url: string, callers: readonly Caller[]): Promise<Rows> {
    const client = new Client({ connectionString: url, application_name: "lintel bench" });
    await client.connect();
    await client.query("SET session_replication_role = replica");
    await client.query("SET maintenance_work_mem = '1GB'");
    const { rows } = await client.query<Names>(
      `SELECT s.user_id, s.uid, s.authorizations->$1->>'sid' AS sid, s.authorizations->$1->>'grantId' AS grant_id
         FROM sessions s WHERE s.authorizations ? $1 LIMIT 1`,
      [CLIENTS.web],
    );
    const [names] = rows;
    if (names === undefined) throw new Error("nobody has signed in");
    return new Rows(client, callers, names);
  }

  /** Makes `count` people, and all that each of them has. */
  async fill(count: number): Promise<Record<string, TableSize>> {
    const sizes: Record<string, TableSize> = {};
    for (const copied of COPIED) {
      await this.#withoutIndexes(copied.table, () => this.#copy(copied, count));
      sizes[copied.table] = await this.#sizeOf(copied.table);
    }
    await this.#client.query("CHECKPOINT");
    return sizes;
  }

  /** Adds as many sessions, grants and families that ended long ago, and has Lintel sweep them away. */
  async litter(count: number): Promise<void> {
    for (const copied of COPIED) {
      if (copied.expires !== true) continue;
      const changes: Changes = {
        ...copied.changes,
        ...(copied.table === "sessions"
          ? { uid: "gen_random_uuid()::text", cookie_hash: hash("gen_random_uuid()::text") }
          : { id: "gen_random_uuid()" }),
        gc_on: "current_date - 1",
      };
      await this.#copy({ ...copied, changes }, count);
    }
    await this.#client.query("SELECT graphile_worker.add_job('purge', job_key := 'purge')");
  }

  async close(): Promise<void> {
    await this.#client.end();
  }

  async #copy({ table, where, changes }: Copied, count: number): Promise<void> {
    const { rows } = await this.#client.query<{ name: string; type: string }>(
      `SELECT attname AS name, format_type(atttypid, NULL) AS type FROM pg_attribute
        WHERE attrelid = $1::regclass AND attnum > 0 AND NOT attisdropped AND attgenerated = ''`,
      [table],
    );
    const columns = rows.map(({ name }) => name);
    const values = rows.map(
      ({ name, type }) => changes[name] ?? (type === "jsonb" ? renamed(name) : `t.${name}`),
    );
    const { user_id: userId, uid, sid, grant_id: grantId } = this.#names;
    const ids = this.#callers.map(({ id }) => id);
    await this.#client.query(
      `INSERT INTO ${table} (${columns.join(", ")})
       SELECT ${values.join(", ")}
         FROM (${KEYS}) AS k CROSS JOIN (SELECT * FROM ${table} WHERE ${where} LIMIT 1) AS t
        CROSS JOIN (SELECT $3::uuid AS user_id, $4::uuid AS grant_id, $5::text AS uid, $6::text AS sid, $7::text AS client) AS name`,
      [count, ids, userId, grantId, uid, sid, CLIENTS.web, this.#startedAt],
    );
  }

  /** Makes indexes after the rows, sorted, which takes a fraction of the time. */
  async #withoutIndexes(table: string, work: () => Promise<void>): Promise<void> {
    const { rows } = await this.#client.query<{ name: string }>(
      `SELECT c.oid::regclass::text AS name FROM pg_class c LEFT JOIN pg_inherits i ON i.inhrelid = c.oid
        WHERE c.relkind = 'r' AND (c.oid = $1::regclass OR i.inhparent = $1::regclass)`,
      [table],
    );
    const leaves = rows.map(({ name }) => name);
    await this.#client.query(
      "UPDATE pg_index SET indisready = false, indisvalid = false WHERE indrelid = ANY ($1::regclass[])",
      [leaves],
    );
    await work();
    for (const leaf of leaves) {
      await this.#client.query(`REINDEX TABLE ${leaf}`);
      await this.#client.query(`VACUUM (FREEZE, ANALYZE) ${leaf}`);
    }
    if (leaves[0] !== table) await this.#client.query(`ANALYZE ${table}`);
  }

  async #sizeOf(table: string): Promise<TableSize> {
    const { rows } = await this.#client.query<Record<keyof TableSize, string>>(
      `SELECT (SELECT count(*) FROM ${table}) AS rows, sum(pg_total_relation_size(relid)) AS bytes,
              sum(pg_indexes_size(relid)) AS index_bytes
         FROM (SELECT $1::regclass AS relid UNION SELECT relid FROM pg_partition_tree($1)) AS parts`,
      [table],
    );
    const size = rows[0];
    return {
      rows: Number(size?.rows),
      bytes: Number(size?.bytes),
      index_bytes: Number(size?.index_bytes),
    };
  }
}

/** A column of JSON under the names of the copy. */
function renamed(column: string): string {
  const pairs = [
    ["name.user_id::text", "k.user_id::text"],
    ["name.grant_id::text", "k.grant_id::text"],
    ["name.uid", "k.uid"],
    ["name.sid", "k.sid"],
    ["name.client", "k.client_name"],
  ];
  const replaced = pairs.reduce(
    (from, [old, now]) => `replace(${from}, ${old}, ${now})`,
    `t.${column}::text`,
  );
  return `${replaced}::jsonb`;
}

/** The browsers and the tokens of as many people as a run meets, taken at random. */
export async function crowdOf(
  url: string,
  {
    count,
    callers,
    encryptionKey,
  }: { count: number; callers: readonly Caller[]; encryptionKey: Buffer },
): Promise<Crowd> {
  const knex = connect({ url, applicationName: "lintel bench" });
  try {
    const seal = await openSeal(knex, { encryptionKey });
    const byName = callers.toSorted((a, b) => (a.id < b.id ? -1 : 1));
    const numbers = Array.from({ length: Math.min(count, SAMPLE) }, (_, index) =>
      count <= SAMPLE ? index + 1 : 1 + Math.floor(Math.random() * count),
    );
    const members = [...new Set(numbers)].map(memberOf(seal, callers.length));
    return { callers: byName, members };
  } finally {
    await knex.destroy();
  }
}

function memberOf(seal: Seal, callers: number): (i: number) => Member {
  const key = cookieKey(seal);
  const format = new RefreshTokenFormat(seal.derive("refresh-token"));
  const named = (label: string, i: number) =>
    createHash("md5").update(`${label} ${i}`).digest("hex");
  return (i) => {
    const pair = `${SESSION_COOKIE}=${named("cookie", i)}`;
    const signature = createHmac("sha1", key).update(pair).digest("base64url");
    const family = named("family", i).replace(/^(.{8})(.{4})(.{4})(.{4})/, "$1-$2-$3-$4-");
    return {
      cookie: `${pair}; ${SESSION_COOKIE}.sig=${signature}`,
      accessToken: named("token", i),
      refreshToken: format.write({ family, counter: 0 }),
      caller: i % callers,
    };
  };
}
