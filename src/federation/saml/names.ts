/** Namespaces. */
export const SAMLP = "urn:oasis:names:tc:SAML:2.0:protocol";
export const SAML = "urn:oasis:names:tc:SAML:2.0:assertion";
export const MD = "urn:oasis:names:tc:SAML:2.0:metadata";
export const DS = "http://www.w3.org/2000/09/xmldsig#";
export const XENC = "http://www.w3.org/2001/04/xmlenc#";
export const XENC11 = "http://www.w3.org/2009/xmlenc11#";

/** Bindings that we speak (SAML Bindings §3.4, §3.5), by the names that we give them. */
export const BINDINGS = {
  redirect: "urn:oasis:names:tc:SAML:2.0:bindings:HTTP-Redirect",
  post: "urn:oasis:names:tc:SAML:2.0:bindings:HTTP-POST",
} as const;
export type Binding = keyof typeof BINDINGS;

/** Formats of name identifiers (SAML Core §8.3). */
export const NAME_ID = {
  persistent: "urn:oasis:names:tc:SAML:2.0:nameid-format:persistent",
  transient: "urn:oasis:names:tc:SAML:2.0:nameid-format:transient",
  emailAddress: "urn:oasis:names:tc:SAML:1.1:nameid-format:emailAddress",
  unspecified: "urn:oasis:names:tc:SAML:1.1:nameid-format:unspecified",
  entity: "urn:oasis:names:tc:SAML:2.0:nameid-format:entity",
} as const;

/** Status codes (SAML Core §3.2.2.2). */
export const SUCCESS = "urn:oasis:names:tc:SAML:2.0:status:Success";
/** What a provider answers for somebody who went back, as Keycloak does. */
export const REQUEST_DENIED = "urn:oasis:names:tc:SAML:2.0:status:RequestDenied";
export const PARTIAL_LOGOUT = "urn:oasis:names:tc:SAML:2.0:status:PartialLogout";

/** How a subject is confirmed in the browser profile (SAML Profiles §3.3). */
export const BEARER = "urn:oasis:names:tc:SAML:2.0:cm:bearer";

export const ENVELOPED = "http://www.w3.org/2000/09/xmldsig#enveloped-signature";
export const EXCLUSIVE_C14N = "http://www.w3.org/2001/10/xml-exc-c14n#";
export const RSA_SHA256 = "http://www.w3.org/2001/04/xmldsig-more#rsa-sha256";
export const SHA256 = "http://www.w3.org/2001/04/xmlenc#sha256";
