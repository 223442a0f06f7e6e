import { randomInt } from "node:crypto";
import type { Pool } from "undici";
import {
  APIS,
  CLIENTS,
  PERMISSION,
  SIGNED_OUT_URI,
  type Caller,
  type Person,
  type Site,
} from "../world.ts";
import { Browser, send, written, type Answer, type Sent } from "./browser.ts";
import { proofOf } from "./caller.ts";
import {
  authorization,
  authorizationPath,
  codeIn,
  redeem,
  signIn,
  tokens,
  type Tokens,
} from "./visitor.ts";
import { Wire } from "./wire.ts";

/** A server as the load generator knows it: where it is, and who is signed in there. */
export interface Place {
  readonly site: Site;
  readonly pool: Pool;
  /** Applications that act for themselves. */
  readonly machines: readonly Caller[];
  /** Browsers of people who are signed in, and what each uses; as many as there are slots, or many more. */
  readonly signedIn: { readonly browser: Browser; readonly caller: Caller }[];
  readonly held: { tokens: Pick<Tokens, "access_token" | "refresh_token">; caller: Caller }[];
}

const WEB: Caller = { id: CLIENTS.web };

/** Goes to a server, as its crowd if there is one. */
export function placeAt(site: Site, pool: Pool): Place {
  const { callers, members } = site.crowd ?? { callers: [{ id: CLIENTS.machine }], members: [] };
  const place: Place = { site, pool, machines: callers, signedIn: [], held: [] };
  for (const { cookie, accessToken, refreshToken, caller: index } of members) {
    const caller = callers[index] ?? WEB;
    place.signedIn.push({ browser: new Browser(pool, "10.0.0.1", cookie), caller });
    place.held.push({ tokens: { access_token: accessToken, refresh_token: refreshToken }, caller });
  }
  return place;
}

/** Has every application of a crowd ask once, so that no round pays for the first time. */
export async function greet({ site, pool }: Place): Promise<void> {
  for (const caller of site.crowd?.callers ?? []) await askForItself(pool, caller);
}

/** Asks once, and throws where the answer is not the right one; `false` where nothing is left to ask with. */
type Ask = (slot: number) => Promise<unknown>;

/**
 * Something that clients or people do over and over again.
 *
 * @param operations how many times it may be done in the coming round: what is used up is made before.
 */
export type Flow = (place: Place, slots: number, operations: number) => Promise<Ask>;

/** The same over and over, written once. */
function repeated({ pool }: Place, sent: Sent, status = 200): Ask {
  const request = written(sent);
  return async () => assertIs(status, sent, await send(pool, request));
}

const get =
  (path: string): Flow =>
  async ({ site }, slots) => {
    const wires = Array.from({ length: slots }, () => new Wire(site.origin, path));
    return async (slot) => wires[slot]?.ask();
  };

const clientCredentials = (resource: string, id = CLIENTS.machine): Flow => {
  return async (place) => {
    const { headers } = await proofOf({ id });
    const path = `${id === CLIENTS.edwards ? place.site.edwards : ""}/token`;
    const fields = { grant_type: "client_credentials", resource, scope: PERMISSION };
    return repeated(place, { path, fields, headers });
  };
};

/** Every flow, by the name under which it is reported. */
export const FLOWS = {
  discovery: get("/.well-known/openid-configuration"),
  jwks: get("/jwks"),
  client_credentials_opaque: async (place) => () =>
    askForItself(place.pool, place.machines[randomInt(place.machines.length)] ?? WEB),
  client_credentials_jwt: clientCredentials(APIS.ES256),
  client_credentials_jwt_rs256: clientCredentials(APIS.RS256),
  client_credentials_jwt_eddsa: clientCredentials(APIS.EdDSA, CLIENTS.edwards),
  code_exchange: async (place, slots, operations) => {
    await signInAll(place, slots);
    const codes: { code: string; caller: Caller }[] = [];
    await each(slots, operations, async (slot) => {
      codes.push(await silentCode(place, slot, slots));
    });
    return async () => {
      const { code, caller } = codes.pop() ?? {};
      return code !== undefined && caller !== undefined && redeem(place.pool, caller, code);
    };
  },
  refresh: async (place, slots) => {
    await tokensForAll(place, slots);
    return async (slot) => {
      const one = oneOf(place.held, slot, slots);
      one.tokens = await tokens(place.pool, one.caller, {
        grant_type: "refresh_token",
        refresh_token: one.tokens.refresh_token,
      });
    };
  },
  userinfo: async (place, slots) => {
    await tokensForAll(place, slots);
    return (slot) => {
      const { access_token: token } = oneOf(place.held, slot, slots).tokens;
      const headers = { authorization: `Bearer ${token}` };
      return expect200(place.pool, { path: "/me", headers });
    };
  },
  introspection: async (place, slots) => {
    await tokensForAll(place, slots);
    return async (slot) => {
      const { tokens: own, caller } = oneOf(place.held, slot, slots);
      const { headers, fields } = await proofOf(caller);
      const sent = { path: "/token/introspection", headers };
      const asked = { token: own.access_token, ...fields };
      return expect200(place.pool, { ...sent, fields: asked }, '"active":true');
    };
  },
  par: async (place) => {
    const { headers } = await proofOf(WEB);
    return repeated(place, { path: "/request", fields: authorization(), headers }, 201);
  },
  silent_sign_in: async (place, slots) => {
    await signInAll(place, slots);
    return (slot) => silentCode(place, slot, slots);
  },
  password_sign_in: (place, slots) => signInAgain(place, typists(place), slots),
  passkey_sign_in: (place, slots) => signInAgain(place, holders(place), slots),
  logout: async (place, slots, operations) => {
    const people = holders(place);
    const browsers: Browser[] = [];
    await each(slots, Math.min(operations, slots * 8), async (slot) => {
      const person = personAt(people, slot);
      const browser = new Browser(place.pool, person.address);
      await signIn(browser, person);
      browsers.push(browser);
    });
    return async () => {
      const browser = browsers.pop();
      return browser !== undefined && signOut(browser);
    };
  },
} as const satisfies Record<string, Flow>;
export type FlowName = keyof typeof FLOWS;
export const FLOW_NAMES = Object.keys(FLOWS) as FlowName[];

async function askForItself(pool: Pool, caller: Caller): Promise<void> {
  const { headers, fields } = await proofOf(caller);
  const asked = { grant_type: "client_credentials", ...fields };
  await expect200(pool, { path: "/token", fields: asked, headers });
}

async function expect200(pool: Pool, sent: Sent, text = ""): Promise<void> {
  assertIs(200, sent, await send(pool, written(sent)), text);
}

function assertIs(status: number, { path }: Sent, answer: Answer, text = ""): void {
  if (answer.status !== status || !answer.text.includes(text))
    throw new Error(`${path}: ${answer.status} ${answer.text.slice(0, 300)}`);
}

/** Does something a number of times, `slots` at a time. */
async function each(slots: number, times: number, fn: Ask): Promise<void> {
  let left = times;
  const work = async (slot: number): Promise<void> => {
    while (left > 0) {
      left -= 1;
      await fn(slot);
    }
  };
  await Promise.all(Array.from({ length: slots }, (_, slot) => work(slot)));
}

/**
 * What a lot of applications and people ask in a day, as one flow: mostly tokens and questions about them, and now and
 * then somebody who signs in or out.
 */
export const mixed: Flow = async (place, slots) => {
  const exchange: Ask = async (slot) => {
    const { code, caller } = await silentCode(place, slot, slots);
    return redeem(place.pool, caller, code);
  };
  const leave: Ask = async (slot) => {
    const person = personAt(typists(place), slot);
    const browser = new Browser(place.pool, person.address);
    await signIn(browser, person);
    return signOut(browser);
  };
  const shares: [number, Ask][] = [
    [30, exchange],
    [1, leave],
  ];
  for (const [name, share] of Object.entries(SHARES))
    shares.push([share, await FLOWS[name as FlowName](place, slots, 0)]);
  const dice = shares.flatMap(([share, ask]) => Array.from({ length: share }, () => ask));
  return (slot) => dice[randomInt(dice.length)]?.(slot) ?? Promise.resolve();
};

/** Of a thousand requests, or thereabouts. */
const SHARES: Partial<Record<FlowName, number>> = {
  discovery: 20,
  jwks: 20,
  client_credentials_opaque: 100,
  client_credentials_jwt: 250,
  client_credentials_jwt_rs256: 20,
  refresh: 150,
  userinfo: 150,
  introspection: 150,
  par: 20,
  silent_sign_in: 80,
  passkey_sign_in: 5,
  password_sign_in: 2,
};

const typists = ({ site }: Place) => site.people.filter(({ passkey }) => passkey === undefined);
const holders = ({ site }: Place) => site.people.filter(({ passkey }) => passkey !== undefined);

function personAt(people: readonly Person[], slot: number): Person {
  const person = people[slot % people.length];
  if (person === undefined) throw new Error("there is nobody to sign in");
  return person;
}

/** One of those that only this slot uses: it, and every so many after it. */
function oneOf<T>(all: readonly T[], slot: number, slots: number): T {
  const one = all[slot + slots * randomInt(Math.ceil((all.length - slot) / slots))];
  if (one === undefined) throw new Error("nobody is signed in");
  return one;
}

/** Signs somebody in at every slot that has nobody yet. */
async function signInAll(place: Place, slots: number): Promise<void> {
  const people = holders(place);
  const missing = Array.from({ length: slots }, (_, slot) => slot).slice(place.signedIn.length);
  await Promise.all(
    missing.map(async (slot) => {
      const person = personAt(people, slot);
      const browser = new Browser(place.pool, person.address);
      await signIn(browser, person);
      place.signedIn[slot] = { browser, caller: WEB };
    }),
  );
}

async function tokensForAll(place: Place, slots: number): Promise<void> {
  await signInAll(place, slots);
  const missing = Array.from({ length: slots }, (_, slot) => slot).slice(place.held.length);
  await Promise.all(
    missing.map(async (slot) => {
      const { code, caller } = await silentCode(place, slot, slots);
      place.held[slot] = { tokens: await redeem(place.pool, caller, code), caller };
    }),
  );
}

async function silentCode(
  { signedIn }: Place,
  slot: number,
  slots: number,
): Promise<{ code: string; caller: Caller }> {
  const { browser, caller } = oneOf(signedIn, slot, slots);
  const path = authorizationPath({ prompt: "none", client_id: caller.id });
  return { code: codeIn(await browser.peek(path)), caller };
}

/** Whole sign-ins with consent, in browsers that the same people have signed in with before. */
async function signInAgain(place: Place, people: readonly Person[], slots: number): Promise<Ask> {
  const browsers = Array.from({ length: slots }, (_, slot) => {
    const person = personAt(people, slot);
    return { person, browser: new Browser(place.pool, person.address) };
  });
  await Promise.all(browsers.map(({ browser, person }) => signIn(browser, person)));
  return async (slot) => {
    const { browser, person } = browsers[slot] ?? browsers[0] ?? {};
    if (browser === undefined || person === undefined) throw new Error("there is nobody");
    browser.forgetSession();
    await signIn(browser, person);
  };
}

async function signOut(browser: Browser): Promise<void> {
  const query = new URLSearchParams({
    client_id: CLIENTS.web,
    post_logout_redirect_uri: SIGNED_OUT_URI,
  });
  const page = await browser.open(`/session/end?${query.toString()}`);
  const xsrf = /name="xsrf" value="([^"]+)"/.exec(page.text)?.[1] ?? "";
  const answer = await browser.submit({ xsrf, logout: "yes" }, "/session/end/confirm");
  if (answer.location?.startsWith(SIGNED_OUT_URI) !== true)
    throw new Error(`sign-out ends at ${answer.status} ${answer.text.slice(0, 300)}`);
}
