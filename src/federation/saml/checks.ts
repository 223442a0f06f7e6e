import type { UpstreamError } from "../connector.ts";
import { broken } from "./failure.ts";
import { BEARER, NAME_ID } from "./names.ts";
import type {
  Assertion,
  AuthnStatement,
  Conditions,
  Confirmation,
  Envelope,
  LogoutRequest,
  NameId,
} from "./read.ts";
import type { VerifiedResponse } from "./verify.ts";

/** Seconds by which clocks may differ. */
export const SKEW = 60;
/** Seconds after which a message is too old, however long it says that it is good for. */
const MAX_AGE = 300;

/** What a message is held against. */
export interface Expected {
  /** The provider's entity ID, and ours. */
  readonly entityId: string;
  readonly spEntityId: string;
  /** Our address that the message must be for. */
  readonly destination: string;
  /** Seconds since the epoch. */
  readonly now: number;
}

export interface ExpectedResponse extends Expected {
  /** The ID of our AuthnRequest. */
  readonly requestId: string;
  /** When it asked that the person show once more who they are, in seconds since the epoch. */
  readonly forcedAt: number | undefined;
  /** Of what there must be one, where the request asked for exactly these. */
  readonly classRefs: readonly string[];
}

/** What a sign-in rests on, once everything was checked. */
export interface Accepted {
  readonly assertion: Assertion;
  readonly statement: AuthnStatement;
  /** Until when the same assertion must not come again, in seconds since the epoch. */
  readonly replayUntil: number;
}

/**
 * Holds a verified response against what was asked (SAML Profiles §4.1.4.3, T-101): from whom, to whom, for whom,
 * when, and in answer to what.
 *
 * @throws UpstreamError with the broken rule.
 */
export function checkResponse(
  { response, assertion }: VerifiedResponse,
  expected: ExpectedResponse,
): Accepted {
  checkEnvelope(response, expected);
  checkInResponseTo(response.inResponseTo, expected);
  demand(assertion.version === "2.0", "saml.version", "The assertion is not of SAML 2.0.");
  checkIssuer(assertion.issuer, expected);
  checkAge(assertion.issueInstant, expected);
  const confirmation = checkConfirmation(assertion, expected);
  const conditions = checkConditions(assertion.conditions, expected);
  const statement = checkStatement(assertion.statements, expected);
  const ends = [confirmation.notOnOrAfter, conditions.notOnOrAfter].flatMap((end) => end ?? []);
  return { assertion, statement, replayUntil: Math.max(...ends) + SKEW };
}

/** What every message must say of itself. */
export function checkEnvelope(envelope: Envelope, expected: Expected): void {
  demand(envelope.version === "2.0", "saml.version", "The message is not of SAML 2.0.");
  if (envelope.issuer !== undefined || envelope.isSigned) checkIssuer(envelope.issuer, expected);
  demand(
    envelope.destination === expected.destination,
    "saml.destination",
    `The message is for ${envelope.destination ?? "nobody"}, not for ${expected.destination}.`,
    "Give the provider our metadata again, and see that ISSUER is the address that people use.",
  );
  checkAge(envelope.issueInstant, expected);
}

function checkIssuer(issuer: string | undefined, { entityId }: Expected): void {
  demand(
    issuer === entityId,
    "saml.issuer",
    `The issuer is ${issuer ?? "missing"}, not ${entityId}.`,
    "Load the metadata of the provider that people are sent to.",
  );
}

/** An instant that is neither in the future nor long ago. */
function checkAge(instant: number, { now }: Expected): void {
  checkNotBefore(instant, now);
  checkNotOnOrAfter(instant + MAX_AGE, now);
}

function checkNotBefore(instant: number | undefined, now: number): void {
  if (instant === undefined || instant - SKEW <= now) return;
  throw late(
    "saml.not_yet_valid",
    `It is good from ${iso(instant)} on, and it is ${iso(now)} here.`,
  );
}

function checkNotOnOrAfter(instant: number | undefined, now: number): void {
  if (instant === undefined || now < instant + SKEW) return;
  throw late("saml.expired", `It was good until ${iso(instant)}, and it is ${iso(now)} here.`);
}

function late(rule: string, message: string): UpstreamError {
  return broken(
    rule,
    message,
    "Compare the clocks of both servers, and ask the person to try again.",
    "expired",
  );
}

function checkInResponseTo(inResponseTo: string | undefined, { requestId }: ExpectedResponse) {
  demand(
    requestId !== "" && inResponseTo === requestId,
    "saml.in_response_to",
    inResponseTo === undefined
      ? "The message answers no request."
      : "The message answers another request than that of this browser.",
  );
}

/** Exactly one bearer confirmation, and that for us (SAML Profiles §4.1.4.2). */
function checkConfirmation({ confirmations }: Assertion, expected: ExpectedResponse): Confirmation {
  const [bearer, ...others] = confirmations.filter(({ method }) => method === BEARER);
  if (bearer === undefined || others.length > 0)
    throw broken("saml.subject_confirmation", "There is not exactly one bearer confirmation.");
  demand(
    bearer.recipient === expected.destination,
    "saml.recipient",
    `The recipient is ${bearer.recipient ?? "missing"}, not ${expected.destination}.`,
  );
  checkInResponseTo(bearer.inResponseTo, expected);
  checkNotBefore(bearer.notBefore, expected.now);
  if (bearer.notOnOrAfter === undefined)
    throw broken("saml.subject_confirmation", "The bearer confirmation has no NotOnOrAfter.");
  checkNotOnOrAfter(bearer.notOnOrAfter, expected.now);
  return bearer;
}

function checkConditions(all: readonly Conditions[], { now, spEntityId }: Expected): Conditions {
  const [conditions, ...others] = all;
  if (conditions === undefined || others.length > 0)
    throw broken("saml.conditions", `The assertion has ${all.length} Conditions, not one.`);
  const { unknown, audiences } = conditions;
  demand(unknown.length === 0, "saml.conditions", `Unknown conditions: ${unknown.join(", ")}.`);
  checkNotBefore(conditions.notBefore, now);
  checkNotOnOrAfter(conditions.notOnOrAfter, now);
  demand(
    audiences.length > 0 && audiences.every((one) => one.includes(spEntityId)),
    "saml.audience",
    `The audience is ${audiences.flat().join(", ") || "missing"}, not ${spEntityId}.`,
    "Give the provider our entity ID as audience, or set sp_entity_id to the one that it has.",
  );
  return conditions;
}

function checkStatement(
  statements: readonly AuthnStatement[],
  { now, forcedAt, classRefs }: ExpectedResponse,
): AuthnStatement {
  const [statement] = statements;
  if (statement === undefined)
    throw broken("saml.authn_statement", "The assertion does not say that anybody signed in.");
  const { instant, classRef } = statement;
  checkNotBefore(instant, now);
  const ends = statements.flatMap(({ sessionNotOnOrAfter: end }) => end ?? []);
  const sessionNotOnOrAfter = ends.length === 0 ? undefined : Math.min(...ends);
  checkNotOnOrAfter(sessionNotOnOrAfter, now);
  demand(
    forcedAt === undefined || instant + SKEW >= forcedAt,
    "saml.force_authn",
    "The person was to sign in once more, but did not.",
    "Let the provider heed ForceAuthn.",
  );
  demand(
    classRefs.length === 0 || (classRef !== undefined && classRefs.includes(classRef)),
    "saml.authn_context",
    `The person signed in by ${classRef ?? "no known way"}, not by ${classRefs.join(" or ")}.`,
  );
  return { ...statement, sessionNotOnOrAfter };
}

/**
 * Holds a verified LogoutRequest against us (SAML Core §3.7.3).
 *
 * @returns whom it names, and until when it must not come again.
 */
export function checkLogoutRequest(
  request: LogoutRequest,
  expected: Expected,
): { nameId: NameId; until: number } {
  checkEnvelope(request, expected);
  checkNotOnOrAfter(request.notOnOrAfter, expected.now);
  if (request.nameId === undefined)
    throw broken("saml.subject", "The request has no NameID.", undefined, "incomplete");
  return { nameId: request.nameId, until: request.issueInstant + MAX_AGE + SKEW };
}

/** Who somebody is for good: an attribute where the connection has one, or else a NameID that is said to last. */
export function subjectOf(
  { nameId, attributes }: Assertion,
  settings: { subject_attribute?: string | undefined; subject_formats: readonly string[] },
): string {
  const name = settings.subject_attribute;
  const subject = name === undefined ? lastingNameId(nameId, settings) : attributes[name];
  if (typeof subject !== "string" || subject.length > 255)
    throw broken(
      "saml.subject",
      name === undefined
        ? "The NameID is longer than 255 characters."
        : `The attribute ${name} does not have exactly one value of at most 255 characters.`,
      undefined,
      "incomplete",
    );
  return subject;
}

function lastingNameId(
  nameId: Assertion["nameId"],
  settings: { subject_formats: readonly string[] },
): string {
  const format = nameId?.format ?? NAME_ID.unspecified;
  const lasting = settings.subject_formats.map((name) => NAME_ID[name as keyof typeof NAME_ID]);
  if (nameId !== undefined && lasting.some((one) => one === format)) return nameId.value;
  throw broken(
    "saml.subject",
    nameId === undefined
      ? "The assertion has no NameID."
      : `The NameID is of the format ${format}.`,
    format === NAME_ID.transient
      ? "Let the provider send a persistent NameID, or set subject_attribute to an attribute that never changes."
      : "Let the provider send a persistent NameID, set subject_attribute, or add the format to subject_formats if nobody ever gets the name of another.",
    "incomplete",
  );
}

function demand(isMet: boolean, rule: string, message: string, hint?: string): void {
  if (!isMet) throw broken(rule, message, hint);
}

function iso(seconds: number): string {
  return new Date(seconds * 1000).toISOString();
}
