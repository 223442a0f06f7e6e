import type { Level } from "../authn/levels.ts";
import { wordsOf } from "../users/claims.ts";
import type { Api } from "./cache.ts";

/** How a token comes about: a person allows it, or a client asks for itself and nobody is there. */
export type Presence = "person" | "nobody";

/**
 * The permissions of an API that a client may have at all; `undefined` where it may not ask for that API. An API
 * that is open to any client is so because a person decides: where nobody is there to, only listed clients get in.
 *
 * @param clientId the key of the client's row.
 */
export function permissionsFor(
  api: Api,
  clientId: string,
  presence: Presence,
): readonly string[] | undefined {
  const all = [...api.permissions.keys()];
  const listed = api.clients.get(clientId);
  if (listed === null) return all;
  if (listed !== undefined) return all.filter((name) => listed.includes(name));
  return api.isOpen && presence === "person" ? all : undefined;
}

/** The permissions that a request asks for, as items of consent; a scope may be a permission of several APIs. */
export function permissionsAskedFor(
  params: Readonly<Record<string, unknown>>,
  apis: Iterable<{ indicator: string; permissions: Iterable<string> }>,
): string[] {
  const words = new Set(wordsOf(params["scope"]));
  return [...apis].flatMap(({ indicator, permissions }) =>
    [...permissions]
      .filter((permission) => words.has(permission))
      .map((permission) => permissionItem(indicator, permission)),
  );
}

/** The level of sign-in that it takes to be given what a request asks for at these APIs (RFC 9470 §1). */
export function levelTaken(
  params: Readonly<Record<string, unknown>>,
  apis: readonly Pick<Api, "levels">[],
): Level {
  let taken: Level = 1;
  for (const scope of wordsOf(params["scope"]))
    for (const { levels } of apis) {
      const level = levels.get(scope) ?? 1;
      if (level > taken) taken = level;
    }
  return taken;
}

/**
 * One permission of one API, as it stands among the scopes that a person decided about. Neither part has a space, and
 * no scope has one, so nothing else looks like it.
 */
export function permissionItem(indicator: string, permission: string): string {
  return `${indicator} ${permission}`;
}

/** What an item of consent is: a permission, or where it names no API a scope of OpenID Connect. */
export function readItem(item: string): { resource: string | undefined; name: string } {
  const [first = "", second] = item.split(" ");
  return second === undefined
    ? { resource: undefined, name: first }
    : { resource: first, name: second };
}
