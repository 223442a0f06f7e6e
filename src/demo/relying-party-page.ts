/** What the demo's one page shows. */
export interface DemoPage {
  issuer: string;
  problem?: string;
  session?: {
    idToken: string;
    accessToken: string;
    refreshToken?: string;
    refreshedAt?: string;
    claims: object;
    userinfo: object | undefined;
  };
}

/** The demo's page. It is small enough to be a string; the product's own pages are templates in `views/`. */
export function demoPage({ issuer, problem, session }: DemoPage): string {
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8"><meta name="viewport" content="width=device-width,initial-scale=1">
<title>Demo relying party</title><link rel="stylesheet" href="/demo.css">
</head>
<body data-page="${session === undefined ? "demo-signed-out" : "demo-signed-in"}">
<main>
<h1>Demo relying party</h1>
<p>An app that signs people in at <code>${escape(issuer)}</code>.</p>
${problem === undefined ? "" : `<p class="problem" id="problem" role="alert">${escape(problem)}</p>`}
${session === undefined ? signedOut() : signedIn(session)}
</main>
</body>
</html>`;
}

function signedOut(): string {
  return `<p><a class="button" id="sign-in" href="/login">Sign in</a></p>`;
}

function signedIn(session: NonNullable<DemoPage["session"]>): string {
  const refreshed =
    session.refreshedAt === undefined
      ? ""
      : `<p id="refreshed">Refreshed at <time>${escape(session.refreshedAt)}</time></p>`;
  return `${refreshed}
<div class="row">
${session.refreshToken === undefined ? "" : `<form method="post" action="/refresh"><button id="refresh">Refresh tokens</button></form>`}
<form method="post" action="/logout"><button id="sign-out">Sign out</button></form>
</div>
<h2>ID token</h2><pre id="id-token-claims" tabindex="0">${json(session.claims)}</pre>
<h2>Userinfo</h2><pre id="userinfo" tabindex="0">${session.userinfo === undefined ? "The access token no longer works. Refresh it or sign in again." : json(session.userinfo)}</pre>
<h2>Access token</h2><pre id="access-token" tabindex="0">${escape(session.accessToken)}</pre>`;
}

function json(value: object): string {
  return escape(JSON.stringify(value, null, 2));
}

function escape(text: string): string {
  return text
    .replaceAll("&", "&amp;")
    .replaceAll("<", "&lt;")
    .replaceAll(">", "&gt;")
    .replaceAll('"', "&quot;");
}

export const DEMO_CSS = `
:root { color-scheme: light dark; font: 1rem/1.5 system-ui, sans-serif; }
main { max-width: 40rem; margin: 3rem auto; padding: 0 1rem; }
.row { display: flex; flex-wrap: wrap; gap: .75rem; }
.button, button { display: inline-block; min-height: 2.75rem; padding: .5rem 1rem; border: 1px solid #747d8c;
  border-radius: .5rem; background: #0b6b57; color: #fff; font: inherit; font-weight: 600; text-decoration: none; cursor: pointer; }
pre { padding: 1rem; border: 1px solid #747d8c; border-radius: .5rem; overflow-x: auto; white-space: pre-wrap; overflow-wrap: anywhere; }
.problem { padding: .75rem 1rem; border-inline-start: .25rem solid #b3261e; }
`;
