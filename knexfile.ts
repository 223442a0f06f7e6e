import type { Knex } from "knex";

/** For the knex command line (`knex migrate:status`, `knex migrate:make`); Lintel itself does not read it. */
const config: Knex.Config = {
  client: "pg",
  connection: process.env["DATABASE_URL"] ?? "postgresql://localhost/lintel",
  migrations: { directory: "./migrations", extension: "ts", loadExtensions: [".ts"] },
};

export default config;
