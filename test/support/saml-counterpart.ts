import { inflateRawSync } from "node:zlib";
import type { Leaving } from "../../src/federation/connector.ts";
import type { Registration } from "./counterparts.ts";
import {
  aConnector,
  assertion,
  attribute,
  confirmation,
  IDP,
  nameId,
  PERSISTENT,
  posted,
  response,
  signed,
  SITE,
  at,
} from "./saml.ts";

const STATUS = "urn:oasis:names:tc:SAML:2.0:status";
const TRANSIENT = "urn:oasis:names:tc:SAML:2.0:nameid-format:transient";

/** A SAML identity provider that answers as it is told. */
export const SAML_COUNTERPART: Registration = {
  name: "SAML 2.0",
  has: ["sign-out", "logout", "description"],
  async open(needs) {
    let format = PERSISTENT;
    const connector = await aConnector(needs, { settings: { sign_out: true } });
    return {
      connector,
      async visit(to, deed, who) {
        const { id, relayState } = asked(to);
        const code = { agrees: "", cancels: "RequestDenied", "is refused": "AuthnFailed" }[deed];
        const status = `<samlp:Status><samlp:StatusCode Value="${STATUS}:Responder"><samlp:StatusCode Value="${STATUS}:${code}"/></samlp:StatusCode></samlp:Status>`;
        const xml =
          code === ""
            ? await signed(response(saidOf(who, { id, format }), { inResponseTo: id }), "Assertion")
            : response("", { inResponseTo: id, status });
        return {
          method: "POST",
          parameters: { SAMLResponse: posted(xml), RelayState: relayState },
        };
      },
      forge: ({ method, parameters }) => {
        const xml = Buffer.from(parameters["SAMLResponse"] ?? "", "base64").toString();
        return {
          method,
          parameters: { ...parameters, SAMLResponse: posted(xml.replace("ada-1815", "bob-1912")) },
        };
      },
      forgetSubjects: () => {
        format = TRANSIENT;
      },
      async logout(who) {
        const xml = `<samlp:LogoutRequest xmlns:samlp="urn:oasis:names:tc:SAML:2.0:protocol" xmlns:saml="urn:oasis:names:tc:SAML:2.0:assertion" ID="_logout" Version="2.0" IssueInstant="${at()}" Destination="${SITE.slo}"><saml:Issuer>${IDP}</saml:Issuer>${nameId(who)}<samlp:SessionIndex>_session</samlp:SessionIndex></samlp:LogoutRequest>`;
        const parameters = { SAMLRequest: posted(await signed(xml, "LogoutRequest")) };
        return { method: "POST", parameters };
      },
      mend: () => {
        format = PERSISTENT;
      },
      stop: () => Promise.resolve(),
    };
  },
};

function saidOf(who: string, { id, format }: { id: string; format: string }): string {
  return assertion({
    nameId: nameId(who, format),
    confirmations: confirmation({ inResponseTo: id }),
    attributes: attribute("mail", `${who}@example.com`),
  });
}

/** What a request of ours asks, as its receiver reads it. */
function asked({ url }: Leaving["to"]): { id: string; relayState: string } {
  const { searchParams } = new URL(url);
  const packed = Buffer.from(searchParams.get("SAMLRequest") ?? "", "base64");
  const xml = inflateRawSync(packed).toString();
  return {
    id: / ID="([^"]+)"/.exec(xml)?.[1] ?? "",
    relayState: searchParams.get("RelayState") ?? "",
  };
}
