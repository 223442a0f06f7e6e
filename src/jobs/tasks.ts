import type { JobHelpers } from "graphile-worker";
import type { Knex } from "knex";
import { z } from "zod";
import { dropExpiredPartitions, ensurePartitions } from "../database/partitions.ts";
import type { Logger } from "../lib/log.ts";
import { deliverMail, type DeliverNeeds } from "../mail/deliver.ts";
import { purge } from "./purge.ts";
import type { TaskName } from "./schedule.ts";

/** One job's code. What it throws makes the job run again, later and later. */
export type Task = (payload: unknown, helpers: JobHelpers) => Promise<void>;

/** What the jobs need. */
export interface TaskNeeds {
  readonly knex: Knex;
  readonly mail: DeliverNeeds;
  /** Tells one client that a session ended. */
  readonly deliverLogout: (notice: { id: string; attempt: number; last: boolean }) => Promise<void>;
  /** Tells one client that a person decided. */
  readonly deliverPing: (ping: { id: string; attempt: number; last: boolean }) => Promise<void>;
  /** Writes a letter that somebody asked for. */
  readonly writeLetter: (id: string) => Promise<void>;
  readonly rotateKeys: (now: Date) => Promise<unknown>;
  /** Reads the metadata of identity providers again. */
  readonly refreshMetadata: (now: Date) => Promise<void>;
  /** Hears how many expired rows left which table. */
  readonly onPurged?: (table: string, rows: number) => void;
  readonly log: Logger;
}

const delivery = z.object({ id: z.uuid() });

/** Every job there is, by the name it has in the database. */
export function createTasks(needs: TaskNeeds): Record<TaskName, Task> {
  const { knex, mail, deliverLogout, deliverPing, writeLetter, rotateKeys, onPurged, log } = needs;
  return {
    async deliver_mail(payload, { job }) {
      const { id } = delivery.parse(payload);
      const last = job.attempts >= job.max_attempts;
      await deliverMail(knex, mail, { id, attempt: job.attempts, last });
    },

    async deliver_logout(payload, { job }) {
      const { id } = delivery.parse(payload);
      const last = job.attempts >= job.max_attempts;
      await deliverLogout({ id, attempt: job.attempts, last });
    },

    async deliver_ping(payload, { job }) {
      const { id } = delivery.parse(payload);
      const last = job.attempts >= job.max_attempts;
      await deliverPing({ id, attempt: job.attempts, last });
    },

    async write_letter(payload) {
      await writeLetter(delivery.parse(payload).id);
    },

    async purge(_payload, { abortSignal, addJob }) {
      const options = onPurged === undefined ? {} : { onDeleted: onPurged };
      const { deleted, more } = await purge(knex, new Date(), { ...options, signal: abortSignal });
      if (Object.values(deleted).some((rows) => rows > 0)) log.info({ deleted }, "purged");
      // Under the schedule's key, so that the next tick finds this job and adds none.
      if (more) await addJob("purge", {}, { jobKey: "purge", maxAttempts: 3 });
    },

    async ensure_partitions() {
      const now = new Date();
      const made = await ensurePartitions(knex, now);
      const dropped = await dropExpiredPartitions(knex, now);
      if (made.length + dropped.length > 0) log.info({ made, dropped }, "partitions changed");
    },

    async rotate_keys() {
      await rotateKeys(new Date());
    },

    async refresh_metadata() {
      await needs.refreshMetadata(new Date());
    },
  };
}
