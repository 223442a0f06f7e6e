import { inflateRawSync } from "node:zlib";
import { UpstreamError } from "../connector.ts";
import { broken } from "./failure.ts";
import { MESSAGE_LIMITS } from "./xml.ts";

/** Most bytes of a decoded message (T-100). */
const MAX_BYTES = MESSAGE_LIMITS.length;
const BASE64 = /^[A-Za-z0-9+/]+={0,2}$/;

/** Reads a message of the POST binding (SAML Bindings §3.5.4): Base64 of UTF-8, with line breaks at most. */
export function decodePost(text: string): string {
  return utf8(base64(text.replaceAll(/\r?\n/g, "")));
}

/** Reads a message of the redirect binding (SAML Bindings §3.4.4.1): Base64 of DEFLATE of UTF-8. */
export function decodeRedirect(text: string): string {
  const packed = base64(text);
  try {
    return utf8(inflateRawSync(packed, { maxOutputLength: MAX_BYTES }));
  } catch (cause) {
    if (cause instanceof UpstreamError) throw cause;
    const isTooLong = (cause as NodeJS.ErrnoException).code === "ERR_BUFFER_TOO_LARGE";
    throw isTooLong
      ? broken("saml.size", "The message unpacks to more than 256 kB.")
      : broken("saml.deflate", "The message cannot be unpacked.");
  }
}

function base64(text: string): Buffer {
  if (text.length > (MAX_BYTES / 3) * 4 + 4)
    throw broken("saml.size", "The message is longer than 256 kB.");
  const bytes = Buffer.from(text, "base64");
  if (!BASE64.test(text) || bytes.toString("base64") !== text)
    throw broken("saml.base64", "The message is not Base64 as RFC 4648 §4 has it.");
  return bytes;
}

function utf8(bytes: Buffer): string {
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch {
    throw broken("saml.utf8", "The message is not UTF-8.");
  }
}
