import type { AuthenticationResponseJSON, RegistrationResponseJSON } from "@simplewebauthn/server";
import { z } from "zod";

/** What an authenticator's answer says of the page that asked (WebAuthn §5.8.1). */
export interface ClientData {
  readonly challenge: string;
  /** Whether a page of another origin was around ours. Safari says so without saying which one (T-81). */
  readonly isCrossOrigin: boolean;
}

const base64url = z
  .string()
  .max(16_000)
  .regex(/^[\w-]+$/);
const credentialId = base64url.max(1364);

const credential = {
  id: credentialId,
  rawId: credentialId,
  type: z.literal("public-key"),
  authenticatorAttachment: z.enum(["platform", "cross-platform"]).optional().catch(undefined),
  // Nothing that we asked for is in there.
  clientExtensionResults: z
    .unknown()
    .optional()
    .transform(() => ({})),
};

const assertion = z.object({
  ...credential,
  response: z.object({
    clientDataJSON: base64url,
    authenticatorData: base64url,
    signature: base64url,
    userHandle: base64url
      .max(86)
      .nullish()
      .transform((handle) => handle ?? undefined),
  }),
});

const registration = z.object({
  ...credential,
  response: z.object({
    clientDataJSON: base64url,
    attestationObject: base64url,
    transports: z.array(z.string().max(20)).max(10).optional().catch(undefined),
  }),
});

const clientData = z.object({
  challenge: base64url.max(100),
  crossOrigin: z.unknown().optional(),
  topOrigin: z.unknown().optional(),
});

/** Reads an AuthenticationResponseJSON (WebAuthn §5.1.8); `undefined` for what is none. */
export function readAssertion(
  text: string,
): { response: AuthenticationResponseJSON; clientData: ClientData } | undefined {
  return read(text, assertion) as
    | { response: AuthenticationResponseJSON; clientData: ClientData }
    | undefined;
}

/** Reads a RegistrationResponseJSON (WebAuthn §5.1.8); `undefined` for what is none. */
export function readRegistration(
  text: string,
): { response: RegistrationResponseJSON; clientData: ClientData } | undefined {
  return read(text, registration) as
    | { response: RegistrationResponseJSON; clientData: ClientData }
    | undefined;
}

function read<T extends { response: { clientDataJSON: string } }>(
  text: string,
  schema: z.ZodType<T>,
): { response: T; clientData: ClientData } | undefined {
  const response = schema.safeParse(parse(text));
  if (!response.success) return undefined;
  const json = Buffer.from(response.data.response.clientDataJSON, "base64url").toString();
  const said = clientData.safeParse(parse(json));
  if (!said.success) return undefined;
  const { challenge, crossOrigin, topOrigin } = said.data;
  const isCrossOrigin =
    (crossOrigin !== undefined && crossOrigin !== false) || topOrigin !== undefined;
  return { response: response.data, clientData: { challenge, isCrossOrigin } };
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
