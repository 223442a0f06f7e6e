// Small upgrades of pages that work without them.
const all = (selector) => document.querySelectorAll(selector);

for (const button of all("[data-toggle-password]")) {
  const input = document.getElementById(button.getAttribute("aria-controls"));
  button.hidden = false;
  button.addEventListener("click", () => {
    const show = input.type === "password";
    input.type = show ? "text" : "password";
    button.setAttribute("aria-pressed", String(show));
    button.textContent = show ? button.dataset.hide : button.dataset.show;
  });
  input.form.addEventListener("submit", () => {
    input.type = "password";
  });
}

// What would be said of a new password when the form is sent, said while it is typed.
for (const input of all("[data-advice]")) {
  let timer;
  const ask = async () => {
    const body = new URLSearchParams({ password: input.value, min: input.minLength });
    for (const name of ["email", "username", "display_name"])
      if (input.form.elements[name]) body.set(name, input.form.elements[name].value);
    const answer = await fetch(input.dataset.advice, { method: "POST", body }).catch(() => {});
    const said = answer?.ok ? await answer.text() : "";
    if (body.get("password") === input.value)
      document.getElementById(`${input.id}-advice`).textContent = said;
  };
  input.addEventListener("input", () => {
    clearTimeout(timer);
    timer = setTimeout(ask, 500);
  });
}

// A second click while the first is on its way would only repeat it.
for (const form of all("form")) {
  form.addEventListener("submit", (event) => {
    if (form.dataset.sent) {
      event.preventDefault();
      return;
    }
    form.dataset.sent = "1";
    event.submitter?.setAttribute("aria-busy", "true");
    setTimeout(() => {
      delete form.dataset.sent;
      event.submitter?.removeAttribute("aria-busy");
    }, 8000);
  });
}

// The back button may bring back a page whose time is over.
addEventListener("pageshow", (event) => {
  if (event.persisted) location.reload();
});

// A double click on the page before must not decide on this one.
for (const form of all("[data-settle]")) {
  const buttons = form.querySelectorAll("button");
  for (const button of buttons) button.disabled = true;
  setTimeout(() => {
    for (const button of buttons) button.disabled = false;
  }, 500);
}

addEventListener("keydown", (event) => {
  const open = event.key === "Escape" && event.target.closest?.("details.languages[open]");
  if (!open) return;
  open.open = false;
  open.querySelector("summary").focus();
});

for (const button of all("[data-copy]")) {
  button.hidden = false;
  button.addEventListener("click", async () => {
    await navigator.clipboard.writeText(
      document.getElementById(button.dataset.copy).textContent.trim(),
    );
    document.getElementById("live").textContent = button.dataset.done;
  });
}

for (const button of all("[data-print]")) {
  button.hidden = false;
  button.addEventListener("click", () => print());
}

// Moments are told in UTC; whoever reads them here has a clock of their own.
const DAY = { day: "numeric", month: "short", year: "numeric" };
const CLOCK = { hour: "numeric", minute: "numeric", timeZoneName: "short" };
for (const moment of all("[data-moment]")) {
  const parts = moment.dataset.moment === "full" ? { ...DAY, ...CLOCK } : DAY;
  const format = new Intl.DateTimeFormat(document.documentElement.lang, parts);
  moment.textContent = format.format(new Date(moment.dateTime));
}

// Where the app proved who it asks for, nobody needs to confirm.
document.querySelector("[data-submit-at-once]")?.click();

document.getElementById("error-summary")?.focus();

// Every app in a frame gets its chance, and five seconds at most; then the page goes on by itself.
const onward = document.querySelector("[data-continue]");
if (onward) {
  const loaded = new Promise((resolve) => {
    if (document.readyState === "complete") resolve();
    else addEventListener("load", resolve);
  });
  const longest = new Promise((resolve) => setTimeout(resolve, 5000));
  Promise.race([loaded, longest]).then(() => location.replace(onward.href));
}
