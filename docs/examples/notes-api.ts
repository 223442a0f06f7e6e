import { createServer, type Server } from "node:http";
import { createRemoteJWKSet, jwtVerify } from "jose";

/** A small API: `GET` needs the permission `read`, `DELETE` needs `write` and a sign-in of the last five minutes. */
export function notesApi(issuer: string, identifier: string): Server {
  const keys = createRemoteJWKSet(new URL(`${issuer}/jwks`));
  const metadataPath = "/.well-known/oauth-protected-resource";

  return createServer(async (request, response) => {
    const answer = (status: number, body: object, challenge?: string) => {
      // RFC 9728 §5.1: whoever comes without the right token learns where to get one.
      const metadata = `resource_metadata="${new URL(metadataPath, identifier).href}"`;
      if (challenge !== undefined)
        response.setHeader("www-authenticate", `Bearer ${metadata}${challenge}`);
      response.writeHead(status, { "content-type": "application/json" });
      response.end(JSON.stringify(body));
    };

    if (request.url === metadataPath)
      return answer(200, {
        resource: identifier,
        authorization_servers: [issuer],
        scopes_supported: ["read", "write"],
        bearer_methods_supported: ["header"],
      });

    const [, token] = /^Bearer (.+)$/i.exec(request.headers.authorization ?? "") ?? [];
    if (token === undefined) return answer(401, {}, "");

    // RFC 9068 §4: the issuer, the audience, the type and, by jose, the signature and the time.
    const verified = await jwtVerify(token, keys, {
      issuer,
      audience: identifier,
      typ: "at+jwt",
      algorithms: ["ES256", "RS256"],
    }).catch(() => undefined);
    if (verified === undefined) return answer(401, {}, ', error="invalid_token"');
    const { sub, scope, auth_time: signedInAt } = verified.payload;

    const needed = request.method === "DELETE" ? "write" : "read";
    if (!String(scope).split(" ").includes(needed))
      return answer(403, {}, `, error="insufficient_scope", scope="${needed}"`);

    // RFC 9470 §3: what cannot be undone wants a person who signed in just now.
    const isRecent = Number(signedInAt) > Date.now() / 1000 - 300;
    if (request.method === "DELETE" && !isRecent)
      return answer(401, {}, ', error="insufficient_user_authentication", max_age=300');

    return answer(200, { notesOf: sub });
  });
}
