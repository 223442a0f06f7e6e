// Passkeys, on pages that work without them. Nothing is decided here: what an authenticator says goes into the form.
const { PublicKeyCredential: Passkey } = globalThis;
const form = document.querySelector("[data-passkey]");
const starter = document.querySelector("[data-passkey-start]");
const status = document.getElementById("passkey-status");

const bytes = (text) =>
  Uint8Array.from(atob(text.replaceAll("-", "+").replaceAll("_", "/")), (c) => c.charCodeAt(0));
const base64url = (buffer) =>
  btoa(String.fromCharCode(...new Uint8Array(buffer)))
    .replaceAll("+", "-")
    .replaceAll("/", "_")
    .replaceAll("=", "");

// The browser's own conversions are younger than passkeys.
function fromJson(options) {
  const named = (list) => list?.map((passkey) => ({ ...passkey, id: bytes(passkey.id) }));
  return {
    ...options,
    challenge: bytes(options.challenge),
    ...(options.user && { user: { ...options.user, id: bytes(options.user.id) } }),
    allowCredentials: named(options.allowCredentials),
    excludeCredentials: named(options.excludeCredentials),
  };
}
function toJson({ id, type, response, authenticatorAttachment }) {
  const said = { transports: response.getTransports?.() };
  for (const part of [
    "clientDataJSON",
    "authenticatorData",
    "signature",
    "userHandle",
    "attestationObject",
  ])
    if (response[part]) said[part] = base64url(response[part]);
  return { id, rawId: id, type, response: said, authenticatorAttachment };
}

// There is one request at a time: whatever waited before is called off.
let pending;
function ask(options, mediation) {
  pending?.abort();
  pending = new AbortController();
  const method = options.user ? "create" : "get";
  return navigator.credentials[method]({
    publicKey: fromJson(options),
    mediation,
    signal: pending.signal,
  });
}

function send(credential, via) {
  form.elements.passkey_response.value = JSON.stringify(toJson(credential));
  form.elements.passkey_via.value = via;
  form.requestSubmit();
}

async function can(capability) {
  try {
    const all = await Passkey.getClientCapabilities?.();
    if (all) return all[capability] === true;
    return (
      capability === "conditionalGet" &&
      (await Passkey.isConditionalMediationAvailable?.()) === true
    );
  } catch {
    return false;
  }
}

function failed({ name }) {
  if (name === "AbortError") return;
  starter.removeAttribute("aria-busy");
  const isCancelled = name === "NotAllowedError";
  if (form.elements.passkey_error) {
    form.elements.passkey_error.value = isCancelled ? "cancelled" : "failed";
    form.requestSubmit();
  } else {
    const known = name === "InvalidStateError" ? "known" : "failed";
    status.textContent = status.dataset[isCancelled ? "cancelled" : known] ?? status.dataset.failed;
  }
}

if (Passkey && form) {
  const options = JSON.parse(form.dataset.passkey);
  for (const part of document.querySelectorAll("[data-passkey-only]")) part.hidden = false;
  for (const part of document.querySelectorAll("[data-passkey-missing]")) part.hidden = true;
  starter.addEventListener("click", () => {
    starter.setAttribute("aria-busy", "true");
    ask(options).then((credential) => send(credential, "button"), failed);
  });
  if ("passkeyAutofill" in form.dataset && (await can("conditionalGet")))
    ask(options, "conditional").then(
      (credential) => send(credential, "autofill"),
      () => {},
    );
  if ("passkeyUpgrade" in form.dataset && (await can("conditionalCreate"))) {
    const authenticatorSelection = {
      ...options.authenticatorSelection,
      userVerification: "preferred",
    };
    const asked = ask({ ...options, authenticatorSelection }, "conditional");
    const { signal } = pending;
    const attempt = pending;
    asked.then(
      (credential) => signal.aborted || send(credential, "upgrade"),
      () => {},
    );
    // Some browsers say that they can and never answer.
    setTimeout(() => attempt.abort(), 2000);
  }
}

// Whether a passkey could be made here and used again: only then is it worth an offer.
const capable = document.querySelector("[name=passkey_can]");
if (Passkey && capable)
  Passkey.isUserVerifyingPlatformAuthenticatorAvailable?.().then(
    (isCapable) => {
      capable.value = isCapable ? "1" : "";
    },
    () => {},
  );

// What the server knows of passkeys, for password managers to tidy up by.
for (const { dataset } of document.querySelectorAll("[data-signal]"))
  for (const [signal, what] of Object.entries(JSON.parse(dataset.signal)))
    Passkey?.[signal]?.(what).catch(() => {});
