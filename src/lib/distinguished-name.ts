/** A name of a certificate, outermost attribute last as RFC 4514 §2.1 writes it; each step in one canonical form. */
export type DistinguishedName = readonly string[];

/** Attribute types by the names that RFC 4514 §3 and certificate authorities write. */
const TYPES: Readonly<Record<string, string>> = {
  cn: "2.5.4.3",
  commonname: "2.5.4.3",
  sn: "2.5.4.4",
  surname: "2.5.4.4",
  serialnumber: "2.5.4.5",
  c: "2.5.4.6",
  countryname: "2.5.4.6",
  l: "2.5.4.7",
  localityname: "2.5.4.7",
  st: "2.5.4.8",
  s: "2.5.4.8",
  stateorprovincename: "2.5.4.8",
  street: "2.5.4.9",
  streetaddress: "2.5.4.9",
  o: "2.5.4.10",
  organizationname: "2.5.4.10",
  ou: "2.5.4.11",
  organizationalunitname: "2.5.4.11",
  t: "2.5.4.12",
  title: "2.5.4.12",
  description: "2.5.4.13",
  businesscategory: "2.5.4.15",
  postalcode: "2.5.4.17",
  gn: "2.5.4.42",
  givenname: "2.5.4.42",
  dnqualifier: "2.5.4.46",
  pseudonym: "2.5.4.65",
  organizationidentifier: "2.5.4.97",
  uid: "0.9.2342.19200300.100.1.1",
  userid: "0.9.2342.19200300.100.1.1",
  dc: "0.9.2342.19200300.100.1.25",
  domaincomponent: "0.9.2342.19200300.100.1.25",
  e: "1.2.840.113549.1.9.1",
  emailaddress: "1.2.840.113549.1.9.1",
  jurisdictionl: "1.3.6.1.4.1.311.60.2.1.1",
  jurisdictionst: "1.3.6.1.4.1.311.60.2.1.2",
  jurisdictionc: "1.3.6.1.4.1.311.60.2.1.3",
};

const PAIR = String.raw`\\(?:[\\ "#+,;<=>]|[0-9a-fA-F]{2})`;
/** One `type=value` and what follows it. A value that begins with `#` is not text, and not taken. */
const ATTRIBUTE = new RegExp(
  String.raw` *([A-Za-z][A-Za-z0-9-]*|\d+(?:\.\d+)+) *= *(?!#)((?:[^\\"+,;<>\0]|${PAIR})*)([,+]|$)`,
  "y",
);

/** Reads a name as RFC 4514 §3 writes it; `undefined` where it is none. */
export function parseDistinguishedName(text: string): DistinguishedName | undefined {
  const steps: string[][] = [];
  let joint = ",";
  ATTRIBUTE.lastIndex = 0;
  do {
    const match = ATTRIBUTE.exec(text);
    if (match === null) return undefined;
    const [, type = "", value = "", next = ""] = match;
    const attribute = canonical(type, value);
    if (joint === ",") steps.push([attribute]);
    else steps.at(-1)?.push(attribute);
    joint = next;
  } while (joint !== "");
  // The attributes of one step are a set (X.501 §9.3), so their order says nothing.
  return steps.map((step) => step.sort().join("+"));
}

/**
 * The subject of a certificate, from how Node shows it: a line for each step, innermost last, escaped as RFC 4514 has
 * it. A subject that is empty, or that cannot be read, is `undefined` and equals no name.
 */
export function subjectOf({
  subject,
}: {
  subject: string | undefined;
}): DistinguishedName | undefined {
  const steps = (subject ?? "").split("\n").map(parseDistinguishedName);
  const names = steps.flatMap((step) => (step?.length === 1 ? step : []));
  return names.length === steps.length ? names.toReversed() : undefined;
}

/** Whether two names are the same (RFC 4517 §4.2.15): every step, in order. */
export function sameName(one: DistinguishedName, other: DistinguishedName): boolean {
  return one.length === other.length && one.every((step, index) => step === other[index]);
}

/** Type by its number, value as caseIgnoreMatch prepares it (RFC 4518 §2, RFC 5280 §7.1). */
function canonical(type: string, value: string): string {
  const name = type.toLowerCase();
  const text = unescape(value).normalize("NFKC").toLowerCase().trim().replaceAll(/\s+/g, " ");
  return JSON.stringify([TYPES[name] ?? name, text]);
}

function unescape(value: string): string {
  return value.replaceAll(
    /((?:\\[0-9a-fA-F]{2})+)|\\(.)/gs,
    (_all, bytes: string | undefined, character: string) =>
      bytes === undefined ? character : Buffer.from(bytes.replaceAll("\\", ""), "hex").toString(),
  );
}
