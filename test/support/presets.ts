import assert from "node:assert/strict";
import { aKey, asserted, assertion, proof, type Claims, type Key } from "./keys.ts";
import {
  json,
  RelyingParty,
  response,
  VERIFIER,
  walk,
  WebBrowser,
  type Answer,
  type Fields,
  type Target,
} from "./rp.ts";
import { aClient, aServerWith, aUser, issuerAt, type TestServer } from "./server.ts";

/** What each preset's issuer is called, and where it is on the server. */
const PATHS = { production: "", conformance: "open", fapi2: "bank", fapi1: "old" } as const;
export type PresetName = keyof typeof PATHS;

/** One server with an issuer of every preset, and somebody who is signed in at each. */
export interface House {
  readonly server: TestServer;
  readonly user: { readonly id: string; readonly email: string };
  readonly issuers: Readonly<Record<PresetName, Target>>;
  /** Registers a client of the operator's own. */
  readonly client: (
    metadata?: Record<string, unknown>,
    preset?: PresetName,
  ) => Promise<RelyingParty>;
  /** The browser in which the user is signed in at an issuer. */
  readonly browser: (preset?: PresetName) => Promise<WebBrowser>;
  /** Sends that browser with an authorization request; the user allows whatever they are asked. */
  readonly ask: (app: RelyingParty, changes?: Fields, preset?: PresetName) => Promise<Answer>;
  readonly codeOf: (app: RelyingParty, changes?: Fields, preset?: PresetName) => Promise<string>;
  readonly tokensOf: (
    app: RelyingParty,
    changes?: Fields,
    preset?: PresetName,
  ) => Promise<Record<string, string>>;
  /** Registers a client of the FAPI 2.0 issuer. */
  readonly fapiClient: (metadata?: Record<string, unknown>) => Promise<FapiClient>;
}

/** Starts the server of a test file; `settings` are environment variables on top of the usual ones. */
export async function aHouse(settings: Record<string, string> = {}): Promise<House> {
  const { production: _, ...more } = PATHS;
  const issuersByName = Object.fromEntries(
    Object.entries(more).map(([preset, path]) => [path, preset as PresetName]),
  );
  const server = await aServerWith(issuersByName, settings);
  const user = await aUser(server);
  const target = (preset: PresetName): Target =>
    PATHS[preset] === "" ? server : issuerAt(server, PATHS[preset]);
  const issuers = {
    production: target("production"),
    conformance: target("conformance"),
    fapi2: target("fapi2"),
    fapi1: target("fapi1"),
  };
  const browsers = new Map<PresetName, Promise<WebBrowser>>();
  const credentials = (metadata: Record<string, unknown>, preset: PresetName) =>
    aClient(server, { first_party: true, ...metadata }, PATHS[preset]);
  const house: House = {
    server,
    user,
    issuers,
    client: async (metadata = {}, preset = "production") =>
      new RelyingParty(issuers[preset], await credentials(metadata, preset)),
    browser: async (preset = "production") => {
      const known = browsers.get(preset) ?? signIn(house, preset);
      browsers.set(preset, known);
      return known;
    },
    ask: async (app, changes = {}, preset = "production") =>
      walk(issuers[preset], await house.browser(preset), app.authorization(changes), user),
    codeOf: async (app, changes = {}, preset = "production") => {
      const answer = await house.ask(app, changes, preset);
      const { code } = response(answer);
      assert.ok(code, answer.location);
      return code;
    },
    tokensOf: async (app, changes = {}, preset = "production") => {
      const answer = await app.redeem(await house.codeOf(app, changes, preset));
      assert.equal(answer.status, 200, answer.text);
      return json(answer) as Record<string, string>;
    },
    fapiClient: async (metadata = {}) => {
      const key = await aKey("ES256");
      const fapi = {
        security_profile: "fapi2",
        grant_types: ["authorization_code", "refresh_token"],
        jwks: { keys: [key.jwk] },
        ...metadata,
      };
      return new FapiClient(house, key, await house.client(fapi, "fapi2"));
    },
  };
  return house;
}

async function signIn(house: House, preset: PresetName): Promise<WebBrowser> {
  const target = house.issuers[preset];
  const browser = new WebBrowser(target);
  if (preset === "fapi2") {
    await walk(target, browser, await (await house.fapiClient()).authorization(), house.user);
    return browser;
  }
  const app = await house.client({}, preset);
  await walk(target, browser, app.authorization(), house.user);
  return browser;
}

/** A client that keeps to the FAPI 2.0 Security Profile: pushed requests, client assertions, DPoP. */
class FapiClient {
  readonly app: RelyingParty;
  readonly key: Key;
  readonly #house: House;

  constructor(house: House, key: Key, app: RelyingParty) {
    this.#house = house;
    this.key = key;
    this.app = app;
  }

  get issuer(): string {
    return this.#house.issuers.fapi2.issuer;
  }

  /** The parameters with which it authenticates; `claims` change the assertion. */
  async authentication(claims: Claims = {}): Promise<Record<string, string>> {
    const { clientId } = this.app.credentials;
    return asserted(await assertion(this.key, { clientId, audience: this.issuer }, claims));
  }

  /** Pushes an authorization request (RFC 9126 §2.1). */
  async push(changes: Fields = {}): Promise<Answer> {
    const fields = this.app.parameters(changes);
    return this.app.post("/request", { ...fields, ...(await this.authentication()) }, {});
  }

  /** Where it sends a browser, after it pushed a request. */
  async authorization(changes: Fields = {}): Promise<string> {
    const pushed = await this.push(changes);
    assert.equal(pushed.status, 201, pushed.text);
    const { clientId } = this.app.credentials;
    const query = new URLSearchParams({
      client_id: clientId,
      request_uri: String(json(pushed)["request_uri"]),
    });
    return `${this.issuer}/auth?${query}`;
  }

  async codeOf(changes: Fields = {}): Promise<string> {
    const browser = await this.#house.browser("fapi2");
    const answer = await walk(
      this.#house.issuers.fapi2,
      browser,
      await this.authorization(changes),
      this.#house.user,
    );
    return response(answer)["code"] ?? "";
  }

  /** Asks the token endpoint, with a proof of possession of `key` unless it is null. */
  async token(fields: Fields, key: Key | null = this.key): Promise<Answer> {
    const url = `${this.issuer}/token`;
    const headers = key === null ? {} : { dpop: await proof(key, { method: "POST", url }) };
    return this.app.token({ ...fields, ...(await this.authentication()) }, headers);
  }

  async redeem(code: string, changes: Fields = {}, key?: Key | null): Promise<Answer> {
    const { redirectUri } = this.app.credentials;
    const right = { redirect_uri: redirectUri, code_verifier: VERIFIER };
    return this.token({ grant_type: "authorization_code", code, ...right, ...changes }, key);
  }
}
