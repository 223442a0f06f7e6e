import { broken } from "./failure.ts";
import { SAML, SAMLP } from "./names.ts";
import { instantOf } from "./time.ts";
import { attribute, elementAt, elementsIn, textOf } from "./xml.ts";

/** A name identifier (SAML Core §2.2.2). */
export interface NameId {
  readonly value: string;
  readonly format?: string;
  readonly nameQualifier?: string;
  readonly spNameQualifier?: string;
}

/** What every message says on its root (SAML Core §3.2). */
export interface Envelope {
  readonly id: string;
  readonly version: string | undefined;
  readonly issueInstant: number;
  readonly issuer: string | undefined;
  readonly destination: string | undefined;
  readonly inResponseTo: string | undefined;
  readonly isSigned: boolean;
}

/** A SubjectConfirmation (SAML Core §2.4.1.1). Instants are in seconds since the epoch, here and below. */
export interface Confirmation {
  readonly method: string | undefined;
  readonly recipient: string | undefined;
  readonly inResponseTo: string | undefined;
  readonly notBefore: number | undefined;
  readonly notOnOrAfter: number | undefined;
}

/** What an assertion says (SAML Core §2.3.3), read from nothing but what was signed. */
export interface Assertion {
  readonly id: string;
  readonly version: string | undefined;
  readonly issuer: string | undefined;
  readonly issueInstant: number;
  readonly nameId: NameId | undefined;
  readonly confirmations: readonly Confirmation[];
  readonly conditions: readonly Conditions[];
  readonly statements: readonly AuthnStatement[];
  /** By name; what has several values is a list. */
  readonly attributes: Readonly<Record<string, string | readonly string[]>>;
}

export interface Conditions {
  readonly notBefore: number | undefined;
  readonly notOnOrAfter: number | undefined;
  /** One list for each AudienceRestriction; all of them must be met. */
  readonly audiences: readonly (readonly string[])[];
  /** Conditions that we do not know, and so cannot meet (SAML Core §2.5.1). */
  readonly unknown: readonly string[];
}

export interface AuthnStatement {
  readonly instant: number;
  readonly sessionIndex: string | undefined;
  readonly sessionNotOnOrAfter: number | undefined;
  readonly classRef: string | undefined;
}

/** A LogoutRequest (SAML Core §3.7.1). */
export interface LogoutRequest extends Envelope {
  readonly notOnOrAfter: number | undefined;
  readonly nameId: NameId | undefined;
  readonly sessionIndexes: readonly string[];
}

/** A status (SAML Core §3.2.2): its codes from the outermost inwards, and what it says in words. */
export interface Status {
  readonly codes: readonly string[];
  readonly message: string | undefined;
}

export function readEnvelope(root: Element, isSigned: boolean): Envelope {
  return {
    id: attribute(root, "ID") ?? "",
    version: attribute(root, "Version"),
    issueInstant: requiredInstant(root, "IssueInstant"),
    issuer: textOf(elementAt(root, [SAML, "Issuer"])),
    destination: attribute(root, "Destination"),
    inResponseTo: attribute(root, "InResponseTo"),
    isSigned,
  };
}

export function readStatus(root: Element): Status {
  const status = elementAt(root, [SAMLP, "Status"]);
  const codes: string[] = [];
  let code = elementAt(status, [SAMLP, "StatusCode"]);
  for (; code !== undefined; code = elementAt(code, [SAMLP, "StatusCode"]))
    codes.push(attribute(code, "Value") ?? "");
  return { codes, message: textOf(elementAt(status, [SAMLP, "StatusMessage"])) };
}

/** Opens an EncryptedID; what is in it is as good as what was signed around it. */
export type OpenId = (encrypted: Element) => Element;

export function readLogoutRequest(root: Element, isSigned: boolean, open: OpenId): LogoutRequest {
  return {
    ...readEnvelope(root, isSigned),
    notOnOrAfter: instant(root, "NotOnOrAfter"),
    nameId: readNameId(root, open),
    sessionIndexes: elementsIn(root, SAMLP, "SessionIndex").flatMap((one) => textOf(one) || []),
  };
}

export function readAssertion(root: Element, open: OpenId): Assertion {
  const subject = elementAt(root, [SAML, "Subject"]);
  return {
    id: attribute(root, "ID") ?? "",
    version: attribute(root, "Version"),
    issuer: textOf(elementAt(root, [SAML, "Issuer"])),
    issueInstant: requiredInstant(root, "IssueInstant"),
    nameId: subject === undefined ? undefined : readNameId(subject, open),
    confirmations:
      subject === undefined
        ? []
        : elementsIn(subject, SAML, "SubjectConfirmation").map(readConfirmation),
    conditions: elementsIn(root, SAML, "Conditions").map(readConditions),
    statements: elementsIn(root, SAML, "AuthnStatement").map(readStatement),
    attributes: readAttributes(root),
  };
}

function readNameId(parent: Element, open: OpenId): NameId | undefined {
  const encrypted = elementAt(parent, [SAML, "EncryptedID"]);
  const element =
    elementAt(parent, [SAML, "NameID"]) ?? (encrypted === undefined ? undefined : open(encrypted));
  // To the letter: with the space around it, it could be somebody else's.
  const value = element?.textContent;
  if (element === undefined || !value) return undefined;
  const [format, nameQualifier, spNameQualifier] = [
    "Format",
    "NameQualifier",
    "SPNameQualifier",
  ].map((name) => attribute(element, name) || undefined);
  return {
    value,
    ...(format === undefined ? {} : { format }),
    ...(nameQualifier === undefined ? {} : { nameQualifier }),
    ...(spNameQualifier === undefined ? {} : { spNameQualifier }),
  };
}

function readConfirmation(element: Element): Confirmation {
  const data = elementAt(element, [SAML, "SubjectConfirmationData"]);
  return {
    method: attribute(element, "Method"),
    recipient: attribute(data, "Recipient"),
    inResponseTo: attribute(data, "InResponseTo"),
    notBefore: instant(data, "NotBefore"),
    notOnOrAfter: instant(data, "NotOnOrAfter"),
  };
}

const KNOWN_CONDITIONS = new Set(["AudienceRestriction", "OneTimeUse", "ProxyRestriction"]);

function readConditions(element: Element): Conditions {
  return {
    notBefore: instant(element, "NotBefore"),
    notOnOrAfter: instant(element, "NotOnOrAfter"),
    audiences: elementsIn(element, SAML, "AudienceRestriction").map((restriction) =>
      elementsIn(restriction, SAML, "Audience").map((audience) => textOf(audience) ?? ""),
    ),
    unknown: elementsIn(element)
      .filter((one) => one.namespaceURI !== SAML || !KNOWN_CONDITIONS.has(one.localName))
      .map(({ nodeName }) => nodeName),
  };
}

function readStatement(element: Element): AuthnStatement {
  const context = elementAt(element, [SAML, "AuthnContext"], [SAML, "AuthnContextClassRef"]);
  return {
    instant: requiredInstant(element, "AuthnInstant"),
    sessionIndex: attribute(element, "SessionIndex") || undefined,
    sessionNotOnOrAfter: instant(element, "SessionNotOnOrAfter"),
    classRef: textOf(context) || undefined,
  };
}

/** One that is there without a value says that there is none (SAML Core §2.7.3.1.1). */
function readAttributes(root: Element): Record<string, string | readonly string[]> {
  const found = new Map<string, string[]>();
  for (const statement of elementsIn(root, SAML, "AttributeStatement"))
    for (const element of elementsIn(statement, SAML, "Attribute")) {
      const name = attribute(element, "Name") ?? "";
      const values = elementsIn(element, SAML, "AttributeValue").flatMap(
        (one) => one.textContent || [],
      );
      found.set(name, [...(found.get(name) ?? []), ...values]);
    }
  return Object.fromEntries(
    [...found]
      .filter(([name]) => name !== "")
      .map(([name, values]) => [name, values.length === 1 ? (values[0] ?? "") : values]),
  );
}

function instant(element: Element | undefined, name: string): number | undefined {
  const text = attribute(element, name);
  const seconds = instantOf(text);
  if (text !== undefined && seconds === undefined)
    throw broken("saml.instant", `The ${name} is no instant in UTC: ${text}.`);
  return seconds;
}

function requiredInstant(element: Element, name: string): number {
  const seconds = instant(element, name);
  if (seconds === undefined)
    throw broken("saml.instant", `The ${element.localName} has no ${name}.`);
  return seconds;
}
