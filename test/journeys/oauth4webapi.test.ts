import assert from "node:assert/strict";
import { exportJWK } from "jose";
import * as oauth from "oauth4webapi";
import { aClient, aServer, aUser, PASSWORD, type TestServer } from "../support/server.ts";
import { Visitor } from "../support/visitor.ts";

const insecure = { [oauth.allowInsecureRequests]: true };

/** Another library than the demo's, on the strictest path: pushed request, private_key_jwt, DPoP, all checked. */
describe("journey: a relying party on oauth4webapi", () => {
  let server: TestServer;
  before(async () => {
    server = await aServer();
  });
  after(() => server.stop());

  it("signs in with PAR, private_key_jwt and DPoP, refreshes, introspects and revokes", async () => {
    const issuer = new URL(server.issuer);
    const as = await oauth.processDiscoveryResponse(
      issuer,
      await oauth.discoveryRequest(issuer, insecure),
    );
    const pair = await oauth.generateKeyPair("ES256");
    const { clientId, redirectUri } = await aClient(server, {
      token_endpoint_auth_method: "private_key_jwt",
      jwks: {
        keys: [{ ...(await exportJWK(pair.publicKey)), alg: "ES256", kid: "k1", use: "sig" }],
      },
      dpop_bound_access_tokens: true,
      require_pushed_authorization_requests: true,
    });
    const client: oauth.Client = { client_id: clientId, id_token_signed_response_alg: "ES256" };
    const authentication = oauth.PrivateKeyJwt({ key: pair.privateKey, kid: "k1" });
    const proof = oauth.DPoP(client, await oauth.generateKeyPair("ES256"));

    const codeVerifier = oauth.generateRandomCodeVerifier();
    const [state, nonce] = [oauth.generateRandomState(), oauth.generateRandomNonce()];
    const pushed = await oauth.processPushedAuthorizationResponse(
      as,
      client,
      await oauth.pushedAuthorizationRequest(
        as,
        client,
        authentication,
        new URLSearchParams({
          redirect_uri: redirectUri,
          response_type: "code",
          scope: "openid email offline_access",
          prompt: "consent",
          code_challenge: await oauth.calculatePKCECodeChallenge(codeVerifier),
          code_challenge_method: "S256",
          state,
          nonce,
        }),
        { DPoP: proof, ...insecure },
      ),
    );

    const user = await aUser(server);
    const visitor = new Visitor({ follows: false });
    const goOn = () => visitor.open(String(visitor.location));
    await visitor.open(
      `${as.authorization_endpoint}?${new URLSearchParams({ client_id: clientId, request_uri: pushed.request_uri })}`,
    );
    await goOn();
    await visitor.submit({ username: user.email, password: PASSWORD });
    await goOn();
    await visitor.submit({ decision: "allow", scope: ["email", "offline_access"] });
    await goOn();

    const callback = oauth.validateAuthResponse(
      as,
      client,
      new URL(String(visitor.location)),
      state,
    );
    const exchange = () =>
      oauth.authorizationCodeGrantRequest(
        as,
        client,
        authentication,
        callback,
        redirectUri,
        codeVerifier,
        { DPoP: proof, ...insecure },
      );
    const tokens = await oauth.processAuthorizationCodeResponse(as, client, await exchange(), {
      expectedNonce: nonce,
      requireIdToken: true,
    });
    assert.equal(tokens.token_type, "dpop");
    assert.equal(oauth.getValidatedIdTokenClaims(tokens)?.sub, user.id);

    const refreshed = await oauth.processRefreshTokenResponse(
      as,
      client,
      await oauth.refreshTokenGrantRequest(as, client, authentication, tokens.refresh_token ?? "", {
        DPoP: proof,
        ...insecure,
      }),
    );
    const userinfo = await oauth.processUserInfoResponse(
      as,
      client,
      user.id,
      await oauth.userInfoRequest(as, client, refreshed.access_token, { DPoP: proof, ...insecure }),
    );
    assert.equal(userinfo.email, user.email);

    const introspect = async () =>
      oauth.processIntrospectionResponse(
        as,
        client,
        await oauth.introspectionRequest(
          as,
          client,
          authentication,
          refreshed.access_token,
          insecure,
        ),
      );
    assert.equal((await introspect()).active, true);
    await oauth.processRevocationResponse(
      await oauth.revocationRequest(
        as,
        client,
        authentication,
        refreshed.refresh_token ?? "",
        insecure,
      ),
    );
    assert.equal((await introspect()).active, false);
  });
});
