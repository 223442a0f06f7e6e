import { IdentifiedModel } from "./base.ts";

/** Something that can be allowed at an API; `name` is a scope of its tokens (RFC 6749 §3.3). */
export class Permission extends IdentifiedModel {
  static override tableName = "permissions";
  declare apiResourceId: string;
  declare name: string;
  /** What it allows, in words for the consent page. */
  declare description: string;
  /** The level of sign-in that it takes to be given it. */
  declare level: 1 | 2 | 3;
  declare createdAt: Date;
}
