import { hasSecondStep, levelOf, type Level, type Method, type Shown } from "../authn/levels.ts";
import type { Factor } from "../authn/factors.ts";
import type { Risk } from "../devices/risk.ts";

/** What a person has shown or said so far in one interaction; kept in the engine's Interaction until it ends. */
export interface Progress {
  /** The answer on the account page: whoever's session is in use by then, or somebody who is not signed in. */
  readonly account?: "current" | "another";
  /** What was typed as address or username. */
  readonly identifier?: string;
  /** Whose first factor was shown. Nobody is signed in before the last step. */
  readonly userId?: string;
  /** What was shown here, in order. */
  readonly shown?: readonly Shown[];
  /** How unusual the sign-in is; weighed once, after the first factor. */
  readonly risk?: Risk;
  /** Whether this browser keeps the session when it closes. */
  readonly remember?: boolean;
  /** The answer on the consent page. */
  readonly consent?: { readonly scopes: readonly string[]; readonly rejected: readonly string[] };
}

/** What the request asks for, as far as it decides what comes next. */
export interface Demand {
  /** Whether the client wants the person to choose an account (`prompt=select_account`, OIDC Core §3.1.2.1). */
  readonly chooseAccount: boolean;
  /** Whether the person must sign in, though a session may exist. */
  readonly signIn: boolean;
  /** Whose session this browser uses. */
  readonly sessionUserId: string | undefined;
  /** Whether others are signed in on this browser. */
  readonly othersSignedIn: boolean;
  /** What the session proves already, where only more is asked for: nothing of it is asked again. */
  readonly held: Held | undefined;
  /** What the person has set up for a second step. One who has something is asked for it, whatever the client wants. */
  readonly factors: readonly Factor[];
  /** The level that this sign-in must reach, as far as the person can. */
  readonly level: Level;
  /** Whether consent is asked for: something is undecided, or the client or its kind demands it. */
  readonly consent: boolean;
}

/** What a session proves; `at` in seconds since the epoch: when the person signed in. */
export interface Held {
  readonly level: Level;
  readonly amr: readonly string[];
  readonly at: number;
  readonly remember: boolean;
}

export type Step = "accounts" | "identifier" | "password" | "mfa" | "consent" | "done";

/** The single place that decides what a sign-in needs next. Every rule is one line. */
export function nextStep(progress: Progress, demand: Demand): Step {
  const { sessionUserId, othersSignedIn } = demand;
  const isAnother = progress.account === "another" || sessionUserId === undefined;
  if (progress.account === undefined && progress.userId === undefined) {
    if (demand.chooseAccount && (!isAnother || othersSignedIn)) return "accounts";
    if (demand.signIn && sessionUserId === undefined && othersSignedIn) return "accounts";
  }
  const mustSignIn = demand.signIn || (demand.chooseAccount && isAnother);
  if (mustSignIn && progress.userId === undefined && demand.held === undefined) {
    const isKnown = progress.identifier !== undefined || !isAnother;
    return isKnown ? "password" : "identifier";
  }
  if (mustSignIn && lacksSecondStep(progress, demand)) return "mfa";
  if (demand.consent && progress.consent === undefined) return "consent";
  return "done";
}

/** What the person has shown by now, with what the session already proves. */
export function reached({ shown = [] }: Progress, { held }: Demand): Level {
  const methods: Method[] = held?.amr.includes("pwd") === true ? ["pwd"] : [];
  const level = levelOf([...methods, ...shown.map(({ method }) => method)]);
  return held !== undefined && held.level > level ? held.level : level;
}

function lacksSecondStep(progress: Progress, demand: Demand): boolean {
  const methods = (progress.shown ?? []).map(({ method }) => method);
  const isOwed = demand.factors.length > 0 && demand.held === undefined && !hasSecondStep(methods);
  return isOwed || reached(progress, demand) < demand.level;
}

/** The address of a step, below the interaction's own, to which its cookie is bound. */
export function stepPath(here: string, step: Exclude<Step, "done">): string {
  return step === "identifier" ? here : `${here}/${step}`;
}
