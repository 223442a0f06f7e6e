// Tells the app around this frame whether the session here is still the one that it knows (OpenID Connect Session
// Management §3.2). The app sends its client_id and the session_state it was given.
const { cookie } = document.currentScript.dataset;

function browserState() {
  const pair = document.cookie.split("; ").find((each) => each.startsWith(`${cookie}=`));
  return pair?.slice(cookie.length + 1) ?? "";
}

// A browser that keeps other sites' cookies away would always say "changed"; that is for nobody to act on.
async function canSeeCookies() {
  return browserState() !== "" || (await document.hasStorageAccess?.()) !== false;
}

async function hashOf(text) {
  const bytes = await crypto.subtle.digest("SHA-256", new TextEncoder().encode(text));
  const base64 = btoa(String.fromCharCode(...new Uint8Array(bytes)));
  return base64.replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
}

async function judge({ data, origin }) {
  const [, clientId, hash, salt] = /^([!-~]+) ([\w-]+)\.([\w-]+)$/.exec(data) ?? [];
  if (typeof data !== "string" || clientId === undefined || !(await canSeeCookies()))
    return "error";
  const now = await hashOf(`${clientId} ${origin} ${browserState()} ${salt}`);
  return now === hash ? "unchanged" : "changed";
}

addEventListener("message", async (event) => {
  const answer = await judge(event).catch(() => "error");
  if (event.origin !== "null") event.source?.postMessage(answer, event.origin);
});
