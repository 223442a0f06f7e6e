/**
 * Every outcome that a person or a client can see and act on. `code` is public API and the key of the
 * translated text (`error.<code>` in the catalogues); `message` is the English text for logs and JSON.
 * What is not an AppError is a bug and is answered as `server_error`.
 */
export class AppError extends Error {
  readonly code: string;
  readonly status: number;
  /** Seconds after which trying again makes sense; sent as Retry-After (RFC 9110 §10.2.3). */
  readonly retryAfter: number | undefined;

  constructor(
    code: string,
    status: number,
    message: string,
    options?: ErrorOptions & { retryAfter?: number },
  ) {
    super(message, options);
    this.name = "AppError";
    this.code = code;
    this.status = status;
    this.retryAfter = options?.retryAfter;
  }

  /** What is said about it, in English. */
  get description(): string {
    return this.message;
  }
}

/**
 * What cannot be done now and can in a moment. The engine takes it for an error of its own, by the fields that it reads
 * of those: an authorization request is sent back with it (RFC 6749 §4.1.2.1), others are answered 503.
 */
class TemporarilyUnavailable extends AppError {
  readonly expose = true;
  readonly statusCode = 503;
  readonly allow_redirect = true;
  readonly error_description = "The server is busy. Try again in a moment.";

  constructor(options: ErrorOptions & { retryAfter: number }) {
    super("temporarily_unavailable", 503, "temporarily_unavailable", options);
    this.name = "TemporarilyUnavailable";
  }

  override get description(): string {
    return this.error_description;
  }
}

/** The constructors, in one list: what can go wrong, with which status and which words. */
export const errors = {
  badRequest: (detail: string, cause?: unknown) =>
    new AppError("bad_request", 400, detail, { cause }),
  crossSite: () =>
    new AppError(
      "cross_site_request",
      403,
      "This form was sent from another site. Open the page here and send it again.",
    ),
  factorNotOffered: () =>
    new AppError(
      "factor_not_offered",
      403,
      "This way to prove who you are is not enough here. Choose one that the page offers.",
    ),
  enrolmentRequired: () =>
    new AppError(
      "enrolment_required",
      403,
      "This cannot be put off any longer. Set up a second step.",
    ),
  tooManyApps: () =>
    new AppError(
      "too_many_apps",
      409,
      "There are as many authenticator apps as an account can have. Remove one first.",
    ),
  nothingToRecover: () =>
    new AppError(
      "nothing_to_recover",
      409,
      "Recovery codes stand in for a second step. Set one up first.",
    ),
  unknownGroup: (name: string) =>
    new AppError("unknown_group", 404, `There is no group ${name}. Run \`lintel group list\`.`),
  groupExists: (name: string) =>
    new AppError("group_exists", 409, `There is a group ${name} already.`),
  unknownRole: (slug: string) =>
    new AppError("unknown_role", 404, `There is no role ${slug}. Run \`lintel role list\`.`),
  roleExists: (slug: string) =>
    new AppError("role_exists", 409, `There is a role ${slug} already.`),
  unknownOrganization: (slug: string) =>
    new AppError(
      "unknown_organization",
      404,
      `There is no organization ${slug}. Run \`lintel organization list\`.`,
    ),
  organizationExists: (slug: string) =>
    new AppError("organization_exists", 409, `There is an organization ${slug} already.`),
  organizationInUse: (slugs: string) =>
    new AppError(
      "organization_in_use",
      409,
      `Its people sign in through ${slugs}. Run \`lintel connection update … --unset organization\` first.`,
    ),
  notAMember: (organization: string) =>
    new AppError(
      "not_a_member",
      409,
      `Only members hold roles inside an organization. Run \`lintel organization add-member ${organization}\` first.`,
    ),
  identityTaken: () =>
    new AppError(
      "identity_taken",
      409,
      "This sign-in is connected to another account. Remove it there first.",
    ),
  notFound: () => new AppError("not_found", 404, "There is no page at this address."),
  methodNotAllowed: () =>
    new AppError("method_not_allowed", 405, "This address does not answer this kind of request."),
  bodyTooLarge: () =>
    new AppError("body_too_large", 413, "The request is larger than this page accepts."),
  unsupportedBody: () =>
    new AppError(
      "unsupported_body",
      415,
      "Send this form as application/x-www-form-urlencoded, uncompressed.",
    ),
  misdirected: () =>
    new AppError(
      "misdirected_request",
      421,
      "This server does not answer for the host in the request.",
    ),
  tooManyRequests: (retryAfter: number) =>
    new AppError("too_many_requests", 429, "Too many tries. Wait a moment and try again.", {
      retryAfter,
    }),
  serverError: (cause: unknown) =>
    new AppError("server_error", 500, "Something went wrong on our side. Try again in a minute.", {
      cause,
    }),
  busy: (retryAfter: number, cause?: unknown): AppError =>
    new TemporarilyUnavailable({ retryAfter, cause }),
  wrongEncryptionKey: () =>
    new AppError(
      "wrong_encryption_key",
      500,
      "The encryption key does not open this database's data keys. Set ENCRYPTION_KEY to the key this database was created with.",
    ),
  schemaNotCurrent: (state: "behind" | "ahead") =>
    new AppError(
      "schema_not_current",
      500,
      state === "behind"
        ? "The database schema is older than this Lintel. Run `lintel migrate`, then start again."
        : "The database schema is newer than this Lintel. Start the version that migrated it, or a newer one.",
    ),
  cannotListen: (host: string, port: number, cause: unknown) =>
    new AppError(
      "cannot_listen",
      500,
      `Cannot listen on ${host}:${port}. Another process has the port, or it needs privileges; set PORT, MTLS_PORT, DEMO_PORT or METRICS_PORT to a free one.`,
      { cause },
    ),
  invalidSetupLink: () =>
    new AppError(
      "invalid_setup_link",
      410,
      "This setup link was used or has expired. Run `lintel setup-link` for a new one.",
    ),
  invalidClientMetadata: (detail: string) => new AppError("invalid_client_metadata", 400, detail),
  unreadableDocument: (cause?: unknown) =>
    new AppError(
      "invalid_client_metadata",
      400,
      "the document could not be read; its address must answer with 200, JSON of at most 16 kB, and no redirect",
      { cause },
    ),
  unknownClient: (clientId: string) =>
    new AppError(
      "unknown_client",
      404,
      `There is no client with the id ${clientId}. Run \`lintel client list\`.`,
    ),
  invalidResource: (detail: string) => new AppError("invalid_resource", 400, detail),
  unknownResource: (indicator: string) =>
    new AppError(
      "unknown_resource",
      404,
      `There is no API with the identifier ${indicator}. Run \`lintel resource list\`.`,
    ),
  invalidAuthorizationType: (detail: string) =>
    new AppError("invalid_authorization_type", 400, detail),
  unknownAuthorizationType: (type: string) =>
    new AppError(
      "unknown_authorization_type",
      404,
      `There is no authorization type ${type}. Run \`lintel authorization-type list\`.`,
    ),
  authorizationTypeInUse: (type: string) =>
    new AppError(
      "authorization_type_in_use",
      409,
      `Clients are registered for ${type}. Take it out of their authorization_details_types first.`,
    ),
  invalidWorkload: (detail: string) => new AppError("invalid_workload", 400, detail),
  unknownWorkload: (id: string) =>
    new AppError(
      "unknown_workload",
      404,
      `There is no workload ${id}. Run \`lintel workload list\`.`,
    ),
  invalidConnection: (detail: string, cause?: unknown) =>
    new AppError("invalid_connection", 400, detail, { cause }),
  unknownConnection: (slug: string) =>
    new AppError(
      "unknown_connection",
      404,
      `There is no connection ${slug}. Run \`lintel connection list\`.`,
    ),
  connectionChanged: (current: number, expected: number) =>
    new AppError(
      "connection_changed",
      409,
      `The connection was changed meanwhile: it has version ${current}, not ${expected}. Read it again and repeat the change.`,
    ),
  connectionInUse: (detail: string) => new AppError("connection_in_use", 409, detail),
  invalidDomain: (detail: string, cause?: unknown) =>
    new AppError("invalid_domain", 400, detail, { cause }),
  unknownDomain: (slug: string, domain: string) =>
    new AppError(
      "unknown_domain",
      404,
      `The connection ${slug} has no domain ${domain}. Run \`lintel connection domain list ${slug}\`.`,
    ),
  domainNotProven: (detail: string, cause?: unknown) =>
    new AppError("domain_not_proven", 409, detail, { cause }),
  unknownTrace: (id: string) =>
    new AppError(
      "unknown_trace",
      404,
      `There is no trace with the support id ${id}. Traces are kept for a limited time; check the number.`,
    ),
  unknownRegistrationToken: (id: string) =>
    new AppError(
      "unknown_registration_token",
      404,
      `There is no initial access token ${id}. Run \`lintel registration-token list\`.`,
    ),
  unknownUser: (who: string) =>
    new AppError("unknown_user", 404, `There is no user ${who}. Run \`lintel user list\`.`),
  emailEnforced: (email: string) =>
    new AppError(
      "email_enforced",
      409,
      `An organization manages sign-in with ${email}: it can be neither removed nor replaced as the primary address.`,
    ),
  emailTaken: () =>
    new AppError("email_taken", 409, "Another user already has this verified e-mail address."),
  invalidEmail: () =>
    new AppError("invalid_email", 400, "This is not an e-mail address that mail can be sent to."),
  unknownInvitation: (id: string) =>
    new AppError(
      "unknown_invitation",
      404,
      `There is no open invitation ${id}. Run \`lintel invitation list\`.`,
    ),
  invalidTerms: (detail: string) => new AppError("invalid_terms", 400, detail),
  weakPassword: (detail: string) => new AppError("weak_password", 400, detail),
  clientChanged: (current: number, expected: number) =>
    new AppError(
      "client_changed",
      409,
      `The client was changed meanwhile: it has version ${current}, not ${expected}. Read it again and repeat the change.`,
    ),
  ambiguousUser: (who: string, ids: readonly string[]) =>
    new AppError(
      "ambiguous_user",
      409,
      `Several users claim ${who}, and none has verified it. Name one by id: ${ids.join(", ")}.`,
    ),
  usernameTaken: () =>
    new AppError("username_taken", 409, "Another user already has this username."),
  setupComplete: () =>
    new AppError(
      "setup_complete",
      409,
      "Setup is complete: there is an administrator, who can add others.",
    ),
  conformance: (detail: string) => new AppError("conformance", 400, detail),
  databaseUnavailable: (reason: string, cause: unknown) =>
    new AppError(
      "database_unavailable",
      500,
      `The database does not answer (${reason}). Check DATABASE_URL and that PostgreSQL runs.`,
      { cause },
    ),
  databaseAhead: (unknown: readonly string[]) =>
    new AppError(
      "database_ahead",
      500,
      `A newer Lintel has migrated this database (${unknown.join(", ")}). Start that version, or restore a backup.`,
    ),
  embeddedDatabase: (message: string, cause?: unknown) =>
    new AppError("embedded_database", 500, message, { cause }),
} as const;
