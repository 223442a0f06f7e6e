type Outcome = "success" | "failure" | "denied";

interface EventKind {
  readonly outcome: Outcome;
  /** The fields that `details` may have. None holds what identifies a person: ids go into columns of their own. */
  readonly details: readonly string[];
}

/** Everything that is recorded: the closed list of event types, how each ends, and what it may say. */
export const EVENTS = {
  "login.succeeded": {
    outcome: "success",
    details: ["method", "acr", "country", "riskScore", "riskReasons", "isNewDevice"],
  },
  "login.stepped_up": { outcome: "success", details: ["method", "acr"] },
  "login.failed": { outcome: "failure", details: ["method", "reason"] },
  "login.blocked": { outcome: "denied", details: ["retryAfter"] },
  "federation.failed": { outcome: "failure", details: ["connection", "reason", "rule"] },
  "logout.user": { outcome: "success", details: [] },
  "logout.rp": { outcome: "success", details: [] },
  "session.switched": { outcome: "success", details: [] },
  "session.revoked": { outcome: "success", details: ["reason", "count"] },

  "passkey.created": { outcome: "success", details: ["via", "aaguid"] },
  "passkey.second_step_set": { outcome: "success", details: ["always"] },
  "passkey.renamed": { outcome: "success", details: [] },
  "passkey.removed": { outcome: "success", details: [] },
  "passkey.used": { outcome: "success", details: ["via"] },
  "passkey.clone_suspected": { outcome: "denied", details: [] },

  "user.created": { outcome: "success", details: ["via", "roles"] },
  "user.disabled": { outcome: "success", details: [] },
  "user.enabled": { outcome: "success", details: [] },
  "user.reclaimed": { outcome: "success", details: [] },
  "password.changed": { outcome: "success", details: ["via"] },
  "password.reset_requested": { outcome: "success", details: [] },
  "email.added": { outcome: "success", details: [] },
  "email.verified": { outcome: "success", details: [] },
  "email.primary_changed": { outcome: "success", details: [] },
  "email.removed": { outcome: "success", details: [] },
  "email.restored": { outcome: "success", details: [] },
  "profile.completed": { outcome: "success", details: ["claims"] },
  "terms.published": { outcome: "success", details: ["document", "version"] },
  "terms.withdrawn": { outcome: "success", details: ["document"] },
  "terms.accepted": { outcome: "success", details: ["locale"] },
  "terms.declined": { outcome: "denied", details: ["locale"] },
  "invitation.created": { outcome: "success", details: [] },
  "invitation.revoked": { outcome: "success", details: [] },
  "invitation.accepted": { outcome: "success", details: [] },

  "identity.provisioned": { outcome: "success", details: ["connection"] },
  "identity.linked": { outcome: "success", details: ["connection", "via"] },
  "identity.token_issued": { outcome: "success", details: ["connection", "scopes"] },
  "identity.unlinked": { outcome: "success", details: ["connection"] },

  "group.created": { outcome: "success", details: [] },
  "group.updated": { outcome: "success", details: [] },
  "group.deleted": { outcome: "success", details: [] },
  "group.member_added": { outcome: "success", details: ["via"] },
  "group.member_removed": { outcome: "success", details: ["via"] },

  "organization.created": { outcome: "success", details: [] },
  "organization.updated": { outcome: "success", details: ["fields"] },
  "organization.deleted": { outcome: "success", details: [] },
  "organization.member_added": { outcome: "success", details: ["via"] },
  "organization.member_removed": { outcome: "success", details: ["via"] },

  "role.created": { outcome: "success", details: [] },
  "role.updated": { outcome: "success", details: ["fields"] },
  "role.deleted": { outcome: "success", details: [] },
  "role.assigned": { outcome: "success", details: ["via", "group", "organization"] },
  "role.unassigned": { outcome: "success", details: ["via", "group", "organization"] },

  "factor.added": { outcome: "success", details: ["type"] },
  "factor.removed": { outcome: "success", details: ["type"] },
  "factor.reset": { outcome: "success", details: ["count"] },
  "factor.disabled": { outcome: "denied", details: ["type"] },
  "factor.failed": { outcome: "failure", details: ["method", "reason"] },
  "factor.blocked": { outcome: "denied", details: ["method", "retryAfter"] },
  "factor.postponed": { outcome: "success", details: ["left"] },
  "factor.codes_created": { outcome: "success", details: [] },
  "factor.code_used": { outcome: "success", details: ["left"] },
  "factor.code_sent": { outcome: "success", details: ["purpose"] },
  "factor.browser_trusted": { outcome: "success", details: [] },
  "factor.trust_removed": { outcome: "success", details: ["count"] },

  "authorization.succeeded": { outcome: "success", details: ["scope", "responseType"] },
  "consent.granted": { outcome: "success", details: ["scopes", "authorizationDetailsTypes"] },
  "consent.denied": { outcome: "denied", details: ["scopes"] },
  "consent.revoked": { outcome: "success", details: [] },
  "device.approved": { outcome: "success", details: ["grantId"] },
  "device.denied": { outcome: "denied", details: [] },
  "ciba.requested": { outcome: "success", details: ["scopes"] },
  "ciba.approved": { outcome: "success", details: ["scopes"] },
  "ciba.denied": { outcome: "denied", details: [] },
  "ciba.reported": { outcome: "denied", details: [] },
  "token.refresh_reused": { outcome: "denied", details: ["grantId"] },
  "token.code_reused": { outcome: "denied", details: ["grantId"] },
  "token.revoked": { outcome: "success", details: ["kind", "grantId"] },

  "token.exchanged": { outcome: "success", details: ["audience", "scope", "impersonation"] },

  "client.created": { outcome: "success", details: ["name"] },
  "client.updated": { outcome: "success", details: ["fields"] },
  "client.secret_added": { outcome: "success", details: ["secretId"] },
  "client.secret_revoked": { outcome: "success", details: ["secretId"] },
  "client.deleted": { outcome: "success", details: [] },

  "client.registration_token_created": { outcome: "success", details: [] },
  "client.registration_token_revoked": { outcome: "success", details: [] },

  "resource.created": { outcome: "success", details: ["name"] },
  "resource.updated": { outcome: "success", details: ["fields"] },
  "resource.deleted": { outcome: "success", details: [] },
  "authorization.type_saved": { outcome: "success", details: ["type"] },
  "authorization.type_deleted": { outcome: "success", details: ["type"] },

  "connection.created": { outcome: "success", details: ["slug", "kind", "preset"] },
  "connection.updated": { outcome: "success", details: ["slug", "fields"] },
  "connection.deleted": { outcome: "success", details: ["slug", "unlinked"] },
  "connection.metadata_changed": { outcome: "success", details: ["slug", "outcome"] },
  "connection.metadata_accepted": { outcome: "success", details: ["slug", "changes"] },
  "connection.key_rotated": { outcome: "success", details: ["slug", "step"] },
  "connection.domain_added": { outcome: "success", details: ["slug", "domain"] },
  "connection.domain_verified": { outcome: "success", details: ["slug", "domain"] },
  "connection.domain_enforced": { outcome: "success", details: ["slug", "domain", "enforced"] },
  "connection.domain_removed": { outcome: "success", details: ["slug", "domain"] },

  "workload.added": { outcome: "success", details: [] },
  "workload.deleted": { outcome: "success", details: [] },
  "workload.admitted": { outcome: "success", details: [] },

  "key.created": { outcome: "success", details: ["alg"] },
  "key.rotated": { outcome: "success", details: ["alg"] },
  "key.retired": { outcome: "success", details: ["alg"] },
  "setup.link_issued": { outcome: "success", details: [] },
  "setup.completed": { outcome: "success", details: [] },
  "settings.updated": { outcome: "success", details: ["keys"] },
} as const satisfies Record<string, EventKind>;

export type EventType = keyof typeof EVENTS;

/** The details that events of a type may carry. */
export type EventDetails<Type extends EventType> = {
  readonly [Field in (typeof EVENTS)[Type]["details"][number]]?:
    | string
    | number
    | boolean
    | readonly string[]
    | undefined;
};
