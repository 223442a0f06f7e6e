import type { MailProps } from "../mail/messages.ts";

const at = "2026-02-03T04:05:06.000Z";

/** Every mail, with what is in it at its oddest. */
export const mailFixtures: MailProps = {
  ciba_request: {
    clientName: "Acme Photos",
    bindingMessage: "Till 4",
    url: "https://id.example/approve/01960000-0000-7000-8000-000000000000",
    expiresAt: "2026-02-03T04:05:06.000Z",
  },
  new_device: {
    email: "ada@example.com",
    at,
    agent: { known: "both", browser: "Firefox", os: "Windows" },
    country: "JP",
    clientName: "Acme Photos",
    url: "https://id.example.com/not-me?t=V1StGXR8_Z5jdHi6B",
  },
  signin_blocked: { email: "ada@example.com", at },
  token_reused: { email: "ada@example.com", clientName: "<b>Acme</b> & Co", at },
  factor_changed: { change: "code_used", email: "ada@example.com", at, left: 3 },
  sign_in_code: { code: "12345678", expiresAt: at },
  verify_email: {
    email: "ada@example.com",
    code: "12345678",
    url: "https://id.example/verify/x",
    clientName: "<b>Acme</b> & Co",
    expiresAt: at,
  },
  already_registered: { email: "ada@example.com", url: "https://id.example/" },
  reset_password: {
    email: "ada@example.com",
    code: "12345678",
    url: "https://id.example/reset/x",
    hasPassword: false,
    expiresAt: at,
  },
  no_password: {
    email: "ada@example.com",
    code: "12345678",
    url: "https://id.example/reset/x",
    expiresAt: at,
  },
  password_changed: { email: "ada@example.com", at },
  email_added: { email: "ada@example.com", other: "a•••@example.org", at },
  email_removed: { email: "ada@example.com", other: "a•••@example.org", at },
  email_changed: {
    email: "ada@example.com",
    other: "a•••@example.org",
    at,
    url: "https://id.example/undo/x",
    expiresAt: at,
  },
  invitation: { url: "https://id.example/invite/x", clientName: "Acme Photos", expiresAt: at },
  administrator_created: { email: "ada@example.com", at },
  passkey_added: {
    email: "ada@example.com",
    name: "<b>Acme</b> & Co",
    url: "https://id.example/account/passkeys",
    at,
  },
  passkey_removed: { email: "ada@example.com", name: "Apple Passwords", at },
  identity_linked: {
    email: "ada@example.com",
    name: "Acme <b> & Co",
    url: "https://id.example/account/connected",
    at,
  },
  identity_unlinked: {
    email: "ada@example.com",
    name: "GitHub",
    url: "https://id.example/account/connected",
    at,
  },
  test: { at },
};
