import type { Knex } from "knex";
import type { Adapter } from "oidc-provider";
import type { Issuer } from "../../issuers.ts";
import type { Seal } from "../../keys/seal.ts";
import type { ClientCache } from "../client-cache.ts";
import type { ClientDocuments } from "../client-documents.ts";
import type { RegistrationPolicy } from "../registration-policy.ts";
import type { RefreshTokenFormat } from "../refresh-token-format.ts";
import { ArtifactAdapter } from "./artifact-adapter.ts";
import { AuthorizationCodeAdapter } from "./authorization-code-adapter.ts";
import { ClientAdapter } from "./client-adapter.ts";
import { DecoupledAdapter } from "./decoupled-adapter.ts";
import { GrantAdapter } from "./grant-adapter.ts";
import { GrantRevocation } from "./grant-revocation.ts";
import { InteractionAdapter } from "./interaction-adapter.ts";
import { RefreshTokenAdapter } from "./refresh-token-adapter.ts";
import {
  InitialAccessTokenAdapter,
  RegistrationAccessTokenAdapter,
} from "./registration-adapters.ts";
import { ReplayAdapter } from "./replay-adapter.ts";
import { SessionAdapter } from "./session-adapter.ts";

/** What the adapters of one engine share. */
export interface Storage {
  knex: Knex;
  seal: Seal;
  clientCache: ClientCache;
  /** Clients that nobody registered, where the issuer takes them. */
  clientDocuments?: ClientDocuments | undefined;
  refreshTokenFormat: RefreshTokenFormat;
  /** Whose clients there are. */
  issuer: RegistrationPolicy & Pick<Issuer, "preset">;
}

/** Says which adapter keeps which of the engine's models. */
export function adapterFactory(storage: Storage): (model: string) => Adapter {
  const { knex, seal, refreshTokenFormat } = storage;
  const revocation = new GrantRevocation(knex);
  return (model) => {
    switch (model) {
      case "AccessToken":
      case "ClientCredentials":
      case "PushedAuthorizationRequest":
        return new ArtifactAdapter(model, knex, revocation);
      case "AuthorizationCode":
        return new AuthorizationCodeAdapter(knex, revocation);
      case "DeviceCode":
        return new DecoupledAdapter("device", storage, revocation);
      case "BackchannelAuthenticationRequest":
        return new DecoupledAdapter("ciba", storage, revocation);
      case "RefreshToken":
        return new RefreshTokenAdapter(knex, refreshTokenFormat, revocation);
      case "Session":
        return new SessionAdapter(knex, seal);
      case "Grant":
        return new GrantAdapter(knex, revocation);
      case "Interaction":
        return new InteractionAdapter(knex, seal);
      case "ReplayDetection":
        return new ReplayAdapter(knex);
      case "Client":
        return new ClientAdapter(storage);
      case "InitialAccessToken":
        return new InitialAccessTokenAdapter(knex, storage.issuer.name);
      case "RegistrationAccessToken":
        return new RegistrationAccessTokenAdapter(knex);
      default:
        throw new Error(`${model} belongs to a feature that is off`);
    }
  };
}
