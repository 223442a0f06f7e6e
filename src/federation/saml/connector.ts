import { X509Certificate } from "node:crypto";
import { writer } from "../../database/transaction.ts";
import { newSecret, sha256 } from "../../lib/secret.ts";
import type { IdentityProvider } from "../../models/identity-provider.ts";
import { ReplayGuard } from "../../models/replay-guard.ts";
import type { SamlConnection } from "../../models/saml-connection.ts";
import {
  UpstreamError,
  type Answer,
  type Connector,
  type ConnectorNeeds,
  type ConnectorSite,
  type Departure,
  type Leaving,
  type Trace,
  type UpstreamIdentity,
  type UpstreamLogout,
  type UpstreamSession,
} from "../connector.ts";
import {
  checkEnvelope,
  checkLogoutRequest,
  checkResponse,
  subjectOf,
  type Expected,
} from "./checks.ts";
import { claimsOf } from "./claims.ts";
import { diagnose } from "./diagnose.ts";
import { broken } from "./failure.ts";
import { authnRequest, logoutRequest, logoutResponse, sendTo } from "./messages.ts";
import type { IdpMetadata } from "./metadata.ts";
import { NAME_ID, PARTIAL_LOGOUT, SUCCESS } from "./names.ts";
import type { NameId } from "./read.ts";
import { refreshEarly } from "./refresh.ts";
import { samlSettings, type SamlSettings } from "./settings.ts";
import { openSpKeys, spCertificates, type SpKey } from "./sp-key.ts";
import { describeSp } from "./sp-metadata.ts";
import type { Message, Trust, VerifiedLogout } from "./verify.ts";
import { workshop } from "./workshop.ts";

type Received = Omit<Answer, "secrets">;

/** Bits that an RSA key of a provider must have. */
const MIN_RSA_BITS = 2048;
/** What of a RelayState is given back; the specification has 80 bytes (SAML Bindings §3.4.3). */
const MAX_RELAY_STATE = 1024;

/** Opens a SAML identity provider. `provider.saml` must have been fetched. */
export function openSaml(
  provider: IdentityProvider,
  site: ConnectorSite,
  needs: ConnectorNeeds,
): SamlConnector {
  return new SamlConnector(provider, site, needs);
}

/** A SAML 2.0 identity provider, to which we are a service provider (SAML Profiles §4.1, §4.4). */
export class SamlConnector implements Connector {
  readonly #provider: IdentityProvider;
  readonly #connection: SamlConnection;
  readonly #site: ConnectorSite;
  readonly #needs: ConnectorNeeds;
  readonly #settings: SamlSettings;
  #known: Promise<IdpMetadata> | undefined;

  constructor(provider: IdentityProvider, site: ConnectorSite, needs: ConnectorNeeds) {
    if (provider.saml == null) throw new Error(`${provider.slug} was read without its saml row`);
    this.#provider = provider;
    this.#connection = provider.saml;
    this.#site = site;
    this.#needs = needs;
    this.#settings = samlSettings.parse(provider.settings);
  }

  /** Sends an AuthnRequest (SAML Core §3.4.1), by redirect where the provider takes that. */
  async leave({ state, fresh }: Departure, trace: Trace): Promise<Leaving> {
    const now = new Date();
    const metadata = await this.#metadata(now);
    const [endpoint] = metadata.signOn;
    if (endpoint === undefined) throw new Error("metadata without SingleSignOnService was kept");
    const id = `_${newSecret()}`;
    const isForced = fresh === true || this.#settings.force_authn;
    const text = authnRequest({
      ...this.#head(id, endpoint.location, now),
      acs: this.#site.acs,
      nameIdFormat: this.#nameIdFormat,
      isForced,
      classRefs: this.#settings.authn_context,
      comparison: this.#settings.authn_context_comparison,
    });
    const isSigned = this.#connection.signRequests || metadata.wantsSignedRequests;
    const key = isSigned ? this.#key : undefined;
    const to = sendTo(endpoint, endpoint.location, {
      kind: "SAMLRequest",
      text,
      relayState: state,
      key,
    });
    trace("request made", { to: endpoint.location, binding: endpoint.binding, isSigned });
    const forcedAt = isForced ? { forced_at: String(seconds(now)) } : {};
    return { to, secrets: { request_id: id, ...forcedAt } };
  }

  /** Takes a Response (SAML Profiles §4.1.4). */
  async arrive({ parameters, secrets }: Answer, trace: Trace): Promise<UpstreamIdentity> {
    const now = new Date();
    const text = required(parameters, "SAMLResponse");
    trace("response received", { characters: text.length });
    const job = {
      task: "response",
      text,
      wantsResponseSigned: this.#connection.wantResponseSigned,
      wantsAssertionSigned: this.#settings.want_assertions_signed,
      wantsEncrypted: this.#connection.wantEncrypted,
      privateKeys: this.#privateKeys,
    } as const;
    const verified = await this.#trusting(now, trace, (trust) =>
      workshop.do(this.#provider.id, { ...job, trust }),
    );
    const { response, assertion, isEncrypted } = verified;
    trace("signature verified", { isResponseSigned: response.isSigned, isEncrypted });
    const { request_id: requestId = "", forced_at: forcedAt } = secrets;
    const isExact = this.#settings.authn_context_comparison === "exact";
    const { statement, replayUntil } = checkResponse(verified, {
      ...this.#expected(this.#site.acs, now),
      requestId,
      forcedAt: forcedAt === undefined ? undefined : Number(forcedAt),
      classRefs: isExact ? this.#settings.authn_context : [],
    });
    await this.#spend(assertion.id, replayUntil, now);
    const { nameId, attributes } = assertion;
    trace("assertion accepted", {
      nameIdFormat: nameId?.format,
      attributes: Object.keys(attributes),
      authnContext: statement.classRef,
    });
    const claims = claimsOf(attributes);
    return {
      issuer: this.#entityId,
      subject: subjectOf(assertion, this.#settings),
      ...this.#email(claims, nameId),
      claims,
      ...(statement.classRef === undefined ? {} : { acr: statement.classRef }),
      authTime: statement.instant,
      session: sessionOf(statement, nameId),
    };
  }

  async test(trace: Trace): Promise<void> {
    const now = new Date();
    const metadata = await this.#metadata(now);
    this.#trustOf(metadata);
    const { fetch } = this.#needs;
    await diagnose({ connection: this.#connection, metadata, fetch, now }, trace);
  }

  /** Sends a LogoutRequest, where the connection wants that and the provider takes any (SAML Profiles §4.4). */
  async signOut(session: UpstreamSession, state: string): Promise<Leaving["to"] | undefined> {
    if (!this.#settings.sign_out) return undefined;
    const now = new Date();
    const [endpoint] = (await this.#metadata(now)).logout;
    const { nameId, index } = session;
    if (endpoint === undefined || nameId === undefined) return undefined;
    const head = this.#head(logoutIdOf(state), endpoint.location, now);
    return sendTo(endpoint, endpoint.location, {
      kind: "SAMLRequest",
      text: logoutRequest({ ...head, nameId, index }),
      relayState: state,
      key: this.#key,
    });
  }

  /** Reads a LogoutRequest, and makes the answer to it (SAML Core §3.7.3). */
  async readLogout(answer: Received, trace: Trace): Promise<UpstreamLogout> {
    const now = new Date();
    const verified = await this.#readLogoutMessage(answer, now, trace);
    if (verified.kind !== "request")
      throw broken("saml.root", "The message is a LogoutResponse, not a LogoutRequest.");
    const { request } = verified;
    const expected = this.#expected(this.#site.slo, now);
    const { nameId, until } = checkLogoutRequest(request, expected);
    await this.#spend(request.id, until, now);
    trace("logout request accepted", { sessions: request.sessionIndexes.length });
    const [index, ...others] = request.sessionIndexes;
    // Our interface names one session or all; who names several means that person.
    const named = index === undefined || others.length > 0 ? {} : { index };
    const isNameIdSubject = this.#settings.subject_attribute === undefined;
    if (!isNameIdSubject && named.index === undefined)
      throw broken(
        "saml.session_index",
        "The request names no session.",
        "Let the provider send a SessionIndex: an attribute says who somebody is, which no request has.",
        "incomplete",
      );
    const reply = await this.#replyTo(request.id, answer, now);
    return {
      issuer: this.#entityId,
      ...(isNameIdSubject ? { subject: nameId.value } : {}),
      ...named,
      ...(reply === undefined ? {} : { reply }),
    };
  }

  /**
   * Reads the answer to a LogoutRequest of ours.
   *
   * @returns whether everybody there did as they were told.
   */
  async readLogoutResponse(answer: Received): Promise<{ isComplete: boolean }> {
    const now = new Date();
    const verified = await this.#readLogoutMessage(answer, now, () => undefined);
    if (verified.kind !== "response")
      throw broken("saml.root", "The message is a LogoutRequest, not a LogoutResponse.");
    const { response, status } = verified;
    checkEnvelope(response, this.#expected(this.#site.slo, now));
    if (response.inResponseTo !== logoutIdOf(answer.parameters["RelayState"] ?? ""))
      throw broken("saml.in_response_to", "The message answers another request.");
    const isComplete = status.codes[0] === SUCCESS && !status.codes.includes(PARTIAL_LOGOUT);
    return { isComplete };
  }

  /**
   * Whether somebody came with a Response that nobody asked for, and the operator lets that begin a sign-in. Nothing
   * else in it is believed: who wants in is sent to the provider with a request of our own (T-103).
   */
  async isUnsolicited({ parameters }: Received): Promise<boolean> {
    const text = parameters["SAMLResponse"];
    if (!this.#connection.allowIdpInitiated || text === undefined) return false;
    try {
      const { issuer, inResponseTo } = await workshop.do(this.#provider.id, {
        task: "peek",
        text,
      });
      return issuer === this.#entityId && inResponseTo === undefined;
    } catch (error) {
      if (error instanceof UpstreamError) return false;
      throw error;
    }
  }

  /** Our metadata for this provider. */
  async describe(): Promise<{ readonly type: string; readonly body: string }> {
    const body = describeSp({
      entityId: this.#spEntityId,
      acs: this.#site.acs,
      slo: this.#site.slo,
      certificates: spCertificates(this.#connection),
      nameIdFormat: this.#nameIdFormat,
      signsRequests: this.#connection.signRequests,
      wantsAssertionsSigned: this.#settings.want_assertions_signed,
      wantsEncrypted: this.#connection.wantEncrypted,
    });
    return { type: "application/samlmetadata+xml", body };
  }

  get #entityId(): string {
    return this.#provider.issuer ?? "";
  }

  get #spEntityId(): string {
    return this.#settings.sp_entity_id ?? this.#site.metadata;
  }

  /** What is asked for; where an attribute says who somebody is, any will do. */
  get #nameIdFormat(): string | undefined {
    const byAttribute = this.#settings.subject_attribute !== undefined;
    return this.#connection.nameIdFormat ?? (byAttribute ? undefined : NAME_ID.persistent);
  }

  get #keys(): readonly SpKey[] {
    return openSpKeys(this.#needs.seal, this.#connection);
  }

  get #privateKeys(): readonly string[] {
    return this.#keys.map(({ privateKey }) => privateKey);
  }

  /** What we sign with. */
  get #key(): SpKey {
    const [key] = this.#keys;
    if (key === undefined) throw new Error(`${this.#provider.slug} was kept without a key`);
    return key;
  }

  async #metadata(now: Date): Promise<IdpMetadata> {
    return current(await this.#readMetadata(), now);
  }

  /** Once, beside the server's own thread: the provider wrote it (T-106). What failed is tried again. */
  #readMetadata(): Promise<IdpMetadata> {
    this.#known ??= this.#parse(this.#connection).catch((error: unknown) => {
      this.#known = undefined;
      throw error;
    });
    return this.#known;
  }

  #parse({ metadataXml: xml }: SamlConnection): Promise<IdpMetadata> {
    const job = { task: "metadata", xml, entityId: this.#entityId } as const;
    return workshop.do(this.#provider.id, job);
  }

  /** Verifies with the keys that are known, and with those that the provider has now where none of them fits. */
  async #trusting<T>(now: Date, trace: Trace, verify: (trust: Trust) => Promise<T>): Promise<T> {
    try {
      return await verify(this.#trustOf(await this.#metadata(now)));
    } catch (error) {
      if (!(error instanceof UpstreamError) || error.rule !== "saml.signature") throw error;
      const provider = Object.assign(this.#provider, { saml: this.#connection });
      const renewed = await refreshEarly(this.#needs, provider, now, trace);
      if (renewed === undefined) throw error;
      return verify(this.#trustOf(current(await this.#parse(renewed), now)));
    }
  }

  #trustOf(metadata: IdpMetadata): Trust {
    const allowsLegacy = this.#connection.allowLegacyCrypto;
    const certificates = metadata.certificates.filter((pem) => allowsLegacy || isStrong(pem));
    if (certificates.length > 0) return { certificates, allowsLegacy };
    throw new UpstreamError(
      "misconfigured",
      "saml.certificate",
      `The provider's keys are neither EC nor RSA with ${MIN_RSA_BITS} bits.`,
      { hint: "Let the provider sign with a new key." },
    );
  }

  #expected(destination: string, now: Date): Expected {
    const [entityId, spEntityId] = [this.#entityId, this.#spEntityId];
    return { entityId, spEntityId, destination, now: seconds(now) };
  }

  #head(id: string, destination: string, now: Date) {
    return { id, issuer: this.#spEntityId, destination, now };
  }

  /** SAML has no word for a verified address; what a provider says of its people counts as its word for it. */
  #email(claims: UpstreamIdentity["claims"], nameId: NameId | undefined) {
    const said = [claims[this.#provider.attributeMapping["email"] ?? "email"]].flat()[0];
    const named = nameId?.format === NAME_ID.emailAddress ? nameId.value : undefined;
    const email = typeof said === "string" ? said : named;
    return email === undefined ? { emailVerified: false } : { email, emailVerified: true };
  }

  /** Sees to it that no message is taken twice (T-102). */
  async #spend(id: string, until: number, now: Date): Promise<void> {
    const key = sha256(`saml\0${this.#provider.id}\0${id}`);
    const db = await writer(this.#needs.knex);
    if (!(await ReplayGuard.claim(db, key, new Date(until * 1000), now)))
      throw broken(
        "saml.replay",
        "The message was used before.",
        "Let the person sign in again: a page that is reloaded sends its message once more.",
        "replayed",
      );
  }

  async #readLogoutMessage(
    { method, parameters, query }: Received,
    now: Date,
    trace: Trace,
  ): Promise<VerifiedLogout> {
    const message: Message =
      method === "GET"
        ? { binding: "redirect", query: query ?? "" }
        : {
            binding: "post",
            text: parameters["SAMLRequest"] ?? required(parameters, "SAMLResponse"),
          };
    const job = { task: "logout", message, privateKeys: this.#privateKeys } as const;
    return this.#trusting(now, trace, (trust) => workshop.do(this.#provider.id, { ...job, trust }));
  }

  async #replyTo(
    inResponseTo: string,
    { method, parameters }: Received,
    now: Date,
  ): Promise<Leaving["to"] | undefined> {
    const { logout } = await this.#metadata(now);
    const binding = method === "GET" ? "redirect" : "post";
    const endpoint = logout.find((one) => one.binding === binding) ?? logout[0];
    if (endpoint === undefined) return undefined;
    const location = endpoint.responseLocation;
    return sendTo(endpoint, location, {
      kind: "SAMLResponse",
      text: logoutResponse({ ...this.#head(`_${newSecret()}`, location, now), inResponseTo }),
      relayState: parameters["RelayState"]?.slice(0, MAX_RELAY_STATE),
      key: this.#key,
    });
  }
}

function sessionOf(
  {
    sessionIndex,
    sessionNotOnOrAfter,
  }: { sessionIndex?: string | undefined; sessionNotOnOrAfter?: number | undefined },
  nameId: NameId | undefined,
): UpstreamSession {
  return {
    ...(sessionIndex === undefined ? {} : { index: sessionIndex }),
    ...(nameId === undefined ? {} : { nameId }),
    ...(sessionNotOnOrAfter === undefined ? {} : { notAfter: sessionNotOnOrAfter }),
  };
}

/** The ID of a LogoutRequest follows from its state, so that nothing need be kept to know the answer by. */
function logoutIdOf(state: string): string {
  return `_${sha256(`saml logout\0${state}`).toString("hex")}`;
}

/** Metadata whose time is not over (SAML Metadata §2.3.2). */
function current(metadata: IdpMetadata, now: Date): IdpMetadata {
  const { validUntil } = metadata;
  if (validUntil === undefined || validUntil > now) return metadata;
  throw new UpstreamError(
    "misconfigured",
    "saml.metadata_expired",
    `The provider's metadata was good until ${validUntil.toISOString()}.`,
    { hint: "Load it again, from an address that is kept up to date." },
  );
}

function isStrong(pem: string): boolean {
  const { asymmetricKeyType, asymmetricKeyDetails } = new X509Certificate(pem).publicKey;
  if (asymmetricKeyType === "ec") return true;
  return asymmetricKeyType === "rsa" && (asymmetricKeyDetails?.modulusLength ?? 0) >= MIN_RSA_BITS;
}

function required(parameters: Received["parameters"], name: string): string {
  const value = parameters[name];
  if (value === undefined) throw broken("saml.message", `There is no ${name}.`);
  return value;
}

function seconds(date: Date): number {
  return Math.floor(date.getTime() / 1000);
}
