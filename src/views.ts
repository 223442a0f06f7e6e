import type { MessageId, MessageValues } from "./i18n/catalogue.ts";

/** A message in words that the page's language decides: its id in the catalogue, and what fills its gaps. */
interface Text {
  readonly message: MessageId;
  readonly values?: MessageValues;
}

/** What is wrong with one field of a form; `field` is the id of its input. */
export interface FieldError extends Text {
  readonly field: string;
}

/** The app that asks, as pages show it. Links are https addresses or absent. */
export interface ClientView {
  readonly name: string;
  readonly firstLetter: string;
  /** The id of the client, if it has a logo. */
  readonly logoOf?: string;
  /** Where the answer goes. */
  readonly host?: string;
  readonly policyUri?: string;
  readonly tosUri?: string;
  /** What it says of itself in some languages. */
  readonly inLanguage?: Readonly<Record<string, ClientWords>>;
}

/** What people read of an app, as far as it is said in a language. */
export type ClientWords = Partial<
  Pick<ClientView, "name" | "firstLetter" | "policyUri" | "tosUri">
>;

/** A connection that a sign-in page has a button for. */
export interface ConnectionView {
  readonly slug: string;
  readonly name: string;
  readonly href: string;
  /** Whether somebody signed in through it on this browser, and through no other since. */
  readonly isLastUsed?: boolean;
}

/** Why a sign-in elsewhere did not end well: what was wrong there, or why nobody is known here by it. */
export const FEDERATION_FAILURES = [
  "cancelled",
  "refused",
  "unavailable",
  "invalid",
  "expired",
  "replayed",
  "incomplete",
  "misconfigured",
  "stale",
  "unknown",
  "disabled",
] as const;
type FederationFailure = (typeof FEDERATION_FAILURES)[number];

/** One scope of a consent page, with the value it would release. */
export interface ConsentScope {
  readonly name:
    | "openid"
    | "profile"
    | "email"
    | "phone"
    | "address"
    | "groups"
    | "roles"
    | "organizations"
    | "organization"
    | "offline_access";
  readonly required: boolean;
  readonly allowedBefore: boolean;
  readonly value: string | undefined;
}

/** What a client asks to do at one API, in the words of its operator. */
export interface ConsentApi {
  readonly name: string;
  readonly indicator: string;
  readonly permissions: readonly {
    /** What makes the id of its input unique. */
    readonly id: string;
    /** The value of its input. */
    readonly item: string;
    readonly description: string;
    readonly allowedBefore: boolean;
  }[];
}

/** One thing beyond scopes that a consent page asks for, with everything it says (RFC 9396). */
export interface ConsentDetail {
  readonly title: string;
  readonly rows: readonly {
    readonly label: string;
    readonly values: readonly (string | boolean)[];
  }[];
}

/** What a person can show as a second step. */
type Factor = "webauthn" | "totp" | "email" | "recovery";

/** A page on which somebody begins by a code by e-mail, or chooses that. */
interface EmailCodeView {
  readonly client: ClientView;
  readonly identifier: string;
  readonly changeHref: string;
  readonly methodsHref: string;
  readonly codeAction: string;
  readonly cancelAction: string;
  readonly errors: readonly FieldError[];
}

/** A page of the second step. */
interface SecondStepView {
  readonly client: ClientView;
  /** Whether there is something else to choose. */
  readonly hasOthers: boolean;
  /** Whether this browser can be spared the next time. */
  readonly canTrust: boolean;
  /** The address of the interaction. */
  readonly here: string;
  readonly cancelAction: string;
}

/** A page of setting up a second step within a sign-in. */
interface EnrolView {
  readonly client: ClientView;
  readonly here: string;
  readonly cancelAction: string;
  readonly account: string;
  readonly errors: readonly FieldError[];
}

/** What an authenticator app is set up with. */
interface NewAppView {
  readonly qr: { readonly size: number; readonly path: string };
  /** In groups of four. */
  readonly key: string;
  readonly uri: string;
}
/** A document that people agree to, in their language. */
interface TermsView {
  readonly versionId: string;
  readonly document: string;
  readonly isMandatory: boolean;
  /** The language that it is in. */
  readonly locale: string;
  readonly title: string;
  readonly summary: string | undefined;
  readonly body: string;
}

/** What a person can be asked for (OIDC Core §5.1). */
type ProfileClaim =
  | "name"
  | "given_name"
  | "family_name"
  | "nickname"
  | "birthdate"
  | "phone_number";

/** A mail as the development mailbox lists it. */
export interface MailboxEntry {
  readonly id: string;
  readonly to: string;
  readonly subject: string;
  readonly at: string;
  readonly status: string;
}

/** What a page needs for a passkey to be used or made on it. A page that has it gets the script for it. */
export interface PasskeyView {
  /** What the browser asks the authenticator (WebAuthn §5.1.9, §5.1.10), as JSON. */
  readonly options: string;
  /** What the browser tells its password manager (WebAuthn §5.1.10), as JSON. */
  readonly signal?: string;
}

/** What a browser calls itself, for the message `browser.name`. */
type BrowserName = Readonly<Record<"known" | "browser" | "os", string>>;

/** A passkey as its owner sees it; times in milliseconds since the epoch. */
interface PasskeyEntry {
  readonly name: string;
  readonly href: string;
  readonly createdAt: number;
  readonly lastUsedAt?: number;
  /** Whether it is on more than one device. */
  readonly isSynced: boolean;
  /** Whether somebody may have a copy. */
  readonly isSuspect: boolean;
}

/** Every page, and what it needs. */
export interface Views {
  login: {
    client: ClientView;
    /** Whether the password is asked for on the same page. */
    combined: boolean;
    username: string;
    /** Where an account can be made, where people may. */
    registerHref?: string;
    forgotHref: string;
    /** Whether they said to be kept signed in. */
    remember: boolean;
    cancelAction: string;
    passkey?: PasskeyView;
    /** The provider at which the person did not finish signing in. */
    stopped?: string;
    /** Where else people can sign in. */
    connections: readonly ConnectionView[];
    errors: readonly FieldError[];
  };
  /** Somebody's domain has a connection, and they may sign in here as well. */
  sso: {
    client: ClientView;
    identifier: string;
    provider: string;
    changeHref: string;
    cancelAction: string;
  };
  /** Somebody who comes from elsewhere has an account with the same address. */
  link: { client: ClientView; provider: string; email: string; cancelAction: string };
  /** A form that goes to an identity provider. */
  "federation-post": {
    provider: string;
    action: string;
    fields: Readonly<Record<string, string>>;
    /** Whether a browser with scripts sends it by itself. */
    atOnce: boolean;
  };
  "federation-error": {
    provider: string;
    reason: FederationFailure;
    /** Where the sign-in goes on. */
    backHref?: string;
  };
  "federation-tested": { provider: string };
  accounts: {
    client: ClientView;
    /** Who is signed in on this browser; `value` is what the form sends for them. */
    accounts: readonly { readonly name: string; readonly email: string; readonly value: string }[];
    cancelAction: string;
  };
  password: {
    client: ClientView;
    identifier: string;
    /** Where other ways to begin are, if there are any. */
    methodsHref?: string;
    /** Whether somebody who is signed in is asked again. */
    reauthenticate: boolean;
    /** Whether the code from their mailbox that they have shown is not enough. */
    isMore: boolean;
    /** Whether they said before to be kept signed in. */
    remember: boolean;
    changeHref: string;
    forgotHref: string;
    cancelAction: string;
    passkey?: PasskeyView;
    errors: readonly FieldError[];
  };
  methods: EmailCodeView & { methods: readonly ("password" | "email-code")[] };
  "email-code": EmailCodeView;
  mfa: SecondStepView & { factors: readonly Factor[]; errors: readonly FieldError[] };
  "mfa-help": SecondStepView & { factors: readonly Factor[] };
  "mfa-totp": SecondStepView & { errors: readonly FieldError[] };
  "mfa-email": SecondStepView & {
    /** As its owner knows it again. */
    address: string;
    /** Whether a code is on its way. */
    isSent: boolean;
    errors: readonly FieldError[];
  };
  "mfa-recovery": SecondStepView & { errors: readonly FieldError[] };
  enroll: EnrolView & {
    reason: "policy" | "client" | "recovered";
    /** How often it can be put off; `Infinity` is always. */
    skipsLeft: number;
    choices: readonly ("webauthn" | "totp" | "email")[];
  };
  "enroll-passkey": {
    client: ClientView;
    passkey: PasskeyView;
    /** The address of the interaction. */
    here: string;
    cancelAction: string;
    errors: readonly FieldError[];
  };
  "enroll-totp": EnrolView & NewAppView & { hasChoice: boolean };
  "enroll-codes": EnrolView & { codes: readonly string[] };
  register: {
    client: ClientView;
    /** Which part is asked for: the address, then how the person signs in, then names and terms; or nothing. */
    stage: "email" | "password" | "details" | "closed";
    email: string;
    minLength: number;
    /** Where a passkey can be made instead of a password. */
    passkey?: PasskeyView;
    givenName: string;
    familyName: string;
    terms: readonly TermsView[];
    signInHref: string;
    cancelAction: string;
    errors: readonly FieldError[];
  };
  verify: {
    client: ClientView;
    /** Empty where none is known. */
    email: string;
    /** Whether a mail is on its way. */
    isSent: boolean;
    action: string;
    sendAction: string;
    /** Where another address can be named: on a page, or with a form here. */
    changeHref?: string;
    addressAction?: string;
    cancelAction: string;
    errors: readonly FieldError[];
  };
  forgot: {
    client: ClientView;
    username: string;
    action: string;
    backHref: string;
    errors: readonly FieldError[];
  };
  "forgot-sent": {
    client: ClientView;
    identifier: string;
    action: string;
    sendAction: string;
    changeHref: string;
    backHref: string;
    errors: readonly FieldError[];
  };
  "new-password": { username: string; minLength: number; errors: readonly FieldError[] };
  terms: { client: ClientView; terms: readonly TermsView[]; errors: readonly FieldError[] };
  "terms-document": {
    title: string;
    /** The language that it is in. */
    locale: string;
    body: string;
    /** In milliseconds since the epoch. */
    publishedAt: number;
  };
  profile: {
    client: ClientView;
    fields: readonly {
      readonly claim: ProfileClaim;
      readonly isRequired: boolean;
      readonly value: string;
    }[];
    cancelAction: string;
    errors: readonly FieldError[];
  };
  /** What a link from a mail is for, before anything happens. */
  letter: {
    kind: "verify" | "undo" | "invite";
    /** The address that it is about. */
    email: string;
    /** The app that it leads to. */
    clientName?: string;
  };
  /** What came of it, or why nothing did. */
  "letter-done": {
    outcome: "verified" | "reset" | "used" | "over" | "elsewhere" | "taken" | "disabled";
    /** The sign-in that goes on in this browser. */
    continueHref?: string;
  };
  "account-emails": {
    emails: readonly {
      readonly id: string;
      readonly email: string;
      readonly isPrimary: boolean;
      readonly isVerified: boolean;
      /** Whether its code can be typed. */
      readonly isSent: boolean;
    }[];
    typed: string;
    /** What was done just now. */
    done?: "added" | "verified" | "promoted" | "removed";
    errors: readonly FieldError[];
  };
  "account-password": {
    username: string;
    /** Whether there is one that could be asked for. */
    hasPassword: boolean;
    minLength: number;
    isDone: boolean;
    errors: readonly FieldError[];
  };
  consent: {
    client: ClientView;
    userName: string;
    scopes: readonly ConsentScope[];
    apis: readonly ConsentApi[];
    /** What else is asked for, each field with its title. */
    details: readonly ConsentDetail[];
    /** Whether the app runs on the person's device, so that nobody can say who made it. */
    runsOnDevice: boolean;
    /** Nobody has looked at what it says of itself. */
    registeredItself: boolean;
    /** Nobody registered it: the host of the address it is known by, and where the answer goes if that is elsewhere. */
    knownByAddress?: { readonly host: string; readonly answerHost?: string };
    /** What people have agreed to here, each with its page. */
    terms: readonly { readonly title: string; readonly href: string }[];
  };
  "device-input": {
    action: string;
    xsrf: string;
    userCode: string;
    errors: readonly FieldError[];
  };
  "device-confirm": {
    action: string;
    xsrf: string;
    client: ClientView;
    /** As the device shows it. */
    userCode: string;
    /** Who is signed in on this browser. */
    userName?: string;
    scopes: readonly ConsentScope["name"][];
    /** When the device asked, and from which network. */
    minutesAgo: number;
    network: string;
    registeredItself: boolean;
  };
  "device-done": { outcome: "approved" | "denied"; clientName: string };
  ciba: {
    client: ClientView;
    userName: string;
    /** What the client shows where the person began; empty where it sent nothing. */
    bindingMessage: string;
    scopes: readonly ConsentScope["name"][];
    minutesAgo: number;
    minutesLeft: number;
    registeredItself: boolean;
  };
  "ciba-done": { outcome: "approved" | "denied" | "reported" | "over" };
  logout: {
    action: string;
    xsrf: string;
    clientName?: string;
    /** Whether the client proved that it asks for this very user; then scripts need not wait for a click. */
    isConfirmed: boolean;
    /** Who else is signed in on this browser. */
    others: readonly string[];
  };
  "signing-out": {
    /** Pages of clients, each in a frame, that end their sessions. */
    frames: readonly { readonly name: string; readonly src: string }[];
    continueHref: string;
  };
  "signed-out": {
    clientName?: string;
    /** Who still is signed in on this browser. */
    others: readonly string[];
  };
  stale: {
    variant: "finished" | "expired" | "unknown";
    clientName?: string;
    /** Where the app can be started again. */
    startHref?: string;
  };
  error: {
    status: number;
    code: string;
    description: string;
    clientName?: string;
    /** What a developer can change; in development only. */
    hint?: string;
  };
  "mfa-webauthn": SecondStepView & { passkey?: PasskeyView; errors: readonly FieldError[] };
  offer: { client: ClientView; passkey: PasskeyView; errors: readonly FieldError[] };
  "account-passkeys": {
    passkeys: readonly (PasskeyEntry & {
      /** The browser with which it was last made or used. */
      agent?: BrowserName;
      /** Where that was, roughly; ISO 3166-1 alpha-2, or empty. */
      country: string;
      /** Whether it is in the device that the page is on. */
      isHere: boolean;
    })[];
    newHref: string;
    secondStepAction: string;
    /** Whether one is asked for after the password, wherever they sign in. */
    asksAlways: boolean;
    hasPassword: boolean;
    passkey: { readonly signal: string };
    errors: readonly FieldError[];
  };
  "account-passkey": PasskeyEntry & {
    /** Whether it was made a moment ago. */
    isNew: boolean;
    backHref: string;
    errors: readonly FieldError[];
  };
  "account-passkey-new": { passkey: PasskeyView; backHref: string; errors: readonly FieldError[] };
  account: {
    userName: string;
    email: string;
    /** Whether browsers make passkeys for this issuer. */
    hasPasskeys: boolean;
    /** Whether there are, or could be, sign-ins elsewhere. */
    hasConnections: boolean;
  };
  sessions: {
    /** Where the person is signed in, this browser first; times in milliseconds since the epoch. */
    browsers: readonly {
      /** Empty where the browser is not known. */
      id: string;
      agent: BrowserName;
      isHere: boolean;
      sessions: readonly {
        id: string;
        isHere: boolean;
        /** ISO 3166-1 alpha-2, or empty. */
        country: string;
        method: string;
        signedInAt: number;
        activeAt: number;
        apps: readonly string[];
      }[];
    }[];
  };
  "not-me": { token: string; agent: BrowserName; at: number; country: string };
  "not-me-done": { outcome: "ended" | "over" };
  "account-authenticators": {
    apps: readonly {
      id: string;
      name: string;
      /** In milliseconds since the epoch. */
      addedAt: number;
      usedAt: number;
      /** Whether too many wrong codes turned it off. */
      isOff: boolean;
    }[];
    hasMailbox: boolean;
    here: string;
    errors: readonly FieldError[];
  };
  "account-authenticator-new": NewAppView & {
    account: string;
    backHref: string;
    errors: readonly FieldError[];
  };
  "account-connected": {
    identities: readonly {
      id: string;
      /** The connection's name. */
      name: string;
      /** Who the person is there, as far as that is known. */
      who: string;
      /** In milliseconds since the epoch. */
      usedAt: number;
      /** Whether it can be disconnected. */
      isRemovable: boolean;
    }[];
    /** What else can be connected. */
    connections: readonly { slug: string; name: string }[];
    here: string;
    /** What was done just now. */
    done?: "connected" | "disconnected";
    errors: readonly FieldError[];
  };
  "account-recovery-codes": {
    left: number;
    /** Whether there is a second step for them to stand in for. */
    isOfUse: boolean;
  };
  "account-codes-new": { codes: readonly string[]; backHref: string };
  "account-browsers": {
    browsers: readonly {
      id: string;
      name: string;
      /** In milliseconds since the epoch. */
      usedAt: number;
      until: number;
    }[];
    here: string;
  };
  home: {
    /** Who is signed in on this browser. */
    userName?: string;
    apps: readonly { name: string; href: string }[];
    /** What waits for the person's decision. */
    approvals: readonly { clientName: string; href: string }[];
  };
  setup: { email: string; displayName: string; minLength: number; errors: readonly FieldError[] };
  "setup-done": { email: string };
  mailbox: { messages: readonly MailboxEntry[] };
  "mailbox-message": MailboxEntry & { text: string; html: string };
  gallery: {
    /** Ways to look at what is linked, each on or off. */
    ways: readonly { message: MessageId; href: string; isOn: boolean }[];
    groups: readonly {
      readonly name: string;
      readonly entries: readonly { name: string; href: string }[];
    }[];
  };
}

/** What a page is made of, filled in by the pages that include it. */
interface Partials {
  "partials/client": { client: ClientView; shell: Shell };
  "partials/client-links": { client: ClientView };
  "partials/cancel": { client: ClientView; cancelAction: string };
  "partials/passkey": object;
  "partials/connections": { connections: readonly ConnectionView[] };
  "partials/code-field": {
    id: "otp" | "recovery_code";
    label: string;
    hint?: string;
    errors: readonly FieldError[];
  };
  "partials/new-app": NewAppView & { account: string; errors: readonly FieldError[] };
  "partials/codes": { codes: readonly string[]; shell: Shell };
  "partials/moments": {
    /** What is said, with U+E000 and U+E001 where the moments belong. */
    text: string;
    /** In milliseconds since the epoch. */
    moments: readonly number[];
    /** Whether the time of the day is told, or the day alone. */
    kind: "full" | "date";
  };
  "partials/others": { others: readonly string[] };
  "partials/trust": { canTrust: boolean };
  "partials/other-factors": { hasOthers: boolean; here: string };
  "partials/new-passkey": { id: string };
  "partials/about-passkeys": object;
  "partials/errors": { errors: readonly FieldError[] };
  "partials/code-form": {
    action: string;
    sendAction: string;
    /** Whether there is a code to type. */
    isSent: boolean;
    errors: readonly FieldError[];
  };
  "partials/terms": { terms: readonly TermsView[]; base: string; errors: readonly FieldError[] };
  "partials/password-field": {
    id: string;
    label: MessageId;
    autocomplete: "current-password" | "new-password";
    errors: readonly FieldError[];
    /** Below the label, in the page's language. */
    hint?: string;
    autofocus?: boolean;
    /** Of a new password: how long it must be, and the address that gives advice while it is typed. */
    fresh?: { readonly minLength: number; readonly advice: string };
  };
}

/** The layout around every page. */
export interface LayoutView extends Shell {
  readonly page: keyof Views;
  /** The page itself, which is HTML. */
  readonly content: string;
  readonly hasErrors: boolean;
  /** The script of pages with passkeys. */
  readonly passkeysJs?: string;
  /** Whether this address can be asked for again in another language. */
  readonly canChooseLanguage: boolean;
}

/** A mail in its language. */
export interface LetterView {
  readonly subject: string;
  readonly paragraphs: readonly string[];
  readonly locale: string;
  readonly direction: "ltr" | "rtl";
  readonly productName: string;
  readonly issuer: string;
}

/**
 * Every template below `views/`, by its path, and what it sees as `view`. `test/views.test.ts` checks them by it.
 *
 * @public
 */
export type TemplateViews = {
  [Name in keyof Views]: Views[Name] & { readonly shell: Shell };
} & Partials & {
    layout: LayoutView;
    "mail/text": LetterView;
    "mail/html": LetterView;
  };

/** What the layout needs beside the page: filled in by `http/page.ts`, the same for all pages. */
export interface Shell {
  readonly locale: string;
  readonly direction: "ltr" | "rtl";
  readonly productName: string;
  /** What the addresses on the page begin with: the issuer's path, empty for most. */
  readonly base: string;
  readonly correlationId: string;
  readonly languages: readonly { tag: string; name: string; href: string }[];
  readonly css: string;
  readonly js: string;
  readonly icon: string;
}
