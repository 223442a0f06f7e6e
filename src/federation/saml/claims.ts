/**
 * Attributes that usually stand for a claim of ours, the best first: plain names, those of X.500 and eduPerson as
 * object identifiers, and those of Microsoft.
 */
const USUAL: Readonly<Record<string, readonly string[]>> = {
  email: [
    "mail",
    "emailAddress",
    "urn:oid:0.9.2342.19200300.100.1.3",
    "urn:oid:1.2.840.113549.1.9.1",
    "http://schemas.xmlsoap.org/ws/2005/05/identity/claims/emailaddress",
  ],
  name: [
    "displayName",
    "cn",
    "urn:oid:2.16.840.1.113730.3.1.241",
    "urn:oid:2.5.4.3",
    "http://schemas.microsoft.com/identity/claims/displayname",
  ],
  given_name: [
    "givenName",
    "firstName",
    "urn:oid:2.5.4.42",
    "http://schemas.xmlsoap.org/ws/2005/05/identity/claims/givenname",
  ],
  family_name: [
    "sn",
    "surname",
    "lastName",
    "urn:oid:2.5.4.4",
    "http://schemas.xmlsoap.org/ws/2005/05/identity/claims/surname",
  ],
  preferred_username: [
    "uid",
    "username",
    "urn:oid:0.9.2342.19200300.100.1.1",
    "urn:oid:1.3.6.1.4.1.5923.1.1.1.6",
    "http://schemas.xmlsoap.org/ws/2005/05/identity/claims/name",
  ],
  locale: ["preferredLanguage", "urn:oid:2.16.840.1.113730.3.1.39"],
  phone_number: ["telephoneNumber", "urn:oid:2.5.4.20"],
  groups: [
    "memberOf",
    "isMemberOf",
    "Role",
    "urn:oid:1.3.6.1.4.1.5923.1.5.1.1",
    "http://schemas.xmlsoap.org/claims/Group",
    "http://schemas.microsoft.com/ws/2008/06/identity/claims/groups",
  ],
  roles: ["Role", "http://schemas.microsoft.com/ws/2008/06/identity/claims/role"],
};

type Attributes = Readonly<Record<string, string | readonly string[]>>;

/** Attributes by their own names, and beside these the claims that the usual ones stand for. */
export function claimsOf(attributes: Attributes): Attributes {
  const usual = Object.entries(USUAL).flatMap(([claim, names]) => {
    const sent = names.filter((one) => Object.hasOwn(attributes, one));
    const name = sent.find((one) => (attributes[one] ?? "").length > 0) ?? sent[0];
    return name === undefined ? [] : [[claim, attributes[name] ?? ""] as const];
  });
  return { ...Object.fromEntries(usual), ...attributes };
}
