import type { TransactionOrKnex } from "objection";
import { negotiateLocale } from "../i18n/negotiate.ts";
import type { Seal } from "../keys/seal.ts";
import { UserEmail } from "../models/user-email.ts";
import { UserProfile } from "../models/user-profile.ts";
import * as messages from "./messages.ts";
import { sendMail } from "./outbox.ts";

/**
 * The mails Lintel sends, one function each. They put it into the outbox within the caller's transaction and are done;
 * a user is written to at the primary address, in the language of the profile.
 */
export interface Mailer {
  /** At most once a day for one user, however often somebody makes it happen. */
  signinBlocked(db: TransactionOrKnex, event: { userId: string; now: Date }): Promise<void>;
  /** Only to a verified address: the link in it ends sign-ins and stops the password. */
  newDevice(
    db: TransactionOrKnex,
    event: Omit<messages.MailProps["new_device"], "email" | "at"> & { userId: string; now: Date },
  ): Promise<void>;
  /** At most once a day for one user and client. */
  tokenReused(
    db: TransactionOrKnex,
    event: { userId: string; clientName: string; now: Date },
  ): Promise<void>;
  /** Only to a verified address: the link in it leads to a decision. */
  cibaRequest(
    db: TransactionOrKnex,
    event: {
      userId: string;
      clientName: string;
      bindingMessage: string;
      url: string;
      expiresAt: Date;
    },
  ): Promise<void>;
  /** Every time, to a verified address. `left` is how many recovery codes there still are. */
  factorChanged(
    db: TransactionOrKnex,
    event: { userId: string; change: messages.FactorChange; left?: number; now: Date },
  ): Promise<void>;
  /** To the address that was named where it is a verified one of theirs, or else to the verified primary one. */
  signInCode(
    db: TransactionOrKnex,
    event: { userId: string; named?: string | undefined; code: string; expiresAt: Date },
  ): Promise<void>;
  passkeyAdded(
    db: TransactionOrKnex,
    event: { userId: string; name: string; url: string; now: Date },
  ): Promise<void>;
  passkeyRemoved(
    db: TransactionOrKnex,
    event: { userId: string; name: string; now: Date },
  ): Promise<void>;
  /** Tells every proven address which connection the account has from now on, or no longer. */
  identityChanged(
    db: TransactionOrKnex,
    event: {
      userId: string;
      what: "identity_linked" | "identity_unlinked";
      name: string;
      url: string;
      now: Date;
    },
  ): Promise<void>;
  administratorCreated(db: TransactionOrKnex, event: { userId: string; now: Date }): Promise<void>;
  /** Writes a letter that somebody asked for to where it is for, whether that is a user's address or not. */
  letter(
    db: TransactionOrKnex,
    letter: {
      to: string;
      mail: messages.Mail;
      locale: string;
      userId?: string | undefined;
      dedupeKey?: string;
    },
  ): Promise<void>;
  /** Tells every proven address that the password is another one. */
  passwordChanged(db: TransactionOrKnex, event: { userId: string; now: Date }): Promise<void>;
  /** Tells every proven address, and one that is gone, that an address came or went. */
  emailListed(
    db: TransactionOrKnex,
    event: {
      userId: string;
      what: "email_added" | "email_removed";
      other: string;
      gone?: string | undefined;
      now: Date;
    },
  ): Promise<void>;
  /** @throws AppError `invalid_email` for what is not exactly one plain address. */
  test(db: TransactionOrKnex, event: { to: string; now: Date }): Promise<void>;
}

/** Makes the mailer. The first of `locales` is written to people who chose none of them. */
export function createMailer(needs: {
  readonly seal: Seal;
  readonly locales: readonly string[];
}): Mailer {
  const { seal, locales } = needs;

  return {
    async signinBlocked(db, { userId, now }) {
      const reader = await findReader(db, userId);
      // A notice about a sign-in goes to nobody but the person: to an address that was proven to be theirs.
      if (reader?.isVerified !== true) return;
      const mail = messages.signinBlocked({ email: reader.to, at: now });
      await sendMail(db, { seal }, { ...reader, mail, dedupeKey: daily(now, mail, userId) });
    },

    async newDevice(db, { userId, now, ...seen }) {
      const reader = await findReader(db, userId);
      if (reader?.isVerified !== true) return;
      const mail = messages.newDevice({ ...seen, email: reader.to, at: now });
      await sendMail(db, { seal }, { ...reader, mail });
    },

    async tokenReused(db, { userId, clientName, now }) {
      const reader = await findReader(db, userId);
      if (reader?.isVerified !== true) return;
      const mail = messages.tokenReused({ email: reader.to, clientName, at: now });
      const dedupeKey = daily(now, mail, userId, clientName);
      await sendMail(db, { seal }, { ...reader, mail, dedupeKey });
    },

    async cibaRequest(db, { userId, ...request }) {
      const reader = await findReader(db, userId);
      if (reader?.isVerified !== true) return;
      await sendMail(db, { seal }, { ...reader, mail: messages.cibaRequest(request) });
    },

    async factorChanged(db, { userId, now, ...event }) {
      const reader = await findReader(db, userId);
      if (reader?.isVerified !== true) return;
      const mail = messages.factorChanged({ ...event, email: reader.to, at: now });
      await sendMail(db, { seal }, { ...reader, mail });
    },

    async signInCode(db, { userId, named, ...event }) {
      const reader = await findReader(db, userId);
      const other = await UserEmail.query(db)
        .findOne({ userId, emailNorm: named ?? "" })
        .whereNotNull("verifiedAt");
      if (reader === undefined || (other === undefined && !reader.isVerified)) return;
      const mail = messages.signInCode(event);
      await sendMail(db, { seal }, { ...reader, to: other?.email ?? reader.to, mail });
    },

    async passkeyAdded(db, { userId, now, ...passkey }) {
      const reader = await findReader(db, userId);
      if (reader?.isVerified !== true) return;
      const mail = messages.passkeyAdded({ email: reader.to, ...passkey, at: now });
      await sendMail(db, { seal }, { ...reader, mail });
    },

    async passkeyRemoved(db, { userId, now, name }) {
      const reader = await findReader(db, userId);
      if (reader?.isVerified !== true) return;
      const mail = messages.passkeyRemoved({ email: reader.to, name, at: now });
      await sendMail(db, { seal }, { ...reader, mail });
    },

    async identityChanged(db, { userId, what, now, ...connection }) {
      for (const reader of await findReaders(db, userId)) {
        const mail = messages.identityChanged(what, { ...connection, email: reader.to, at: now });
        await sendMail(db, { seal }, { ...reader, mail });
      }
    },

    async administratorCreated(db, { userId, now }) {
      const reader = await findReader(db, userId);
      if (reader === undefined) return;
      const mail = messages.administratorCreated({ email: reader.to, at: now });
      await sendMail(db, { seal }, { ...reader, mail });
    },

    async letter(db, { to, mail, locale, userId, dedupeKey }) {
      await sendMail(
        db,
        { seal },
        {
          to,
          mail,
          locale: negotiateLocale({ remembered: locale, accepted: [] }, locales),
          ...(userId === undefined ? {} : { userId }),
          ...(dedupeKey === undefined ? {} : { dedupeKey }),
        },
      );
    },

    async passwordChanged(db, { userId, now }) {
      for (const reader of await findReaders(db, userId)) {
        const mail = messages.passwordChanged({ email: reader.to, at: now });
        await sendMail(db, { seal }, { ...reader, mail });
      }
    },

    async emailListed(db, { userId, what, other, gone, now }) {
      const readers = await findReaders(db, userId);
      const [first] = readers;
      const all =
        gone === undefined || first === undefined ? readers : [...readers, { ...first, to: gone }];
      for (const reader of all) {
        const mail = messages.emailListed(what, { email: reader.to, other, at: now });
        await sendMail(db, { seal }, { ...reader, mail });
      }
    },

    async test(db, { to, now }) {
      const locale = negotiateLocale({ accepted: [] }, locales);
      await sendMail(db, { seal }, { to, locale, mail: messages.test({ at: now }) });
    },
  };

  async function findReader(db: TransactionOrKnex, userId: string) {
    const email = await UserEmail.query(db).findOne({ userId, isPrimary: true });
    if (email === undefined) return undefined;
    const locale = await localeOf(db, userId);
    return { userId, to: email.email, isVerified: email.verifiedAt !== null, locale };
  }

  async function findReaders(db: TransactionOrKnex, userId: string) {
    const emails = await UserEmail.query(db)
      .where({ userId })
      .whereNotNull("verifiedAt")
      .orderBy("createdAt");
    const locale = await localeOf(db, userId);
    return emails.map(({ email }) => ({ userId, to: email, locale }));
  }

  async function localeOf(db: TransactionOrKnex, userId: string): Promise<string> {
    const profile = await UserProfile.query(db).findById(userId).select("locale");
    return negotiateLocale({ remembered: profile?.locale ?? undefined, accepted: [] }, locales);
  }
}

/** An address that whoever reads it recognizes, and nobody learns from: `a•••@example.com`. */
export function masked(email: string): string {
  const at = email.lastIndexOf("@");
  return `${Array.from(email)[0] ?? ""}•••${email.slice(at)}`;
}

function daily(now: Date, mail: messages.Mail, ...about: string[]): string {
  return [mail.template, now.toISOString().slice(0, 10), ...about].join(":");
}
