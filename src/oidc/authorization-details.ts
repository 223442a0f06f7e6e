import {
  errors,
  type AuthorizationDetailsForIntrospection,
  type KoaContextWithOIDC,
  type RichAuthorizationRequestsActiveConfiguration,
  type RichAuthorizationRequestsDisabledConfiguration,
} from "oidc-provider";
import {
  areWithin,
  detailsIn,
  isWithin,
  problemOf,
  type AuthorizationDetail,
} from "../consents/authorization-details.ts";
import type { TypeDefinition } from "../consents/authorization-types.ts";

type Feature =
  | RichAuthorizationRequestsDisabledConfiguration
  | (RichAuthorizationRequestsActiveConfiguration & {
      authorizationDetailsForIntrospection: AuthorizationDetailsForIntrospection;
    });

const { InvalidAuthorizationDetails } = errors;

/** Most details of one request: a page of more is not read. */
const MOST = 10;

/**
 * Rich authorization requests for the engine (RFC 9396), on where types are registered. A detail is granted by a
 * person who saw it, in the request that asks for it, and in no other way.
 */
export function richAuthorizationRequests(types: ReadonlyMap<string, TypeDefinition>): Feature {
  if (types.size === 0) return { enabled: false };
  return {
    enabled: true,
    types: Object.fromEntries(
      [...types].map(([type, definition]) => [
        type,
        {
          validate(ctx: KoaContextWithOIDC, detail: AuthorizationDetail) {
            const count = detailsIn(ctx.oidc.params ?? {}).length;
            const problem =
              count > MOST ? `there are more than ${MOST}` : problemOf(detail, definition);
            if (problem !== undefined)
              throw new InvalidAuthorizationDetails(`authorization_details ${type}: ${problem}`);
          },
        },
      ]),
    ),
    authorizationDetailsForGrantSource(ctx) {
      const granted = ctx.oidc.entities.Grant?.rar ?? [];
      return detailsIn(ctx.oidc.params ?? {}).filter((asked) =>
        granted.some((each) => isWithin(asked, each)),
      );
    },
    authorizationDetailsForAccessToken(ctx, _token, source) {
      const granted = source?.rar ?? [];
      const asked = detailsIn(ctx.oidc.params ?? {});
      if (asked.length === 0) return [...granted];
      if (!areWithin(asked, granted))
        throw new InvalidAuthorizationDetails(
          "authorization_details must be within those that a person allowed",
        );
      return asked;
    },
    authorizationDetailsForIntrospection: (_ctx, token) => token.rar,
  };
}
