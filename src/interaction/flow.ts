import { hasSecondStep, levelOf, type Level, type Method, type Shown } from "../authn/levels.ts";
import { hasStrongFactor, type Factor } from "../authn/factors.ts";
import type { NewPasskey, PasskeyReach } from "../authn/passkeys.ts";
import type { Risk } from "../devices/risk.ts";
import type { UpstreamIdentity } from "../federation/connector.ts";
import type { HomeRealm } from "./home-realm.ts";
import type { UpstreamSignIn } from "../models/session.ts";

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
  /** How unusual the sign-in is, and whether a password alone proves too little; weighed once, after the first factor. */
  readonly risk?: Risk & { readonly isInDoubt: boolean };
  /** Whether they put off setting up a second step. */
  readonly enrolmentSkipped?: true;
  /** Whether they set something up here. */
  readonly hasEnrolled?: true;
  /** Through which connection they are to sign in: a link or the client said so. */
  readonly connection?: string;
  /** Whether they chose to sign in here, though their domain has a connection. */
  readonly isLocal?: true;
  /** The name of the provider at which they did not finish signing in. */
  readonly stopped?: string;
  /** The connection through which they signed in, and what their session keeps of it. */
  readonly federated?: { readonly connection: string; readonly upstream: UpstreamSignIn };
  /** Who they are elsewhere, to be connected to the account that has the same address, once they sign in to it. */
  readonly link?: {
    readonly connection: string;
    readonly providerId: string;
    readonly userId: string;
    readonly identity: UpstreamIdentity;
    readonly isAccepted?: true;
  };
  /** Recovery codes that they have not said to have saved. */
  readonly newCodes?: readonly string[];
  /** The passkey that was last made or used here, and where it is. */
  readonly passkey?: { readonly id: string; readonly reach: PasskeyReach };
  /** Whether a passkey could be made on this device, as its browser says. */
  readonly canMakePasskey?: boolean;
  /** How far the offer of one has come. */
  readonly offer?: "shown" | "answered";
  /** Whether this browser keeps the session when it closes. */
  readonly remember?: boolean;
  /** The account that somebody is making here. */
  readonly registration?: Registration;
  /** What was sent to somebody who cannot sign in; `isProven` once they typed its code. */
  readonly recovery?: {
    readonly letter: string;
    readonly identifier: string;
    readonly isProven?: true;
  };
  /** The letter by which the person shows that their address is theirs. */
  readonly verification?: string;
  /** Whether the person would not say what the client asks for and does not need. */
  readonly hasSkippedProfile?: true;
  /** The answer on the consent page. */
  readonly consent?: { readonly scopes: readonly string[]; readonly rejected: readonly string[] };
}

/** An account before it is one: nobody is stored who has not shown that the address is theirs. */
export interface Registration {
  readonly email: string;
  /** The letter that was sent there. */
  readonly letter: string;
  readonly isProven?: true;
  /** The invitation that let the person in. */
  readonly invitation?: string;
  /** How the person will sign in: by a password or a passkey. */
  readonly passwordHash?: string;
  readonly passkey?: NewPasskey;
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
  /** What the person can show as a second step. */
  readonly factors: readonly Factor[];
  /** Whether they are asked for it whatever the client wants. */
  readonly isSecondStepOwed: boolean;
  /** Whether the person said on this browser not to be asked for a second step; it reaches no level. */
  readonly trusted: boolean;
  /** The level that this sign-in must reach, as far as the person can. */
  readonly level: Level;
  /** Why the person is to set up a second step, if they are. */
  readonly enrolment: Enrolment | undefined;
  /** Whether the person is to be offered a passkey. */
  readonly offersPasskey: boolean;
  /** Whether the client wants the person to make an account (Initiating User Registration via OpenID Connect 1.0). */
  readonly create: boolean;
  /** Whether the person's address must be verified and is not. */
  readonly verifyEmail: boolean;
  /** Whether there are terms that the person has not decided about. */
  readonly terms: boolean;
  /** What the client asks for and the person has not said yet. */
  readonly missing: Missing;
  /** The connection that they sign in through, or may. */
  readonly homeRealm: HomeRealm | undefined;
  /** Whether consent is asked for: something is undecided, or the client or its kind demands it. */
  readonly consent: boolean;
}

/** Claims that nobody knows of a person. */
interface Missing {
  /** Without these nobody signs in to the client. */
  readonly required: readonly string[];
  /** Essential to the client; the person may keep them (OIDC Core §5.5.1). */
  readonly essential: readonly string[];
}

/** What a session proves; `at` in seconds since the epoch: when the person signed in. */
export interface Held {
  readonly level: Level;
  readonly amr: readonly string[];
  readonly at: number;
  readonly remember: boolean;
}

/** Why somebody is to set up a second step, and how often they may still put it off; `Infinity` is always. */
export interface Enrolment {
  readonly reason: "policy" | "client" | "recovered";
  readonly skipsLeft: number;
}

export type Step =
  | "accounts"
  | "identifier"
  | "register"
  | "sso"
  | "federation"
  | "link"
  | "password"
  | "mfa"
  | "enroll"
  | "enroll/codes"
  | "verify"
  | "terms"
  | "profile"
  | "offer"
  | "consent"
  | "done";

/** The single place that decides what a sign-in needs next. Every rule is one line. */
export function nextStep(progress: Progress, demand: Demand): Step {
  const { sessionUserId, othersSignedIn } = demand;
  const isAnother = progress.account === "another" || sessionUserId === undefined;
  const begins = progress.userId === undefined && progress.registration === undefined;
  if (progress.account === undefined && begins && !demand.create) {
    if (demand.chooseAccount && (!isAnother || othersSignedIn)) return "accounts";
    if (demand.signIn && sessionUserId === undefined && othersSignedIn) return "accounts";
  }
  const mustSignIn = demand.signIn || (demand.chooseAccount && isAnother);
  if (mustSignIn && progress.userId === undefined && demand.held === undefined) {
    const { registration } = progress;
    if (progress.link !== undefined && progress.link.isAccepted === undefined) return "link";
    if (owesFederation(progress, demand)) return "federation";
    if (demand.homeRealm?.how === "offered") return "sso";
    if (registration !== undefined) return registration.isProven ? "register" : "verify";
    if (demand.create && progress.identifier === undefined) return "register";
    const isKnown = progress.identifier !== undefined || !isAnother;
    return isKnown ? "password" : "identifier";
  }
  if (mustSignIn && demand.held === undefined && owesFederation(progress, demand))
    return "federation";
  if (mustSignIn && owesSecondStep(progress, demand))
    return offeredFactors(progress, demand).length === 0 ? "password" : "mfa";
  if (mustSignIn && mustEnrol(progress, demand))
    return progress.userId === undefined ? "password" : "enroll";
  if (progress.newCodes !== undefined) return "enroll/codes";
  if (mustSignIn && reached(progress, demand) < demand.level)
    return hasFirstStep(progress, demand) ? "mfa" : "password";
  if (mustSignIn && demand.verifyEmail) return "verify";
  if (mustSignIn && demand.terms) return "terms";
  if (mustSignIn && lacksClaims(progress, demand.missing)) return "profile";
  if (demand.offersPasskey && progress.offer !== "answered") return "offer";
  if (demand.consent && progress.consent === undefined) return "consent";
  return "done";
}

/** What the person has shown by now, with what the session already proves. */
export function reached(progress: Progress, demand: Demand): Level {
  const level = levelOf([
    ...(demand.held?.amr.includes("pwd") === true ? (["pwd"] as const) : []),
    ...(demand.held?.amr.includes("fed") === true ? (["federated"] as const) : []),
    ...methodsOf(progress),
  ]);
  return demand.held !== undefined && demand.held.level > level ? demand.held.level : level;
}

/**
 * What the person can choose from: nothing that leaves them below the level that is asked for, so that nobody is let
 * down to less (T-76). A recovery code leads to setting up another factor, and a mailbox proves nothing twice.
 */
export function offeredFactors(progress: Progress, demand: Demand): Factor[] {
  const [first] = methodsOf(progress);
  const isOwed = owesSecondStep(progress, demand);
  const isOffered: Readonly<Record<Factor, boolean>> = {
    webauthn: true,
    totp: demand.level < 3,
    email: isOwed && demand.level < 2 && first !== "email_code",
    recovery: isOwed && demand.level < 3 && hasStrongFactor(demand.factors),
  };
  return demand.factors.filter((factor) => isOffered[factor]);
}

/** Whether this browser may be trusted from now on: at a plain sign-in, never where more is asked for (T-86). */
export function canTrust({ userId, risk }: Progress, demand: Demand): boolean {
  if (risk?.isInDoubt === true) return false;
  return demand.held === undefined && demand.sessionUserId !== userId && demand.level === 1;
}

/**
 * Somebody has shown a first factor. Who began with a code from their mailbox and shows their password as well keeps
 * what they have shown; nothing of it is anybody else's.
 */
export function signedInBy(
  progress: Progress,
  { userId, ...first }: { userId: string } & Shown,
): Progress {
  const isSame = progress.userId === userId;
  const before = isSame ? progress : withoutSignIn(progress);
  return { ...before, userId, shown: [...(before.shown ?? []), first] };
}

/** As if nobody had signed in yet; what was typed and chosen stays. */
export function withoutSignIn(progress: Progress): Progress {
  const kept = ["identifier", "account", "connection", "isLocal", "link"] as const;
  return Object.fromEntries(
    kept.filter((name) => progress[name] !== undefined).map((name) => [name, progress[name]]),
  );
}

function methodsOf({ shown = [] }: Progress): Method[] {
  return shown.map(({ method }) => method);
}

/** Whether somebody is to go to their identity provider, and has not come from there. */
function owesFederation({ userId, federated, link }: Progress, { homeRealm }: Demand): boolean {
  // Who connects the two has shown both; nobody else has by that.
  const isLinking = link?.isAccepted === true && (userId ?? link.userId) === link.userId;
  const shown = federated?.connection ?? (isLinking ? link.connection : undefined);
  return homeRealm !== undefined && homeRealm.how !== "offered" && shown !== homeRealm.slug;
}

/** Who has set something up is asked for it (T-70), unless the session proves more or the browser is trusted. */
function owesSecondStep(progress: Progress, demand: Demand): boolean {
  const { isSecondStepOwed, held, factors } = demand;
  const isSpared = demand.trusted && !mustEnrol(progress, demand);
  const methods = methodsOf(progress);
  // Whichever of the two came first.
  const isByMailbox =
    factors.includes("email") && methods.includes("pwd") && methods.includes("email_code");
  const hasShown = hasSecondStep(methods) || isByMailbox;
  return isSecondStepOwed && held === undefined && !isSpared && !hasShown;
}

function mustEnrol(progress: Progress, { enrolment }: Demand): boolean {
  const isDone = progress.hasEnrolled === true && enrolment?.reason !== "client";
  return enrolment !== undefined && progress.enrolmentSkipped !== true && !isDone;
}

function lacksClaims({ hasSkippedProfile }: Progress, { required, essential }: Missing): boolean {
  return required.length > 0 || (essential.length > 0 && hasSkippedProfile !== true);
}

/** Whether somebody began with what a second step can follow. */
function hasFirstStep(progress: Progress, { held }: Demand): boolean {
  const isFirst = methodsOf(progress).some((method) => FIRST_STEPS.has(method));
  return isFirst || held?.amr.some((reference) => ["pwd", "fed"].includes(reference)) === true;
}

const FIRST_STEPS: ReadonlySet<Method> = new Set(["pwd", "federated", "federated_mfa"]);

/** The address of a step, below the interaction's own, to which its cookie is bound. */
export function stepPath(here: string, step: Exclude<Step, "done">): string {
  return step === "identifier" ? here : `${here}/${step}`;
}
