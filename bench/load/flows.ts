import type { Pool } from "undici";
import { APIS, CLIENTS, PERMISSION, SIGNED_OUT_URI, type Person, type Site } from "../world.ts";
import { Browser, send, type Sent } from "./browser.ts";
import {
  authorization,
  authorizationPath,
  basic,
  codeIn,
  redeem,
  signIn,
  tokens,
  type Tokens,
} from "./visitor.ts";

/** A server as the load generator knows it: where it is, and who is signed in there. */
export interface Place {
  readonly site: Site;
  readonly pool: Pool;
  /** Signed in by passkey, one for each slot. */
  readonly signedIn: Browser[];
  readonly tokens: Tokens[];
}

/** Asks once, and throws where the answer is not the right one; `false` where nothing is left to ask with. */
type Ask = (slot: number) => Promise<unknown>;

/**
 * Something that clients or people do over and over again.
 *
 * @param operations how many times it may be done in the coming round: what is used up is made before.
 */
type Flow = (place: Place, slots: number, operations: number) => Promise<Ask>;

const repeat =
  (sent: (place: Place) => Sent): Flow =>
  async (place) => {
    const request = sent(place);
    return () => expect200(place.pool, request);
  };

const clientCredentials = (fields: Record<string, string>, clientId = CLIENTS.machine): Flow =>
  repeat(({ site }) => ({
    path: `${clientId === CLIENTS.edwards ? site.edwards : ""}/token`,
    fields: { grant_type: "client_credentials", ...fields },
    headers: basic(clientId),
  }));
const jwtFor = (resource: string) => ({ resource, scope: PERMISSION });

/** Every flow, by the name under which it is reported. */
export const FLOWS = {
  discovery: repeat(() => ({ path: "/.well-known/openid-configuration" })),
  jwks: repeat(() => ({ path: "/jwks" })),
  client_credentials_opaque: clientCredentials({}),
  client_credentials_jwt: clientCredentials(jwtFor(APIS.ES256)),
  client_credentials_jwt_rs256: clientCredentials(jwtFor(APIS.RS256)),
  client_credentials_jwt_eddsa: clientCredentials(jwtFor(APIS.EdDSA), CLIENTS.edwards),
  code_exchange: async (place, slots, operations) => {
    await signInAll(place, slots);
    const codes: string[] = [];
    await each(slots, operations, async (slot) => {
      codes.push(await silentCode(place, slot));
    });
    return async () => {
      const code = codes.pop();
      return code !== undefined && redeem(place.pool, code);
    };
  },
  refresh: async (place, slots) => {
    await tokensForAll(place, slots);
    return async (slot) => {
      const { refresh_token: before = "" } = place.tokens[slot] ?? {};
      place.tokens[slot] = await tokens(place.pool, {
        grant_type: "refresh_token",
        refresh_token: before,
      });
    };
  },
  userinfo: async (place, slots) => {
    await tokensForAll(place, slots);
    const headers = place.tokens.map(({ access_token: token }) => ({
      authorization: `Bearer ${token}`,
    }));
    return (slot) => expect200(place.pool, { path: "/me", headers: headers[slot] ?? {} });
  },
  introspection: async (place, slots) => {
    await tokensForAll(place, slots);
    const headers = basic(CLIENTS.web);
    return (slot) => {
      const fields = { token: place.tokens[slot]?.access_token ?? "" };
      return expect200(
        place.pool,
        { path: "/token/introspection", fields, headers },
        '"active":true',
      );
    };
  },
  par: async ({ pool }) => {
    const sent = { path: "/request", fields: authorization(), headers: basic(CLIENTS.web) };
    return () => expect(pool, sent, 201);
  },
  silent_sign_in: async (place, slots) => {
    await signInAll(place, slots);
    return (slot) => silentCode(place, slot);
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

async function expect200(pool: Pool, sent: Sent, text = ""): Promise<void> {
  await expect(pool, sent, 200, text);
}

async function expect(pool: Pool, sent: Sent, status: number, text = ""): Promise<void> {
  const answer = await send(pool, sent);
  if (answer.status !== status || !answer.text.includes(text))
    throw new Error(`${sent.path}: ${answer.status} ${answer.text.slice(0, 300)}`);
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

const typists = ({ site }: Place) => site.people.filter(({ passkey }) => passkey === undefined);
const holders = ({ site }: Place) => site.people.filter(({ passkey }) => passkey !== undefined);

function personAt(people: readonly Person[], slot: number): Person {
  const person = people[slot % people.length];
  if (person === undefined) throw new Error("there is nobody to sign in");
  return person;
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
      place.signedIn[slot] = browser;
    }),
  );
}

async function tokensForAll(place: Place, slots: number): Promise<void> {
  await signInAll(place, slots);
  await Promise.all(
    Array.from({ length: slots }, async (_, slot) => {
      place.tokens[slot] ??= await redeem(place.pool, await silentCode(place, slot));
    }),
  );
}

async function silentCode({ signedIn }: Place, slot: number): Promise<string> {
  const answer = await signedIn[slot]?.peek(authorizationPath({ prompt: "none" }));
  if (answer === undefined) throw new Error("nobody is signed in");
  return codeIn(answer);
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
