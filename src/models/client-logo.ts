import { BaseModel } from "./base.ts";

/** The picture of a client as it was last fetched; without one where the address had none that can be shown. */
export class ClientLogo extends BaseModel {
  static override tableName = "client_logos";
  static override idColumn = "clientId";
  /** The key of the client's row. */
  declare clientId: string;
  /** Where it came from; another address makes it worthless. */
  declare logoUri: string;
  declare mediaType: string | null;
  declare bytes: Buffer | null;
  declare fetchedAt: Date;
}
