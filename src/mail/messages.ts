/** What each mail says. Everything is JSON, because it waits sealed in the outbox; times are ISO 8601. */
export interface MailProps {
  /** Somebody guessed passwords until the throttle stopped them. */
  signin_blocked: { readonly email: string; readonly at: string };
  /** Somebody signed in with a browser that we did not know. */
  new_device: {
    readonly email: string;
    readonly at: string;
    /** What fills the message `browser.name`. */
    readonly agent: Readonly<Record<"known" | "browser" | "os", string>>;
    /** ISO 3166-1 alpha-2, or empty. */
    readonly country: string;
    readonly clientName: string;
    readonly url: string;
  };
  /** A refresh token came back after it had been exchanged, so that sign-in was ended. */
  token_reused: { readonly email: string; readonly clientName: string; readonly at: string };
  /** The setup link, or the command line, made an administrator. */
  administrator_created: { readonly email: string; readonly at: string };
  /** A client asks the person to approve a sign-in elsewhere. */
  ciba_request: {
    readonly clientName: string;
    readonly bindingMessage: string;
    readonly url: string;
    readonly expiresAt: string;
  };
  /** What the person signs in with, or is spared by, is not what it was. */
  factor_changed: {
    readonly change: FactorChange;
    readonly email: string;
    readonly at: string;
    /** How many recovery codes are left. */
    readonly left?: number;
  };
  /** What the person types to sign in, or as second step. */
  sign_in_code: { readonly code: string; readonly expiresAt: string };
  /** A passkey was made: by the person, or by somebody who got in. */
  passkey_added: {
    readonly email: string;
    readonly name: string;
    readonly url: string;
    readonly at: string;
  };
  passkey_removed: { readonly email: string; readonly name: string; readonly at: string };
  /** A sign-in elsewhere opens the account from now on, or does no longer. */
  identity_linked: {
    readonly email: string;
    readonly name: string;
    readonly url: string;
    readonly at: string;
  };
  identity_unlinked: {
    readonly email: string;
    readonly name: string;
    readonly url: string;
    readonly at: string;
  };
  /** Somebody makes an account with this address, or adds it to theirs. */
  verify_email: {
    readonly email: string;
    readonly code: string;
    readonly url: string;
    /** The app on the way to which it happens; empty where there is none. */
    readonly clientName: string;
    readonly expiresAt: string;
  };
  /** Somebody would make an account with, or add, an address that an account has already. */
  already_registered: { readonly email: string; readonly url: string };
  /** Somebody forgot the password. */
  reset_password: {
    readonly email: string;
    readonly code: string;
    readonly url: string;
    /** Whether there is one; without it this is how the first one is set. */
    readonly hasPassword: boolean;
    readonly expiresAt: string;
  };
  /** Somebody who signs in without a password asks for a new one; they may have lost their passkeys. */
  no_password: {
    readonly email: string;
    readonly code: string;
    readonly url: string;
    readonly expiresAt: string;
  };
  password_changed: { readonly email: string; readonly at: string };
  email_added: { readonly email: string; readonly other: string; readonly at: string };
  email_removed: { readonly email: string; readonly other: string; readonly at: string };
  /** To the old address, which can undo it. */
  email_changed: {
    readonly email: string;
    readonly other: string;
    readonly at: string;
    readonly url: string;
    readonly expiresAt: string;
  };
  invitation: { readonly url: string; readonly clientName: string; readonly expiresAt: string };
  /** An operator asks whether mail works. */
  test: { readonly at: string };
}

/** What can become of a person's second step. */
export type FactorChange =
  | "totp_added"
  | "totp_removed"
  | "totp_disabled"
  | "email_added"
  | "email_removed"
  | "codes_created"
  | "code_used"
  | "browser_trusted"
  | "reset";

export type MailTemplate = keyof MailProps;

/** A mail before it has a language and a recipient: a template, and what to fill in. */
export type Mail = {
  [T in MailTemplate]: { readonly template: T; readonly props: MailProps[T] };
}[MailTemplate];

/** A mail in one language, as it is read. */
export interface RenderedMail {
  readonly subject: string;
  readonly text: string;
  readonly html: string;
}

/** Renders a template; the renderer adds what all mails share: product name, issuer, footer. */
export type RenderMail = <T extends MailTemplate>(
  template: T,
  props: MailProps[T],
  locale: string,
) => RenderedMail | Promise<RenderedMail>;

/** Tells a user that many wrong passwords were tried. */
export function signinBlocked(event: { email: string; at: Date }): Mail {
  return { template: "signin_blocked", props: { ...event, at: event.at.toISOString() } };
}

/** Tells a user that somebody signed in with a browser of which they had not. */
export function newDevice(event: Omit<MailProps["new_device"], "at"> & { at: Date }): Mail {
  return { template: "new_device", props: { ...event, at: event.at.toISOString() } };
}

/** Tells a user that a stolen or repeated refresh token ended a sign-in (RFC 9700 §4.14.2). */
export function tokenReused(event: { email: string; clientName: string; at: Date }): Mail {
  return { template: "token_reused", props: { ...event, at: event.at.toISOString() } };
}

/** Tells a new administrator, at the new address, that the account exists. */
export function administratorCreated(event: { email: string; at: Date }): Mail {
  return { template: "administrator_created", props: { ...event, at: event.at.toISOString() } };
}

/** Asks a user to look at what a client wants approved (CIBA Core §8). */
export function cibaRequest(event: {
  clientName: string;
  bindingMessage: string;
  url: string;
  expiresAt: Date;
}): Mail {
  return {
    template: "ciba_request",
    props: { ...event, expiresAt: event.expiresAt.toISOString() },
  };
}

/** Tells a user that the second step of the account changed (T-78). */
export function factorChanged(event: {
  change: FactorChange;
  email: string;
  at: Date;
  left?: number;
}): Mail {
  return { template: "factor_changed", props: { ...event, at: event.at.toISOString() } };
}

/** Brings a user a code to sign in with; never in the subject, which is read over shoulders (T-75). */
export function signInCode(event: { code: string; expiresAt: Date }): Mail {
  return {
    template: "sign_in_code",
    props: { ...event, expiresAt: event.expiresAt.toISOString() },
  };
}

/** Tells a user that they have one more passkey, and where to remove it (T-78). */
export function passkeyAdded(event: { email: string; name: string; url: string; at: Date }): Mail {
  return { template: "passkey_added", props: { ...event, at: event.at.toISOString() } };
}

/** Tells a user that a passkey is no longer theirs (T-78). */
export function passkeyRemoved(event: { email: string; name: string; at: Date }): Mail {
  return { template: "passkey_removed", props: { ...event, at: event.at.toISOString() } };
}

/** Tells a user with which other account they can sign in from now on, or no longer, and where to change that (T-92). */
export function identityChanged(
  what: "identity_linked" | "identity_unlinked",
  event: { email: string; name: string; url: string; at: Date },
): Mail {
  return { template: what, props: { ...event, at: event.at.toISOString() } };
}

/** Lets somebody show that an address is theirs. */
export function verifyEmail(event: {
  email: string;
  code: string;
  url: string;
  clientName: string;
  expiresAt: Date;
}): Mail {
  const props = { ...event, expiresAt: event.expiresAt.toISOString() };
  return { template: "verify_email", props };
}

/** Tells somebody who would make an account that they have one. */
export function alreadyRegistered(event: { email: string; url: string }): Mail {
  return { template: "already_registered", props: event };
}

/** Lets somebody who forgot the password set a new one. */
export function resetPassword(event: {
  email: string;
  code: string;
  url: string;
  hasPassword: boolean;
  expiresAt: Date;
}): Mail {
  const props = { ...event, expiresAt: event.expiresAt.toISOString() };
  return { template: "reset_password", props };
}

/** Tells somebody who has no password how they sign in, and how to set one where no passkey is left. */
export function noPassword(event: {
  email: string;
  code: string;
  url: string;
  expiresAt: Date;
}): Mail {
  return { template: "no_password", props: { ...event, expiresAt: event.expiresAt.toISOString() } };
}

/** Tells somebody that the password was changed. */
export function passwordChanged(event: { email: string; at: Date }): Mail {
  return { template: "password_changed", props: { ...event, at: event.at.toISOString() } };
}

/** Tells somebody that an address was added to the account, or removed from it. */
export function emailListed(
  what: "email_added" | "email_removed",
  event: { email: string; other: string; at: Date },
): Mail {
  return { template: what, props: { ...event, at: event.at.toISOString() } };
}

/** Tells an address that it no longer is the primary one, and lets its owner take that back (T-67). */
export function emailChanged(event: {
  email: string;
  other: string;
  at: Date;
  url: string;
  expiresAt: Date;
}): Mail {
  const props = {
    ...event,
    at: event.at.toISOString(),
    expiresAt: event.expiresAt.toISOString(),
  };
  return { template: "email_changed", props };
}

/** Invites somebody to make an account. */
export function invitation(event: { url: string; clientName: string; expiresAt: Date }): Mail {
  return { template: "invitation", props: { ...event, expiresAt: event.expiresAt.toISOString() } };
}

/** Shows an operator that mail arrives. */
export function test(event: { at: Date }): Mail {
  return { template: "test", props: { at: event.at.toISOString() } };
}
