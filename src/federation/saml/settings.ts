import { z } from "zod";

/** Name identifier formats that can stand for a person for good; a transient one never can (SAML Core §8.3.8). */
const LASTING_FORMATS = ["persistent", "emailAddress", "unspecified"] as const;

/** What the settings of a SAML connection hold beside its row in `saml_connections`. */
export const samlSettings = z.strictObject({
  /** Our entity ID there, where it is not the address of our metadata: for providers that were set up before. */
  sp_entity_id: z.string().min(1).max(1024).optional(),
  /** The attribute that says who somebody is for good, where the NameID does not. */
  subject_attribute: z.string().min(1).max(255).optional(),
  /** Formats of NameIDs that are believed to last. An address may be given to somebody else one day. */
  subject_formats: z.array(z.enum(LASTING_FORMATS)).min(1).default(["persistent"]),
  /** Whether the assertion itself must be signed; otherwise the response around it must be. */
  want_assertions_signed: z.boolean().default(true),
  /** Whether signing out here signs people out there as well, and so of everything else there (SAML Profiles §4.4). */
  sign_out: z.boolean().default(false),
  /** Whether people must always show who they are, though they may be signed in there (ForceAuthn). */
  force_authn: z.boolean().default(false),
  /** How people must have signed in there: AuthnContextClassRef values (SAML Core §3.3.2.2.1). */
  authn_context: z.array(z.string().min(1).max(255)).max(10).default([]),
  authn_context_comparison: z.enum(["exact", "minimum", "maximum", "better"]).default("exact"),
  /** PEM of the certificate that the metadata must be signed with, such as a federation's. */
  metadata_certificate: z
    .string()
    .regex(/^-----BEGIN CERTIFICATE-----[\s\S]+-----END CERTIFICATE-----\s*$/, {
      error: "must be one certificate in PEM",
    })
    .optional(),
  /** The attribute that holds groups. */
  groups_claim: z.string().min(1).max(255).default("groups"),
  /** The attribute that holds roles. */
  roles_claim: z.string().min(1).max(255).default("roles"),
});

export type SamlSettings = z.output<typeof samlSettings>;
