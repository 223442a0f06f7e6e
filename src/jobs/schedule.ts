import type { CronItem } from "graphile-worker";

/** The jobs that one part of Lintel adds and `createTasks` runs; a name here is stored in the database. */
export type TaskName =
  | "deliver_mail"
  | "write_letter"
  | "deliver_logout"
  | "deliver_ping"
  | "purge"
  | "ensure_partitions"
  | "rotate_keys"
  | "refresh_metadata";

interface Recurring {
  readonly task: TaskName;
  /** Minute, hour, day, month and weekday, in UTC. */
  readonly cron: string;
}

/** What recurs, and when. The hourly ones keep clear of the full hour, when everything else in the world runs. */
const SCHEDULE: readonly Recurring[] = [
  { task: "purge", cron: "*/5 * * * *" },
  { task: "ensure_partitions", cron: "7 * * * *" },
  { task: "rotate_keys", cron: "23 * * * *" },
  { task: "refresh_metadata", cron: "41 * * * *" },
];

/** The schedule as graphile-worker wants it. However many nodes run it, a tick adds one job. */
export function schedule(): CronItem[] {
  return SCHEDULE.map(({ task, cron }) => ({
    task,
    match: cron,
    identifier: task,
    // A node that was away does not catch up, and a job that still waits is not added twice.
    options: {
      backfillPeriod: 0,
      jobKey: task,
      jobKeyMode: "preserve_run_at",
      maxAttempts: 3,
    },
  }));
}
