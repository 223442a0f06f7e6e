import type { Config } from "../config.ts";
import type { Templates } from "../http/templates.ts";
import type { Catalogues, Translate } from "../i18n/catalogue.ts";
import { directionOf } from "../i18n/languages.ts";
import type { LetterView } from "../views.ts";
import type { MailProps, MailTemplate, RenderMail } from "./messages.ts";

/** A mail as its template says it: one subject, and paragraphs that both its text and its HTML are made of. */
interface Letter {
  readonly subject: string;
  readonly paragraphs: readonly string[];
}

interface Words {
  readonly t: Translate;
  /** A moment of the props, in the mail's language. */
  readonly time: (iso: string) => string;
  /** The name of a country, in the mail's language. */
  readonly region: (code: string) => string;
  readonly product: string;
}

const LETTERS: { readonly [T in MailTemplate]: (props: MailProps[T], words: Words) => Letter } = {
  signin_blocked: ({ email, at }, { t, time, product }) => ({
    subject: t("mail.signin_blocked.subject", { product }),
    paragraphs: [
      t("mail.signin_blocked.what", { email, time: time(at) }),
      t("mail.signin_blocked.you"),
      t("mail.signin_blocked.not_you"),
    ],
  }),
  new_device: ({ email, at, agent, country, clientName, url }, { t, time, region, product }) => ({
    subject: t("mail.new_device.subject", { product }),
    paragraphs: [
      t("mail.new_device.what", { email, time: time(at), browser: t("browser.name", agent) }),
      ...(country === "" ? [] : [t("mail.new_device.place", { country: region(country) })]),
      t("mail.new_device.app", { client: clientName }),
      t("mail.new_device.you"),
      t("mail.new_device.not_you", { url }),
    ],
  }),
  token_reused: ({ email, clientName, at }, { t, time, product }) => ({
    subject: t("mail.token_reused.subject", { client: clientName }),
    paragraphs: [
      t("mail.token_reused.what", { client: clientName, email, product, time: time(at) }),
      t("mail.token_reused.next", { client: clientName }),
    ],
  }),
  administrator_created: ({ email, at }, { t, time, product }) => ({
    subject: t("mail.administrator_created.subject", { product }),
    paragraphs: [
      t("mail.administrator_created.what", { product, email, time: time(at) }),
      t("mail.administrator_created.not_you"),
    ],
  }),
  ciba_request: ({ clientName, bindingMessage, url, expiresAt }, { t, time, product }) => ({
    subject: t("mail.ciba_request.subject", { client: clientName }),
    paragraphs: [
      t("mail.ciba_request.what", { client: clientName, product }),
      ...(bindingMessage === ""
        ? []
        : [t("mail.ciba_request.message", { message: bindingMessage })]),
      t("mail.ciba_request.open", { url, time: time(expiresAt) }),
      t("mail.ciba_request.not_you"),
    ],
  }),
  factor_changed: ({ change, email, at, left = 0 }, { t, time, product }) => ({
    subject: t(`factor-change.${change}.subject`, { product }),
    paragraphs: [
      t(`factor-change.${change}.what`, { email, product, time: time(at), left }),
      t("mail.factor_changed.not_you", { product }),
    ],
  }),
  sign_in_code: ({ code, expiresAt }, { t, time, product }) => ({
    subject: t("mail.sign_in_code.subject", { product }),
    paragraphs: [
      t("mail.sign_in_code.what", { product }),
      `${code.slice(0, 4)} ${code.slice(4)}`,
      t("mail.sign_in_code.until", { time: time(expiresAt) }),
      t("mail.sign_in_code.not_you"),
    ],
  }),
  passkey_added: ({ email, name, url, at }, { t, time, product }) => ({
    subject: t("mail.passkey_added.subject", { product }),
    paragraphs: [
      t("mail.passkey_added.what", { name, email, product, time: time(at) }),
      t("mail.passkey_added.not_you", { url }),
    ],
  }),
  passkey_removed: ({ email, name, at }, { t, time, product }) => ({
    subject: t("mail.passkey_removed.subject", { product }),
    paragraphs: [
      t("mail.passkey_removed.what", { name, email, product, time: time(at) }),
      t("mail.passkey_removed.not_you"),
    ],
  }),
  identity_linked: ({ email, name, url, at }, { t, time, product }) => ({
    subject: t("mail.identity_linked.subject", { product, name }),
    paragraphs: [
      t("mail.identity_linked.what", { name, email, product, time: time(at) }),
      t("mail.identity_linked.not_you", { url }),
    ],
  }),
  identity_unlinked: ({ email, name, url, at }, { t, time, product }) => ({
    subject: t("mail.identity_unlinked.subject", { product, name }),
    paragraphs: [
      t("mail.identity_unlinked.what", { name, email, product, time: time(at) }),
      t("mail.identity_unlinked.not_you", { url }),
    ],
  }),
  verify_email: ({ email, code, url, clientName, expiresAt }, { t, time, product }) => ({
    subject: t("mail.verify_email.subject", { product }),
    paragraphs: [
      clientName === ""
        ? t("mail.verify_email.what", { email, product })
        : t("mail.verify_email.what_client", { email, product, client: clientName }),
      t("mail.code", { code: grouped(code) }),
      t("mail.verify_email.open", { url }),
      t("mail.until", { time: time(expiresAt) }),
      t("mail.verify_email.not_you"),
    ],
  }),
  already_registered: ({ email, url }, { t, product }) => ({
    subject: t("mail.already_registered.subject", { product }),
    paragraphs: [
      t("mail.already_registered.what", { email, product }),
      t("mail.already_registered.next", { url }),
      t("mail.already_registered.not_you"),
    ],
  }),
  reset_password: ({ email, code, url, hasPassword, expiresAt }, { t, time, product }) => ({
    subject: t("mail.reset_password.subject", { product }),
    paragraphs: [
      t("mail.reset_password.what", { email, product }),
      ...(hasPassword ? [] : [t("mail.reset_password.first")]),
      t("mail.reset_password.open", { url }),
      t("mail.code", { code: grouped(code) }),
      t("mail.until", { time: time(expiresAt) }),
      t("mail.reset_password.not_you"),
    ],
  }),
  no_password: ({ email, code, url, expiresAt }, { t, time, product }) => ({
    subject: t("mail.no_password.subject", { product }),
    paragraphs: [
      t("mail.no_password.what", { email, product }),
      t("mail.no_password.next"),
      t("mail.no_password.lost", { url }),
      t("mail.code", { code: grouped(code) }),
      t("mail.until", { time: time(expiresAt) }),
      t("mail.no_password.not_you"),
    ],
  }),
  password_changed: ({ email, at }, { t, time, product }) => ({
    subject: t("mail.password_changed.subject", { product }),
    paragraphs: [
      t("mail.password_changed.what", { email, product, time: time(at) }),
      t("mail.password_changed.not_you"),
    ],
  }),
  email_added: ({ email, other, at }, { t, time, product }) => ({
    subject: t("mail.email_added.subject", { product }),
    paragraphs: [
      t("mail.email_added.what", { email, other, product, time: time(at) }),
      t("mail.email_added.not_you"),
    ],
  }),
  email_removed: ({ email, other, at }, { t, time, product }) => ({
    subject: t("mail.email_removed.subject", { product }),
    paragraphs: [
      t("mail.email_removed.what", { email, other, product, time: time(at) }),
      t("mail.email_added.not_you"),
    ],
  }),
  email_changed: ({ email, other, at, url, expiresAt }, { t, time, product }) => ({
    subject: t("mail.email_changed.subject", { product }),
    paragraphs: [
      t("mail.email_changed.what", { email, other, product, time: time(at) }),
      t("mail.email_changed.undo", { url, time: time(expiresAt) }),
    ],
  }),
  invitation: ({ url, clientName, expiresAt }, { t, time, product }) => ({
    subject: t("mail.invitation.subject", { product }),
    paragraphs: [
      clientName === ""
        ? t("mail.invitation.what", { product })
        : t("mail.invitation.what_client", { product, client: clientName }),
      t("mail.invitation.open", { url, time: time(expiresAt) }),
      t("mail.invitation.not_you"),
    ],
  }),
  test: ({ at }, { t, time, product }) => ({
    subject: t("mail.test.subject", { product }),
    paragraphs: [t("mail.test.what", { product, time: time(at) })],
  }),
};

/** A code as people read it aloud. */
function grouped(code: string): string {
  return `${code.slice(0, 4)} ${code.slice(4)}`;
}

/** Makes the function that writes a mail in a language, as text and as HTML. */
export function createMailRenderer(needs: {
  config: Pick<Config, "productName" | "issuer">;
  templates: Templates;
  catalogues: Catalogues;
}): RenderMail {
  const { config, templates, catalogues } = needs;
  return (template, props, locale) => {
    const t = catalogues.translator(locale);
    const clock = new Intl.DateTimeFormat(locale, {
      dateStyle: "long",
      timeStyle: "long",
      timeZone: "UTC",
    });
    const regions = new Intl.DisplayNames([locale], { type: "region" });
    const { subject, paragraphs } = LETTERS[template](props, {
      t,
      time: (iso) => clock.format(new Date(iso)),
      region: (code) => regions.of(code) ?? code,
      product: config.productName,
    });
    const view: LetterView = {
      subject,
      paragraphs: directionOf(locale) === "rtl" ? paragraphs.map(inOrder) : paragraphs,
      locale,
      direction: directionOf(locale),
      productName: config.productName,
      issuer: config.issuer,
    };
    return {
      subject,
      text: templates.fill("mail/text", { view, t }),
      html: templates.fill("mail/html", { view, t }),
    };
  };
}

/**
 * Groups of digits in the order in which they are typed, where text runs from right to left: a space that does not
 * break makes one number of them (Unicode Bidirectional Algorithm W4).
 */
function inOrder(paragraph: string): string {
  return /\p{L}/u.test(paragraph) ? paragraph : paragraph.replaceAll(" ", "\u00a0");
}
