import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import type { CDPSession, Page } from "playwright-core";
import { addPasskey, askForNewPasskey } from "../../src/authn/passkeys.ts";
import { issuerOf } from "../../src/issuers.ts";
import { User } from "../../src/models/user.ts";
import { SoftwareAuthenticator } from "./authenticator.ts";
import type { TestServer } from "./server.ts";

/** A passkey of a user, registered at a server: its authenticator answers whatever a page of the server asks. */
export async function aPasskey(
  { database, issuer }: Pick<TestServer, "database" | "issuer">,
  userId: string,
  options: { counts?: boolean } = {},
): Promise<SoftwareAuthenticator> {
  const { relyingParty } = issuerOf("", issuer, "production");
  const user = await User.query(database.knex).findById(userId);
  assert.ok(relyingParty && user);
  const device = new SoftwareAuthenticator(issuer, options);
  const now = new Date();
  const occasion = { purpose: "register", of: randomUUID(), userId } as const;
  const question = await askForNewPasskey(
    database.knex,
    relyingParty,
    occasion,
    { owner: { user, name: "ada", displayName: "Ada" }, productName: "Lintel" },
    { now, until: new Date(now.getTime() + 60_000) },
  );
  const answer = device.create(question);
  const outcome = await addPasskey(database.knex, relyingParty, occasion, answer, { now });
  assert.ok("passkey" in outcome);
  return device;
}

/** The question that a page asks authenticators. */
export function questionOf(
  html: string,
): { challenge: string; rpId: string } & Record<string, unknown> {
  const [, json = ""] = /data-passkey="([^"]*)"/.exec(html) ?? [];
  assert.notEqual(json, "", "the page asks for no passkey");
  return JSON.parse(json.replaceAll("&#34;", '"').replaceAll("&amp;", "&"));
}

/** The authenticator of a browser, to which passkeys can be given and taken away. */
export async function aVirtualAuthenticator(page: Page) {
  const cdp: CDPSession = await page.context().newCDPSession(page);
  await cdp.send("WebAuthn.enable");
  const { authenticatorId } = await cdp.send("WebAuthn.addVirtualAuthenticator", {
    options: {
      protocol: "ctap2",
      ctap2Version: "ctap2_1",
      transport: "internal",
      hasResidentKey: true,
      hasUserVerification: true,
      isUserVerified: true,
      automaticPresenceSimulation: true,
    },
  });
  return {
    add: (device: SoftwareAuthenticator, rpId = "localhost") =>
      cdp.send("WebAuthn.addCredential", { authenticatorId, credential: device.toVirtual(rpId) }),
    credentials: async () =>
      (await cdp.send("WebAuthn.getCredentials", { authenticatorId })).credentials,
    verifies: (isUserVerified: boolean) =>
      cdp.send("WebAuthn.setUserVerified", { authenticatorId, isUserVerified }),
  };
}
