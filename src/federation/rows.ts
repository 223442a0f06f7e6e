import type { IdentityProvider } from "../models/identity-provider.ts";
import type { SamlConnection } from "../models/saml-connection.ts";
import type { Definition, ReadDefinition } from "./definition.ts";
import type { ImportedMetadata } from "./saml-metadata.ts";
import { NAME_ID } from "./saml/names.ts";

/** The columns of a connection that its definition decides. */
export function toColumns(
  { definition, settings }: ReadDefinition,
  metadata: ImportedMetadata | undefined,
): Partial<IdentityProvider> {
  const isTokens = definition.kind !== "saml";
  return {
    slug: definition.slug,
    kind: definition.kind,
    preset: definition.preset ?? null,
    name: definition.name,
    atIssuer: definition.at_issuer,
    enabled: definition.enabled,
    showButton: definition.show_button,
    displayOrder: definition.display_order,
    clientId: isTokens ? definition.client_id : null,
    issuer: metadata?.says.entityId ?? definition.issuer ?? originOfTokens(definition),
    settings,
    attributeMapping: definition.attribute_mapping,
    groupMapping: definition.group_mapping,
    roleMapping: definition.role_mapping,
    linkingPolicy: definition.linking_policy,
    jitProvisioning: definition.jit_provisioning,
    syncProfile: definition.sync_profile,
    trustEmailVerified: definition.trust_email_verified,
    trustedAcrValues: definition.trusted_acr_values,
    keepAccess: isTokens && definition.keep_access,
    exchangeClientIds: isTokens ? definition.exchange_client_ids : [],
  };
}

/** A vendor without an issuer of its own is known by where it gives tokens out. */
function originOfTokens(definition: Definition): string | null {
  return definition.kind === "oauth2" ? new URL(definition.settings.token_endpoint).origin : null;
}

/** The columns of the SAML part that its definition decides. */
export function toSamlColumns(
  definition: Extract<Definition, { kind: "saml" }>,
): Partial<SamlConnection> {
  return {
    metadataUrl: definition.metadata_url ?? null,
    nameIdFormat: definition.name_id_format ? NAME_ID[definition.name_id_format] : null,
    signRequests: definition.sign_requests,
    wantResponseSigned: definition.want_response_signed,
    wantEncrypted: definition.want_encrypted,
    allowIdpInitiated: definition.allow_idp_initiated,
    allowLegacyCrypto: definition.allow_legacy_crypto,
  };
}

/** The columns that metadata fills in; none where it stays. */
export function metadataColumns(metadata: ImportedMetadata | undefined): Partial<SamlConnection> {
  if (metadata === undefined) return {};
  return {
    metadataXml: metadata.xml,
    metadataFetchedAt: metadata.fetchedAt,
    metadataValidUntil: metadata.says.validUntil ?? null,
    pendingXml: null,
  };
}

/**
 * A connection as its operator defined it, without what is secret and without the text of its metadata; what follows
 * a default of its settings does not say so.
 */
export function toDefinition(row: IdentityProvider): Record<string, unknown> {
  const { saml } = row;
  const definition = {
    slug: row.slug,
    kind: row.kind,
    preset: row.preset,
    name: row.name,
    at_issuer: row.atIssuer,
    enabled: row.enabled,
    show_button: row.showButton,
    display_order: row.displayOrder,
    issuer: row.issuer,
    settings: row.settings,
    attribute_mapping: row.attributeMapping,
    group_mapping: row.groupMapping,
    role_mapping: row.roleMapping,
    organization: row.organization?.slug ?? null,
    linking_policy: row.linkingPolicy,
    jit_provisioning: row.jitProvisioning,
    sync_profile: row.syncProfile,
    trust_email_verified: row.trustEmailVerified,
    trusted_acr_values: row.trustedAcrValues,
    ...(saml == null ? tokensOf(row) : samlOf(saml)),
  };
  return Object.fromEntries(Object.entries(definition).filter(([, value]) => value !== null));
}

function tokensOf(row: IdentityProvider) {
  return {
    client_id: row.clientId,
    keep_access: row.keepAccess,
    exchange_client_ids: row.exchangeClientIds,
  };
}

function samlOf(saml: SamlConnection) {
  return {
    metadata_url: saml.metadataUrl,
    name_id_format: saml.nameIdFormat?.split(":").at(-1) ?? null,
    sign_requests: saml.signRequests,
    want_response_signed: saml.wantResponseSigned,
    want_encrypted: saml.wantEncrypted,
    allow_idp_initiated: saml.allowIdpInitiated,
    allow_legacy_crypto: saml.allowLegacyCrypto,
  };
}
