import { isIP } from "node:net";
import { z } from "zod";
import { parseDistinguishedName } from "../lib/distinguished-name.ts";

const HOST = /^(?=.{1,253}$)(?!-)[A-Za-z0-9-]{1,63}(?:\.(?!-)[A-Za-z0-9-]{1,63})*$/;

/** Whom a client's certificate must name, in one of five ways (RFC 8705 §2.1.2). */
export const certificateSubjects = {
  tls_client_auth_subject_dn: z
    .string()
    .max(1_000)
    .refine((name) => parseDistinguishedName(name) !== undefined, {
      error:
        "must be a name like CN=photos,O=Acme,C=DE as `openssl x509 -noout -subject -nameopt RFC2253` prints it (RFC 4514)",
    })
    .optional(),
  tls_client_auth_san_dns: z
    .string()
    .regex(HOST, { error: "must be a host name, without a wildcard" })
    .optional(),
  tls_client_auth_san_uri: z
    .string()
    .max(2_000)
    .refine((text) => URL.canParse(text), { error: "must be an absolute URI" })
    .optional(),
  tls_client_auth_san_ip: z
    .string()
    .refine((text) => isIP(text) !== 0, { error: "must be an IP address" })
    .optional(),
  tls_client_auth_san_email: z.email({ error: "must be an e-mail address" }).max(254).optional(),
};
