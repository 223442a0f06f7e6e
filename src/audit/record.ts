import type { Knex } from "knex";
import type { TransactionOrKnex } from "objection";
import { runStatement, type Statement } from "../database/statement.ts";
import { defer } from "../database/transaction.ts";
import { AuditEvent } from "../models/audit-event.ts";
import { EVENTS, type EventDetails, type EventType } from "./events.ts";

/** Something that happened, as its handler tells it. */
export interface NewEvent<Type extends EventType = EventType> {
  readonly type: Type;
  /** Who did it; `id` is a row id, never a name or an address. */
  readonly actor: { readonly type: AuditEvent["actorType"]; readonly id?: string | undefined };
  /** The user it happened to. */
  readonly userId?: string | undefined;
  /** The row id of the client it happened with, not its public `client_id`. */
  readonly clientId?: string | undefined;
  readonly sessionUid?: string | undefined;
  /** What it was done to, where that is neither the user nor the client. */
  readonly target?: { readonly type: string; readonly id: string } | undefined;
  readonly requestId?: string | undefined;
  /** The network that the request came from, never the whole address: `192.0.2.0/24`. */
  readonly ipPrefix?: string | undefined;
  readonly details?: EventDetails<Type> | undefined;
}

/** The longest text that a detail may be; the log is no place for what people send. */
const MAX_TEXT_LENGTH = 200;

/**
 * Records an event. Called with the transaction of the change that it tells of, so that there is neither a change
 * without its record nor a record without its change; refusals come with a transaction of their own.
 */
export async function record<Type extends EventType>(
  db: TransactionOrKnex,
  event: NewEvent<Type>,
): Promise<void> {
  await runStatement(db, adding(event));
}

/** Records an event of the unit of work that runs, with its commit: where nothing in it asks for a transaction before. */
export async function recordAtEnd<Type extends EventType>(
  knex: Knex,
  event: NewEvent<Type>,
): Promise<void> {
  await defer(knex, adding(event));
}

function adding(event: NewEvent): Statement {
  const { type, actor, target } = event;
  return AuditEvent.adding({
    type,
    outcome: EVENTS[type].outcome,
    actorType: actor.type,
    actorId: actor.id ?? null,
    userId: event.userId ?? null,
    clientId: event.clientId ?? null,
    sessionUid: event.sessionUid ?? null,
    targetType: target?.type ?? null,
    targetId: target?.id ?? null,
    requestId: event.requestId ?? null,
    ipPrefix: event.ipPrefix ?? null,
    details: checkedDetails(type, event.details ?? {}),
  });
}

/** Holds back what the types cannot: a field from a wider object, or a text that grew. */
function checkedDetails(type: EventType, details: object): Record<string, unknown> {
  const allowed: readonly string[] = EVENTS[type].details;
  const checked: Record<string, unknown> = {};
  for (const [field, value] of Object.entries(details)) {
    if (!allowed.includes(field)) throw new Error(`events of type ${type} have no detail ${field}`);
    if (value !== undefined)
      checked[field] = Array.isArray(value) ? value.map(shorten) : shorten(value);
  }
  return checked;
}

function shorten(value: unknown): unknown {
  return typeof value === "string" ? value.slice(0, MAX_TEXT_LENGTH) : value;
}
