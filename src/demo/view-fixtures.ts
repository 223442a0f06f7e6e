import {
  FEDERATION_FAILURES,
  type ClientView,
  type FieldError,
  type PasskeyView,
  type Views,
} from "../views.ts";

const acme: ClientView = {
  name: "Acme Photos",
  firstLetter: "A",
  host: "photos.acme.example",
  policyUri: "https://acme.example/privacy",
  tosUri: "https://acme.example/terms",
};

/** A client that says of itself whatever it likes. */
const odd: ClientView = {
  name: '<b onclick="x()">“Acme” & Söhne – Donaudampfschifffahrtsgesellschaftskapitänsmützen</b>',
  firstLetter: "<",
  host: "a-very-long-host-name-that-never-ends.subdomain.of.a.subdomain.example:8443",
};

const LONG = `${"quite.a.long.local.part.of.an.address.".repeat(2)}x@a-long-domain-name.example`;
const AT = "2026-02-03T04:05:06.000Z";
const interaction = "/interaction/V1StGXR8_Z5jdHi6B-myT";

const wrong: FieldError = { field: "password", message: "err.password.wrong" };
const throttled: FieldError = {
  field: "password",
  message: "err.throttled",
  values: { minutes: 0, seconds: 45 },
};

const passkey: PasskeyView = {
  options: '{"challenge":"AAAA","rpId":"id.example","userVerification":"required"}',
};
const unknownPasskey: FieldError = { field: "passkey-button", message: "err.passkey.unknown" };

const signedInHere: Views["sessions"]["browsers"][number]["sessions"][number] = {
  id: "V1StGXR8_Z5jdHi6B-myT",
  isHere: true,
  country: "",
  method: "pwd",
  signedInAt: Date.parse(AT),
  activeAt: Date.parse(AT),
  apps: [],
};

const PASSKEYS = "/account/passkeys";
const onePasskey = {
  name: "Apple Passwords",
  href: `${PASSKEYS}/01960000-0000-7000-8000-000000000000`,
  createdAt: Date.parse(AT),
  lastUsedAt: Date.parse(AT),
  isSynced: true,
  isSuspect: false,
};
const passkeys: Views["account-passkeys"] = {
  passkeys: [
    {
      ...onePasskey,
      agent: { known: "both", browser: "Safari", os: "iOS" },
      country: "DE",
      isHere: true,
    },
    {
      name: LONG,
      href: onePasskey.href,
      createdAt: onePasskey.createdAt,
      country: "",
      isHere: false,
      isSynced: false,
      isSuspect: true,
    },
  ],
  newHref: `${PASSKEYS}/new`,
  secondStepAction: `${PASSKEYS}/second-step`,
  asksAlways: false,
  hasPassword: true,
  passkey: { signal: "{}" },
  errors: [],
};

const login: Views["login"] = {
  client: acme,
  combined: false,
  remember: false,
  username: "",
  forgotHref: `${interaction}/forgot`,
  cancelAction: `${interaction}/cancel`,
  connections: [],
  errors: [],
};

const connections: Views["login"]["connections"] = [
  { slug: "google", name: "Google", isLastUsed: true, href: `${interaction}/federation/google` },
  { slug: "contoso", name: "Contoso", href: `${interaction}/federation/contoso` },
  { slug: "github", name: "GitHub", href: `${interaction}/federation/github` },
  { slug: "odd", name: LONG, href: `${interaction}/federation/odd` },
];

const password: Views["password"] = {
  client: acme,
  identifier: "ada@example.com",
  reauthenticate: false,
  isMore: false,
  remember: false,
  changeHref: `${interaction}?change=1`,
  forgotHref: `${interaction}/forgot`,
  cancelAction: `${interaction}/cancel`,
  errors: [],
};

const consent: Views["consent"] = {
  client: acme,
  userName: "Ada Lovelace",
  runsOnDevice: false,
  registeredItself: false,
  apis: [],
  scopes: [
    { name: "openid", required: true, allowedBefore: false, value: undefined },
    { name: "profile", required: false, allowedBefore: true, value: "Ada Lovelace" },
    { name: "email", required: false, allowedBefore: false, value: "ada@example.com" },
    { name: "phone", required: false, allowedBefore: false, value: "+44 20 7946 0000" },
    {
      name: "address",
      required: false,
      allowedBefore: false,
      value: "12 St James’s Square, London",
    },
    { name: "groups", required: false, allowedBefore: false, value: "engineering, on call" },
    { name: "roles", required: false, allowedBefore: false, value: "Approver, Billing" },
    { name: "organizations", required: false, allowedBefore: false, value: "Analytical Engines" },
    { name: "offline_access", required: false, allowedBefore: false, value: undefined },
    { name: "organization", required: true, allowedBefore: false, value: "Analytical Engines" },
  ],
  details: [],
  terms: [{ title: "Terms of use", href: "/terms/terms" }],
};

const emailCode: Views["email-code"] = {
  client: acme,
  identifier: "ada@example.com",
  changeHref: `${interaction}?change=1`,
  methodsHref: `${interaction}/methods`,
  codeAction: `${interaction}/code`,
  cancelAction: `${interaction}/cancel`,
  errors: [],
};

const secondStep = {
  client: acme,
  hasOthers: true,
  canTrust: true,
  here: interaction,
  cancelAction: `${interaction}/cancel`,
  errors: [],
};

const enrol = {
  client: acme,
  here: interaction,
  cancelAction: `${interaction}/cancel`,
  account: "ada@example.com",
  errors: [],
};

const newApp = {
  qr: { size: 3, path: "M1 1h1v1h-1z" },
  key: "GEZD GNBV GY3T QOJQ GEZD GNBV GY3T QOJQ",
  uri: "otpauth://totp/Lintel:ada%40example.com?secret=GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ&issuer=Lintel",
};

const codes = Array.from({ length: 10 }, (_, index) => `${index}abc-defg-hjkm-npqr-stvw`);
const wrongCode: FieldError = { field: "otp", message: "err.code.wrong" };

const deviceConfirm: Views["device-confirm"] = {
  action: "/device",
  xsrf: "x".repeat(48),
  client: acme,
  userCode: "BCDF-GHJK",
  scopes: ["openid", "email"],
  minutesAgo: 0,
  network: "192.0.2.0/24",
  registeredItself: false,
};

const ciba: Views["ciba"] = {
  client: acme,
  userName: "Ada Lovelace",
  bindingMessage: "Till 4, 12.50 €",
  scopes: ["openid", "profile"],
  minutesAgo: 0,
  minutesLeft: 4,
  registeredItself: false,
};

const mail: Views["mailbox-message"] = {
  id: "01960000-0000-7000-8000-000000000000",
  to: "ada@example.com",
  subject: "Mail from Lintel works",
  at: AT,
  status: "sent",
  text: "An operator sent this mail.\n\n-- \nhttps://id.example",
  html: "<!doctype html><p>An operator sent this mail.</p>",
};

const register: Views["register"] = {
  client: acme,
  stage: "email",
  email: "",
  minLength: 15,
  givenName: "",
  familyName: "",
  terms: [],
  signInHref: `${interaction}?change=1`,
  cancelAction: `${interaction}/cancel`,
  errors: [],
};

const documents: Views["terms"]["terms"] = [
  {
    versionId: "01960000-0000-7000-8000-000000000001",
    document: "terms",
    isMandatory: true,
    locale: "en",
    title: "Terms of use",
    summary: "We may delete accounts that nobody uses for two years.",
    body: `Be kind.\n\n${"And so on, for long. ".repeat(80)}`,
  },
  {
    versionId: "01960000-0000-7000-8000-000000000002",
    document: "newsletter",
    isMandatory: false,
    locale: "de",
    title: "Rundbrief",
    summary: undefined,
    body: "Einmal im Monat.",
  },
];

const verify: Views["verify"] = {
  client: acme,
  email: "ada@example.com",
  isSent: true,
  action: `${interaction}/verify`,
  sendAction: `${interaction}/verify/send`,
  changeHref: `${interaction}/register`,
  cancelAction: `${interaction}/cancel`,
  errors: [],
};

const forgot: Views["forgot"] = {
  client: acme,
  username: "ada@example.com",
  action: `${interaction}/forgot`,
  backHref: interaction,
  errors: [],
};

const forgotSent: Views["forgot-sent"] = {
  client: acme,
  identifier: "ada@example.com",
  action: `${interaction}/forgot/code`,
  sendAction: `${interaction}/forgot/send`,
  changeHref: `${interaction}/forgot`,
  backHref: interaction,
  errors: [],
};

const profile: Views["profile"] = {
  client: acme,
  fields: [
    { claim: "given_name", isRequired: true, value: "" },
    { claim: "birthdate", isRequired: false, value: "1815-12-10" },
    { claim: "phone_number", isRequired: false, value: "" },
  ],
  cancelAction: `${interaction}/cancel`,
  errors: [],
};

const wrongMailed: FieldError = { field: "otp", message: "err.email_code.wrong" };

const error: Views["error"] = {
  status: 400,
  code: "invalid_redirect_uri",
  description: "redirect_uri did not match any of the client's registered redirect_uris",
};

/** Every page in every state it has, with what people type and clients say at its oddest. */
export const fixtures: { readonly [Name in keyof Views]: Readonly<Record<string, Views[Name]>> } = {
  login: {
    empty: login,
    combined: { ...login, combined: true, registerHref: `${interaction}/register` },
    error: {
      ...login,
      errors: [{ field: "username", message: "err.identifier.empty" }],
    },
    passkey: { ...login, passkey },
    "passkey-unknown": {
      ...login,
      passkey: { ...passkey, signal: '{"signalUnknownCredential":{"rpId":"id.example"}}' },
      errors: [unknownPasskey],
    },
    "combined-error": { ...login, combined: true, username: "ada@example.com", errors: [wrong] },
    odd: { ...login, client: odd, username: '"><script>alert(1)</script>' },
    connections: { ...login, connections, passkey, registerHref: `${interaction}/register` },
    stopped: { ...login, connections, stopped: "GitHub" },
  },
  sso: {
    plain: {
      client: acme,
      identifier: "ada@example.com",
      provider: "Contoso",
      changeHref: `${interaction}?change=1`,
      cancelAction: `${interaction}/cancel`,
    },
    odd: {
      client: odd,
      identifier: LONG,
      provider: LONG,
      changeHref: `${interaction}?change=1`,
      cancelAction: `${interaction}/cancel`,
    },
  },
  link: {
    plain: {
      client: acme,
      provider: "GitHub",
      email: "ada@example.com",
      cancelAction: `${interaction}/cancel`,
    },
    odd: { client: odd, provider: LONG, email: LONG, cancelAction: `${interaction}/cancel` },
  },
  "federation-post": {
    plain: {
      provider: "Contoso",
      action: "https://idp.example/sso",
      fields: { SAMLRequest: "PHNhbWw+", RelayState: "fs_x" },
      // Looked at, and not sent.
      atOnce: false,
    },
  },
  "federation-error": Object.fromEntries(
    FEDERATION_FAILURES.map((reason) => [
      reason,
      { provider: "Contoso", reason, backHref: interaction },
    ]),
  ),
  "federation-tested": { here: { provider: "Contoso" } },
  accounts: {
    one: {
      client: login.client,
      accounts: [
        { name: "Ada Lovelace", email: "ada@example.com", value: "current" },
        {
          name: "Grace Hopper",
          email: "grace@example.com",
          value: "01960000-0000-7000-8000-000000000000",
        },
      ],
      cancelAction: login.cancelAction,
    },
    odd: {
      client: odd,
      accounts: [{ name: LONG, email: "", value: "current" }],
      cancelAction: login.cancelAction,
    },
  },
  password: {
    empty: password,
    again: { ...password, reauthenticate: true },
    more: { ...password, passkey, isMore: true, remember: true },
    passkey: { ...password, passkey, reauthenticate: true },
    "passkey-unknown": { ...password, passkey, errors: [unknownPasskey] },
    wrong: { ...password, errors: [wrong] },
    throttled: { ...password, errors: [throttled] },
    odd: { ...password, client: odd, identifier: LONG },
  },
  methods: {
    plain: { ...emailCode, methods: ["password", "email-code"] },
    throttled: {
      ...emailCode,
      identifier: LONG,
      methods: ["password", "email-code"],
      errors: [{ ...throttled, field: "method-email-code" }],
    },
  },
  "email-code": {
    plain: emailCode,
    wait: {
      ...emailCode,
      client: odd,
      identifier: LONG,
      errors: [{ field: "otp", message: "err.email_code.wait", values: { seconds: 40 } }],
    },
  },
  mfa: {
    all: { ...secondStep, factors: ["webauthn", "totp", "email", "recovery"] },
    none: {
      ...secondStep,
      client: odd,
      factors: ["totp", "recovery"],
      errors: [{ field: "factor-totp", message: "err.method.empty" }],
    },
  },
  "mfa-help": {
    some: { ...secondStep, factors: ["totp", "recovery"] },
    nothing: { ...secondStep, factors: [] },
  },
  "mfa-totp": {
    plain: secondStep,
    only: { ...secondStep, hasOthers: false, canTrust: false, client: odd },
    wrong: { ...secondStep, errors: [wrongCode] },
  },
  "mfa-email": {
    "to-send": { ...secondStep, address: "a••@example.com", isSent: false },
    sent: { ...secondStep, address: LONG, isSent: true },
    wrong: {
      ...secondStep,
      address: "a••@example.com",
      isSent: true,
      errors: [{ field: "otp", message: "err.email_code.wrong" }],
    },
  },
  "mfa-recovery": {
    plain: secondStep,
    wrong: {
      ...secondStep,
      errors: [{ field: "recovery_code", message: "err.recovery.wrong" }],
    },
  },
  enroll: {
    must: { ...enrol, reason: "client", skipsLeft: 0, choices: ["totp"] },
    "may-skip": {
      ...enrol,
      reason: "policy",
      skipsLeft: 2,
      choices: ["webauthn", "totp", "email"],
    },
    recovered: {
      ...enrol,
      client: odd,
      reason: "recovered",
      skipsLeft: Infinity,
      choices: ["totp"],
      errors: [{ field: "factor-totp", message: "err.method.empty" }],
    },
  },
  "enroll-passkey": {
    plain: {
      client: acme,
      passkey,
      here: interaction,
      cancelAction: login.cancelAction,
      errors: [],
    },
    error: {
      client: odd,
      passkey,
      here: interaction,
      cancelAction: login.cancelAction,
      errors: [{ field: "enroll-submit", message: "err.passkey.not_made" }],
    },
  },
  "enroll-totp": {
    plain: { ...enrol, ...newApp, hasChoice: true },
    wrong: { ...enrol, ...newApp, account: LONG, hasChoice: false, errors: [wrongCode] },
  },
  "enroll-codes": {
    plain: { ...enrol, codes },
    unsaved: { ...enrol, codes, errors: [{ field: "saved", message: "err.codes.unsaved" }] },
  },
  register: {
    email: register,
    "email-error": {
      ...register,
      email: "ada",
      errors: [{ field: "email", message: "err.email.invalid" }],
    },
    password: { ...register, stage: "password", email: "ada@example.com" },
    passkey: {
      ...register,
      stage: "password",
      email: "ada@example.com",
      passkey,
    },
    "passkey-error": {
      ...register,
      stage: "password",
      email: "ada@example.com",
      passkey,
      errors: [{ field: "passkey-create", message: "err.passkey.not_made" }],
    },
    "password-error": {
      ...register,
      stage: "password",
      email: LONG,
      errors: [{ field: "password", message: "err.password.short", values: { min: 15, max: 256 } }],
    },
    details: { ...register, stage: "details", email: "ada@example.com", terms: documents },
    "details-error": {
      ...register,
      client: odd,
      stage: "details",
      email: LONG,
      givenName: "<i>x",
      terms: documents,
      errors: [
        { field: "given_name", message: "err.profile.invalid" },
        { field: "terms-terms", message: "err.terms.required" },
      ],
    },
    closed: { ...register, stage: "closed" },
  },
  verify: {
    sent: verify,
    wrong: { ...verify, email: LONG, errors: [wrongMailed] },
    "not-sent": {
      client: odd,
      email: LONG,
      isSent: false,
      action: verify.action,
      sendAction: verify.sendAction,
      cancelAction: verify.cancelAction,
      errors: [],
    },
    none: {
      ...verify,
      email: "",
      isSent: false,
      addressAction: `${interaction}/verify/address`,
      errors: [{ field: "email", message: "err.email.invalid" }],
    },
    another: { ...verify, email: LONG, addressAction: `${interaction}/verify/address` },
    wait: {
      ...verify,
      errors: [{ field: "resend", message: "err.email_code.wait", values: { seconds: 40 } }],
    },
  },
  forgot: {
    plain: forgot,
    error: { ...forgot, errors: [{ field: "username", message: "err.identifier.empty" }] },
    odd: { ...forgot, client: odd, username: '"><script>alert(1)</script>' },
  },
  "forgot-sent": {
    plain: forgotSent,
    wrong: { ...forgotSent, client: odd, identifier: LONG, errors: [wrongMailed] },
  },
  "new-password": {
    plain: { username: "ada@example.com", minLength: 15, errors: [] },
    error: {
      username: LONG,
      minLength: 15,
      errors: [{ field: "password", message: "err.password.common" }],
    },
  },
  terms: {
    plain: { client: acme, terms: documents, errors: [] },
    error: {
      client: odd,
      terms: documents,
      errors: [{ field: "terms-terms", message: "err.terms.required" }],
    },
  },
  profile: {
    required: profile,
    optional: {
      ...profile,
      client: odd,
      fields: [
        { claim: "name", isRequired: false, value: LONG },
        { claim: "family_name", isRequired: false, value: "" },
        { claim: "nickname", isRequired: false, value: "<i>x" },
      ],
    },
    error: { ...profile, errors: [{ field: "given_name", message: "err.profile.empty" }] },
  },
  letter: {
    verify: { kind: "verify", email: "ada@example.com", clientName: odd.name },
    undo: { kind: "undo", email: LONG },
    invite: { kind: "invite", email: "ada@example.com", clientName: "Acme Photos" },
  },
  "letter-done": {
    verified: { outcome: "verified" },
    reset: { outcome: "reset", continueHref: interaction },
    used: { outcome: "used" },
    over: { outcome: "over" },
    elsewhere: { outcome: "elsewhere" },
    taken: { outcome: "taken" },
    disabled: { outcome: "disabled" },
  },
  "account-emails": {
    one: {
      emails: [
        { id: "1", email: "ada@example.com", isPrimary: true, isVerified: true, isSent: false },
      ],
      typed: "",
      errors: [],
    },
    many: {
      emails: [
        { id: "1", email: "ada@example.com", isPrimary: true, isVerified: true, isSent: false },
        { id: "2", email: LONG, isPrimary: false, isVerified: false, isSent: true },
        { id: "3", email: "a@example.org", isPrimary: false, isVerified: true, isSent: false },
        { id: "4", email: "b@example.org", isPrimary: false, isVerified: false, isSent: false },
      ],
      typed: "x",
      done: "added",
      errors: [
        { field: "email", message: "err.email.invalid" },
        { field: "otp-2", message: "err.email_code.wrong" },
      ],
    },
    enforced: {
      emails: [
        { id: "1", email: "ada@example.com", isPrimary: true, isVerified: true, isSent: false },
        { id: "2", email: "a@example.org", isPrimary: false, isVerified: true, isSent: false },
      ],
      typed: "",
      errors: [
        { field: "primary-2", message: "err.email.enforced", values: { email: "ada@example.com" } },
      ],
    },
  },
  "account-password": {
    change: {
      username: "ada@example.com",
      hasPassword: true,
      minLength: 15,
      isDone: true,
      errors: [],
    },
    add: {
      username: LONG,
      hasPassword: false,
      minLength: 15,
      isDone: false,
      errors: [{ field: "password", message: "err.password.empty" }],
    },
  },
  consent: {
    web: consent,
    device: { ...consent, client: odd, userName: LONG, runsOnDevice: true },
    dynamic: { ...consent, registeredItself: true },
    apis: {
      ...consent,
      apis: [
        {
          name: "Notes",
          indicator: "https://notes.example/",
          permissions: [
            {
              id: "1-read",
              item: "https://notes.example/ read",
              description: "Read your notes",
              allowedBefore: true,
            },
            {
              id: "1-write",
              item: "https://notes.example/ write",
              description: LONG,
              allowedBefore: false,
            },
          ],
        },
      ],
    },
    details: {
      ...consent,
      details: [
        {
          title: "Make a payment",
          rows: [
            { label: "Amount – Currency", values: ["EUR"] },
            { label: "To", values: [LONG, "<script>alert(1)</script>"] },
            { label: "At once", values: [true, false] },
          ],
        },
      ],
    },
    address: { ...consent, knownByAddress: { host: "claude.example" } },
    "address-elsewhere": {
      ...consent,
      client: odd,
      knownByAddress: { host: odd.host ?? "", answerHost: "localhost:33418" },
    },
    short: { ...consent, scopes: consent.scopes.slice(0, 1) },
  },
  "device-input": {
    empty: { action: "/device", xsrf: "x".repeat(48), userCode: "", errors: [] },
    error: {
      action: "/device",
      xsrf: "x".repeat(48),
      userCode: '"><script>alert(1)</script>',
      errors: [{ field: "user_code", message: "err.device.unknown" }],
    },
  },
  "device-confirm": {
    "signed-in": { ...deviceConfirm, userName: LONG },
    "signed-out": deviceConfirm,
    odd: { ...deviceConfirm, client: odd, scopes: [], registeredItself: true, minutesAgo: 9 },
  },
  "device-done": {
    approved: { outcome: "approved", clientName: odd.name },
    denied: { outcome: "denied", clientName: "" },
  },
  ciba: {
    plain: ciba,
    odd: {
      ...ciba,
      client: odd,
      userName: LONG,
      bindingMessage: "",
      registeredItself: true,
    },
  },
  "ciba-done": {
    approved: { outcome: "approved" },
    denied: { outcome: "denied" },
    reported: { outcome: "reported" },
    over: { outcome: "over" },
  },
  logout: {
    plain: { action: "/session/end/confirm", xsrf: "x".repeat(48), isConfirmed: false, others: [] },
    client: {
      action: "/session/end/confirm",
      xsrf: "x".repeat(48),
      isConfirmed: false,
      others: [],
      clientName: odd.name,
    },
    others: {
      action: "/session/end/confirm",
      xsrf: "x".repeat(48),
      isConfirmed: false,
      others: ["Grace Hopper", "<i>Zoë"],
      clientName: odd.name,
    },
  },
  "signing-out": {
    one: {
      frames: [{ name: "Acme Photos", src: "https://acme.example/logout?sid=x&iss=y" }],
      continueHref: "#continue",
    },
    odd: {
      frames: [
        { name: odd.name, src: 'https://odd.example/"><script>alert(1)</script>' },
        { name: "Wiki", src: "https://wiki.example/" },
      ],
      continueHref: "#continue",
    },
  },
  "signed-out": {
    plain: { others: [] },
    client: { clientName: "Acme Photos", others: [] },
    others: { others: ["Grace Hopper", LONG] },
  },
  stale: {
    finished: {
      variant: "finished",
      clientName: "Acme Photos",
      startHref: "https://acme.example/start",
    },
    expired: { variant: "expired", clientName: odd.name, startHref: "https://acme.example/" },
    unknown: { variant: "unknown" },
  },
  error: {
    client: { ...error, clientName: "Acme Photos" },
    hint: { ...error, hint: "Register exactly the redirect_uri that the request sends." },
    request: error,
    odd: { ...error, code: `<i>${"x".repeat(200)}`, description: "<script>alert(1)</script>" },
    missing: { status: 404, code: "not_found", description: "There is no page at this address." },
    "cross-site": { status: 403, code: "cross_site_request", description: "Sent from elsewhere." },
    "setup-link": { status: 410, code: "invalid_setup_link", description: "It has expired." },
    busy: { status: 503, code: "temporarily_unavailable", description: "The server is busy." },
    server: { status: 500, code: "server_error", description: "" },
  },
  "terms-document": {
    plain: {
      title: "Terms of use",
      locale: "en",
      body: "Be kind.\n\nTo everybody.",
      publishedAt: Date.parse(AT),
    },
    odd: { title: LONG, locale: "ar", body: `${LONG}\n<script>alert(1)</script>`, publishedAt: 0 },
  },
  "mfa-webauthn": {
    start: {
      client: acme,
      passkey,
      hasOthers: true,
      canTrust: true,
      here: interaction,
      cancelAction: login.cancelAction,
      errors: [],
    },
    cancelled: {
      client: odd,
      passkey: { ...passkey, signal: "{}" },
      hasOthers: true,
      canTrust: false,
      here: interaction,
      cancelAction: login.cancelAction,
      errors: [{ field: "webauthn-start", message: "err.passkey.cancelled" }],
    },
  },
  offer: {
    plain: { client: acme, passkey, errors: [] },
    error: {
      client: odd,
      passkey,
      errors: [{ field: "offer-create", message: "err.passkey.not_made" }],
    },
  },
  "account-passkeys": {
    none: { ...passkeys, passkeys: [], hasPassword: false },
    several: passkeys,
    always: { ...passkeys, asksAlways: true },
  },
  "account-passkey": {
    plain: { ...onePasskey, isNew: false, backHref: PASSKEYS, errors: [] },
    new: { ...onePasskey, isNew: true, backHref: PASSKEYS, errors: [] },
    error: {
      ...onePasskey,
      name: "",
      isNew: false,
      backHref: PASSKEYS,
      errors: [{ field: "name", message: "err.passkey.name" }],
    },
    last: {
      ...onePasskey,
      isNew: false,
      backHref: PASSKEYS,
      errors: [{ field: "passkey-remove", message: "err.passkey.last" }],
    },
  },
  "account-passkey-new": {
    empty: { passkey, backHref: PASSKEYS, errors: [] },
    error: {
      passkey,
      backHref: PASSKEYS,
      errors: [{ field: "enroll-submit", message: "err.passkey.not_made" }],
    },
  },
  account: {
    somebody: {
      userName: "Ada Lovelace",
      email: "ada@example.com",
      hasPasskeys: true,
      hasConnections: true,
    },
  },
  sessions: {
    one: {
      browsers: [
        {
          id: "01960000-0000-7000-8000-000000000000",
          agent: { known: "both", browser: "Firefox", os: "Windows" },
          isHere: true,
          sessions: [signedInHere],
        },
      ],
    },
    many: {
      browsers: [
        {
          id: "01960000-0000-7000-8000-000000000000",
          agent: { known: "browser", browser: "Samsung Internet", os: "" },
          isHere: true,
          sessions: [{ ...signedInHere, country: "JP", method: "passkey", apps: [odd.name, LONG] }],
        },
        {
          id: "01960000-0000-7000-8000-000000000001",
          agent: { known: "os", browser: "", os: "ChromeOS" },
          isHere: false,
          sessions: [
            { ...signedInHere, id: "a", isHere: false },
            { ...signedInHere, id: "b", isHere: false, method: "" },
          ],
        },
        {
          id: "",
          agent: { known: "none", browser: "", os: "" },
          isHere: false,
          sessions: [{ ...signedInHere, id: "c", isHere: false, country: "ZZ" }],
        },
      ],
    },
  },
  "not-me": {
    place: {
      token: "a.b",
      agent: { known: "both", browser: "Safari", os: "iOS" },
      at: Date.parse(AT),
      country: "BR",
    },
    "no-place": {
      token: "a.b",
      agent: { known: "none", browser: "", os: "" },
      at: Date.parse(AT),
      country: "",
    },
  },
  "not-me-done": { ended: { outcome: "ended" }, over: { outcome: "over" } },
  "account-authenticators": {
    none: { apps: [], hasMailbox: false, here: "/account/authenticators", errors: [] },
    some: {
      apps: [
        { id: mail.id, name: LONG, addedAt: 0, usedAt: 1, isOff: false },
        { id: mail.id, name: "", addedAt: 0, usedAt: 1, isOff: true },
      ],
      hasMailbox: true,
      here: "/account/authenticators",
      errors: [],
    },
    last: {
      apps: [{ id: mail.id, name: "Phone", addedAt: 0, usedAt: 1, isOff: false }],
      hasMailbox: false,
      here: "/account/authenticators",
      errors: [{ field: "add-authenticator", message: "err.factor.last" }],
    },
  },
  "account-authenticator-new": {
    plain: { ...newApp, account: "ada@example.com", backHref: "/account", errors: [] },
    wrong: { ...newApp, account: LONG, backHref: "/account", errors: [wrongCode] },
  },
  "account-connected": {
    none: { identities: [], connections: [], here: "/account/connected", errors: [] },
    some: {
      identities: [
        {
          id: "01960000-0000-7000-8000-000000000000",
          name: "GitHub",
          who: LONG,
          usedAt: Date.parse(AT),
          isRemovable: true,
        },
        {
          id: "01960000-0000-7000-8000-000000000001",
          name: odd.name,
          who: "",
          usedAt: Date.parse(AT),
          isRemovable: false,
        },
      ],
      connections: [{ slug: "google", name: "Google" }],
      here: "/account/connected",
      done: "connected",
      errors: [],
    },
    last: {
      identities: [
        {
          id: "01960000-0000-7000-8000-000000000000",
          name: "GitHub",
          who: "ada",
          usedAt: Date.parse(AT),
          isRemovable: true,
        },
      ],
      connections: [],
      here: "/account/connected",
      errors: [{ field: "disconnect-1", message: "err.identity.last" }],
    },
  },
  "account-recovery-codes": {
    some: { left: 7, isOfUse: true },
    none: { left: 0, isOfUse: false },
  },
  "account-codes-new": { plain: { codes, backHref: "/account" } },
  "account-browsers": {
    none: { browsers: [], here: "/account/browsers" },
    some: {
      browsers: [
        { id: mail.id, name: "Firefox, Linux", usedAt: 0, until: 1 },
        { id: mail.id, name: "", usedAt: 0, until: 1 },
      ],
      here: "/account/browsers",
    },
  },
  home: {
    "signed-out": { apps: [], approvals: [] },
    "signed-in": { userName: "Ada Lovelace", apps: [], approvals: [] },
    apps: {
      userName: LONG,
      apps: [
        { name: "Acme Photos", href: "https://acme.example/" },
        { name: odd.name, href: "https://odd.example/" },
      ],
      approvals: [{ clientName: odd.name, href: "/approve/01960000-0000-7000-8000-000000000000" }],
    },
  },
  setup: {
    empty: { email: "", displayName: "", minLength: 15, errors: [] },
    errors: {
      email: "ada",
      displayName: "Ada",
      minLength: 15,
      errors: [
        { field: "email", message: "err.email.invalid" },
        { field: "password", message: "err.password.short", values: { min: 15, max: 256 } },
      ],
    },
  },
  "setup-done": { plain: { email: LONG } },
  mailbox: {
    empty: { messages: [] },
    full: { messages: [mail, { ...mail, to: LONG, subject: LONG, status: "queued" }] },
  },
  "mailbox-message": {
    plain: mail,
    long: { ...mail, to: LONG, text: `${LONG.repeat(4)}\n`, html: `<p>${LONG}</p>` },
  },
  gallery: {
    pages: {
      ways: [
        { message: "gallery.mails", href: "/dev/mails", isOn: false },
        { message: "gallery.dark", href: "?", isOn: true },
      ],
      groups: [
        { name: "login", entries: [{ name: "empty", href: "/dev/pages/login/empty" }] },
        { name: LONG, entries: [{ name: LONG, href: "/dev/pages/login/odd" }] },
      ],
    },
  },
};
