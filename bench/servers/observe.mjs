import { Client } from "pg";

/*
 * Loaded into a server under measurement with `--import`: counts the statements that it sends to PostgreSQL, which are
 * its round trips, and tells the number, or what its memory holds, to whoever started it and asks.
 */

let statements = 0;
const { query } = Client.prototype;
Object.assign(Client.prototype, {
  query(...call) {
    statements += 1;
    return Reflect.apply(query, this, call);
  },
});

process.on("message", (what) => {
  process.send?.(what === "memory" ? process.memoryUsage() : statements);
});
// Whoever only counts keeps nobody running.
process.channel?.unref();
