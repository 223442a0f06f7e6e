import { Model, snakeCaseMappers, type TransactionOrKnex } from "objection";
import { find, type LookUp } from "../database/look-up.ts";
import { runStatement } from "../database/statement.ts";
import { uuidv7 } from "../lib/uuid.ts";

const { parse: inCamelCase } = snakeCaseMappers();

const TIMES = /(?:At|After)$/;
const BYTES = /(?:Handle|Hash|Enc)$/;

/** What every model shares. Properties are camelCase, columns snake_case; `database/connect.ts` maps between them. */
export class BaseModel extends Model {
  static override useLimitInFirst = true;
  /** Relations are fetched one after the other: a transaction runs one statement at a time. */
  static readonly concurrency = 1;

  /**
   * Runs a statement that is written out and prepared, for the few places where what is decided cannot be said with
   * the query builder, or where building costs more than running. `:name` in the text, which must be a constant, stands
   * for a binding.
   */
  static statement<Row>(
    db: TransactionOrKnex,
    sql: string,
    bindings: Readonly<Record<string, unknown>>,
  ): Promise<Row[]> {
    return runStatement<Row>(db, { sql, bindings });
  }

  /** Looks up one row by its key, in one statement with others who ask for another of its kind at the same time. */
  static lookUp<Row extends object>(
    db: TransactionOrKnex,
    lookUp: LookUp,
    bindings: Readonly<Record<string, unknown>>,
  ): Promise<Row | undefined> {
    return find<Row>(db, lookUp, bindings);
  }

  /** The model of a row that a written-out statement selected, whose columns are in snake case. */
  static fromRow<M extends Model>(this: new () => M, row: object): M {
    return (this as unknown as typeof BaseModel).fromDatabaseJson(inCamelCase({ ...row })) as M;
  }

  /** The same of a row that was selected as JSON, which has no times and no bytes: their names tell them. */
  static fromJsonRow<M extends Model>(this: new () => M, row: object): M {
    const properties: Record<string, unknown> = inCamelCase(row);
    for (const name of Object.keys(properties)) {
      const value = properties[name];
      if (typeof value !== "string") continue;
      if (TIMES.test(name)) properties[name] = new Date(value);
      else if (BYTES.test(name)) properties[name] = Buffer.from(value.slice(2), "hex");
    }
    return (this as unknown as typeof BaseModel).fromDatabaseJson(properties) as M;
  }
}

/** A model whose key is a UUIDv7 that we make, unless the caller already has one. */
export class IdentifiedModel extends BaseModel {
  declare id: string;

  override $beforeInsert(): void {
    this.id ??= uuidv7();
  }
}
