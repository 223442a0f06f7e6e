import { Client } from "pg";
import { parentOf, usageOf } from "./processes.ts";

/** A database under measurement, seen from beside. */
export class Database {
  readonly #client: Client;
  /** The server's first process, where it runs on this machine. */
  readonly #postmaster: number | undefined;

  private constructor(client: Client, postmaster: number | undefined) {
    this.#client = client;
    this.#postmaster = postmaster;
  }

  static async watch(url: string): Promise<Database> {
    const client = new Client({ connectionString: url, application_name: "lintel bench" });
    await client.connect();
    const { rows } = await client.query<{ pid: number }>("SELECT pg_backend_pid() AS pid");
    const backend = parentOf(rows[0]?.pid ?? 0);
    // Of a server elsewhere the number is another's, or nobody's, here.
    return new Database(client, backend?.name === "postgres" ? backend.parent : undefined);
  }

  /** CPU microseconds of the whole server, bytes of write-ahead log, and blocks read, since it started. */
  async read(): Promise<{ cpu: number | undefined; wal: number; blocks: number }> {
    const { rows } = await this.#client.query<{ wal: string; blocks: string }>(
      `SELECT pg_current_wal_insert_lsn() - '0/0' AS wal, blks_read AS blocks
         FROM pg_stat_database WHERE datname = current_database()`,
    );
    const cpu = this.#postmaster === undefined ? undefined : usageOf(this.#postmaster)?.cpu;
    return { cpu, wal: Number(rows[0]?.wal), blocks: Number(rows[0]?.blocks) };
  }

  async version(): Promise<string> {
    const { rows } = await this.#client.query<{ server_version: string }>("SHOW server_version");
    return rows[0]?.server_version ?? "";
  }

  async close(): Promise<void> {
    await this.#client.end();
  }
}

/** Makes a database of its own on a server, so that a run leaves nothing behind. */
export async function temporaryDatabase(
  server: string,
  label: string,
): Promise<{ url: string; drop(): Promise<void> }> {
  const name = `lintel_bench_${process.pid}_${label}`;
  const run = async (sql: string): Promise<void> => {
    const client = new Client({ connectionString: server, application_name: "lintel bench" });
    await client.connect();
    await client.query(sql).finally(() => client.end());
  };
  await run(`CREATE DATABASE ${name}`);
  const url = new URL(server);
  url.pathname = `/${name}`;
  return { url: url.href, drop: () => run(`DROP DATABASE IF EXISTS ${name} WITH (FORCE)`) };
}
