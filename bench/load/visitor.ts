import { setTimeout as delay } from "node:timers/promises";
import type { Pool } from "undici";
import { CLIENTS, PASSWORD, REDIRECT_URI, SCOPE, type Caller, type Person } from "../world.ts";
import { proofOf } from "./caller.ts";
import { Browser, send, written, type Answer, type Fields } from "./browser.ts";
import { answerWith } from "./passkey.ts";

const BUSY = 503;
const VERIFIER = "a-code-verifier-that-is-long-enough-for-rfc-7636";
const CHALLENGE = "KNczEurq67rF28NySvSIcG9G500QgPaoK2MO-TTWuoc";
const AUTHORIZATION = {
  client_id: CLIENTS.web,
  redirect_uri: REDIRECT_URI,
  response_type: "code",
  scope: SCOPE,
  state: "a-state",
  nonce: "a-nonce",
  code_challenge: CHALLENGE,
  code_challenge_method: "S256",
};

/** The fields of an authorization request that is right. */
export function authorization(changes: Readonly<Record<string, string>> = {}) {
  return { ...AUTHORIZATION, ...changes };
}

export function authorizationPath(changes: Readonly<Record<string, string>> = {}): string {
  return `/auth?${new URLSearchParams(authorization(changes)).toString()}`;
}

/** Signs a person in on the pages, consent included; returns the code that the client gets. */
export async function signIn(browser: Browser, person: Person): Promise<string> {
  let answer = await browser.open(authorizationPath({ prompt: "consent" }));
  for (let steps = 0; answer.location === undefined; steps += 1) {
    const page = /data-page="([^"]+)"/.exec(answer.text)?.[1] ?? "";
    const fields = fieldsFor(page, answer, person);
    if (fields === undefined || steps === 8)
      throw new Error(`sign-in stops at ${page || answer.status}: ${answer.text.slice(0, 300)}`);
    answer = await browser.submit(fields);
    // So many hashes wait that the server asks to come back; on a busy machine that is soon.
    for (let tries = 0; answer.status === BUSY && tries < 50; tries += 1) {
      await delay(100);
      answer = await browser.submit(fields);
    }
  }
  return codeIn(answer);
}

function fieldsFor(page: string, { text }: Answer, { email, passkey }: Person): Fields | undefined {
  if (page === "consent") return { decision: "allow", scope: ["profile", "email"] };
  if (page === "profile") return { decision: "skip" };
  if (page === "password") return { password: PASSWORD };
  if (page !== "login") return undefined;
  if (passkey === undefined) return { username: email, password: PASSWORD };
  const challenge = /&#34;challenge&#34;:&#34;([\w-]+)&#34;/.exec(text)?.[1] ?? "";
  return {
    username: "",
    password: "",
    passkey_response: answerWith(passkey, challenge),
    passkey_via: "button",
  };
}

/** The code in an answer that leads to the client. */
export function codeIn({ status, location, text }: Answer): string {
  const code = location && new URL(location).searchParams.get("code");
  if (!code) throw new Error(`no code but ${status} ${location ?? ""} ${text.slice(0, 300)}`);
  return code;
}

export interface Tokens {
  readonly access_token: string;
  readonly refresh_token: string;
  readonly id_token: string;
}

/** Asks the token endpoint as an application of people. */
export async function tokens(pool: Pool, caller: Caller, fields: Fields): Promise<Tokens> {
  const proof = await proofOf(caller);
  const { headers } = proof;
  const sent = { path: "/token", fields: { ...fields, ...proof.fields }, headers };
  const answer = await send(pool, written(sent));
  if (answer.status !== 200) throw new Error(`/token: ${answer.status} ${answer.text}`);
  return JSON.parse(answer.text) as Tokens;
}

export async function redeem(pool: Pool, caller: Caller, code: string): Promise<Tokens> {
  return tokens(pool, caller, {
    grant_type: "authorization_code",
    code,
    redirect_uri: REDIRECT_URI,
    code_verifier: VERIFIER,
  });
}
