import { getVerifiedXml } from "@node-saml/node-saml/lib/xml.js";
import { UpstreamError } from "../connector.ts";
import { extendXmlCrypto } from "./algorithms.ts";
import type { XmlDocument } from "./xml.ts";

extendXmlCrypto();

/**
 * What a signature inside of an element was made over, to the byte: nothing else of the document may be believed.
 * Keys come from metadata only; what a KeyInfo says is not looked at (SAML Core §5.4.5, T-105).
 *
 * @param element with exactly one signature right inside, whose shape was checked.
 * @param certificates PEM of those that the provider may sign with.
 * @throws UpstreamError `saml.signature`.
 */
export function signedBytes(
  { source }: XmlDocument,
  element: Element,
  certificates: readonly string[],
): string {
  const bytes = verified(source, element, certificates);
  if (bytes !== null) return bytes;
  throw new UpstreamError(
    "invalid",
    "saml.signature",
    `The signature of the ${element.localName} was made with none of the provider's known certificates, or the content was changed after.`,
    { hint: "If the provider has a new certificate, load its metadata again." },
  );
}

function verified(source: string, element: Element, certificates: readonly string[]) {
  try {
    return getVerifiedXml(source, element, [...certificates]);
  } catch {
    return null;
  }
}
