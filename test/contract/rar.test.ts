import assert from "node:assert/strict";
import { setTimeout } from "node:timers/promises";
import { exportJWK, generateKeyPair, SignJWT } from "jose";
import { parseDefinition } from "../../src/consents/authorization-types.ts";
import { AuditEvent } from "../../src/models/audit-event.ts";
import { AuthorizationType } from "../../src/models/authorization-type.ts";
import { OAuthClient } from "../../src/models/oauth-client.ts";
import {
  errorOf,
  json,
  RelyingParty,
  response,
  send,
  walk,
  WebBrowser,
  type Answer,
} from "../support/rp.ts";
import { aClient, aServer, aUser, PASSWORD, type TestServer } from "../support/server.ts";

const PAYMENT = {
  type: "payment_initiation",
  title: { en: "Make a payment", de: "Eine Zahlung ausführen" },
  properties: {
    amount: {
      title: { en: "Amount", de: "Betrag" },
      type: "object",
      properties: {
        value: {
          title: { en: "Sum", de: "Summe" },
          type: "number",
          minimum: 0.01,
          maximum: 10_000,
        },
        currency: { title: { en: "Currency", de: "Währung" }, type: "string", maxLength: 3 },
      },
      required: ["value", "currency"],
    },
    creditor: { title: { en: "Paid to", de: "Empfänger" }, type: "string", maxLength: 70 },
    instant: { title: { en: "At once", de: "Sofort" }, type: "boolean" },
  },
  required: ["amount", "creditor"],
};
const ACCOUNTS = {
  type: "account_information",
  title: "Look into accounts",
  properties: {
    actions: {
      title: "It may",
      type: "array",
      items: {
        type: "string",
        oneOf: [
          { const: "read_balances", title: "see your balances" },
          { const: "read_transactions", title: "see your transactions" },
        ],
      },
    },
    days: { title: "Days back", type: "integer", maximum: 90 },
  },
  required: ["actions"],
};

const payment = {
  type: "payment_initiation",
  amount: { value: 123.5, currency: "EUR" },
  creditor: "Merchant A",
};
const accounts = { type: "account_information", actions: ["read_balances", "read_transactions"] };
const asked = (...details: unknown[]) => ({ authorization_details: JSON.stringify(details) });

describe("rich authorization requests (RFC 9396)", () => {
  let server: TestServer;
  let user: { id: string; email: string };
  let browser: WebBrowser;
  let app: RelyingParty;

  before(async () => {
    server = await aServer();
    for (const definition of [PAYMENT, ACCOUNTS])
      await AuthorizationType.query(server.database.knex).insert({
        type: definition.type,
        definition: parseDefinition(definition),
      });
    await untilSupported((types) => types.length === 2);
    user = await aUser(server);
    browser = new WebBrowser(server);
    app = await register();
    // Signed in, and every scope decided: what is asked from here on is asked for the details.
    await walk(server, browser, app.authorization(), user);
  });
  after(() => server.stop());

  const supported = async () =>
    json(await send(server, { path: "/.well-known/openid-configuration" }))[
      "authorization_details_types_supported"
    ] as string[] | undefined;
  const untilSupported = async (isRight: (types: string[]) => boolean) => {
    for (let tries = 0; tries < 100; tries += 1) {
      if (isRight((await supported()) ?? [])) return;
      await setTimeout(50);
    }
    assert.fail("the types never arrive at the engine");
  };
  const register = async (metadata: Record<string, unknown> = {}) =>
    new RelyingParty(
      server,
      await aClient(server, {
        authorization_details_types: [PAYMENT.type, ACCOUNTS.type],
        ...metadata,
      }),
    );
  /** What the person meets first when they are asked for these details. */
  const open = async (details: object, rp = app): Promise<Answer> =>
    walk(server, browser, rp.authorization({ ...details }), { ...user, until: "consent" });
  const allow = async (details: object, rp = app): Promise<string> => {
    const answer = await walk(server, browser, rp.authorization({ ...details }), user);
    return response(answer)["code"] ?? "";
  };
  const tokensFor = async (details: object, rp = app) =>
    json(await rp.redeem(await allow(details, rp)));
  const refused = async (details: unknown, rp = app) => {
    const parameters = {
      authorization_details: typeof details === "string" ? details : JSON.stringify(details),
    };
    const answer = await browser.open(rp.authorization(parameters));
    assert.equal(errorOf(answer), "invalid_authorization_details", JSON.stringify(details));
    return response(answer)["error_description"] ?? "";
  };

  it("says which types there are (RFC 9396 §10)", async () => {
    assert.deepEqual(await supported(), [ACCOUNTS.type, PAYMENT.type]);
  });

  describe("a request", () => {
    it("must be a JSON array of objects with a type (RFC 9396 §2)", async () => {
      for (const details of ["{", "1", "{}", [1], [{}], [{ type: 1 }], [{ type: "" }]])
        await refused(details);
    });

    it("must name types that are registered (RFC 9396 §5)", async () => {
      await refused([{ type: "unknown" }]);
      await refused([payment, { type: "unknown" }]);
      await refused([{ ...payment, type: "__proto__" }]);
    });

    it("must not have fields that the type does not know (RFC 9396 §5)", async () => {
      assert.match(await refused([{ ...payment, extra: 1 }]), /extra is not known/);
      const amount = { ...payment.amount, extra: 1 };
      assert.match(await refused([{ ...payment, amount }]), /amount.extra is not known/);
      assert.match(
        await refused([{ ...payment, locations: ["https://a.example"] }]),
        /locations is/,
      );
      await refused(`[{"type":"payment_initiation","__proto__":{"creditor":"x"}}]`);
    });

    it("must have the fields that the type requires (RFC 9396 §5)", async () => {
      assert.match(await refused([{ type: PAYMENT.type }]), /amount is missing/);
      const amount = { value: 1 };
      assert.match(await refused([{ ...payment, amount }]), /amount.currency is missing/);
    });

    it("must have fields of the right kind (RFC 9396 §5)", async () => {
      for (const [change, problem] of [
        [{ creditor: 1 }, /creditor must be a text/],
        [{ creditor: " " }, /creditor must be a text/],
        [{ creditor: ["x"] }, /creditor must be a text/],
        [{ amount: "1 EUR" }, /amount must be an object/],
        [{ amount: [] }, /amount must be an object/],
        [{ amount: { value: "1", currency: "EUR" } }, /amount.value must be a number/],
        [{ instant: "yes" }, /instant must be true or false/],
      ] as const)
        assert.match(await refused([{ ...payment, ...change }]), problem);
      assert.match(await refused([{ ...accounts, days: 1.5 }]), /days must be a whole number/);
    });

    it("must have fields within their bounds (RFC 9396 §5)", async () => {
      for (const [change, problem] of [
        [{ creditor: "x".repeat(71) }, /at most 70 characters/],
        [{ amount: { value: 0, currency: "EUR" } }, /at least 0.01/],
        [{ amount: { value: 10_001, currency: "EUR" } }, /at most 10000/],
      ] as const)
        assert.match(await refused([{ ...payment, ...change }]), problem);
      assert.match(
        await refused([{ ...accounts, actions: ["write"] }]),
        /must be read_balances or/,
      );
      assert.match(await refused([{ ...accounts, actions: [] }]), /actions must be a list/);
    });

    it("must not have characters that deceive whoever reads it (RFC 9396 §12)", async () => {
      for (const creditor of ["Merchant\u202eA", "Mer\u200bchant", "A\nB"])
        assert.match(await refused([{ ...payment, creditor }]), /invisible characters/);
    });

    it("must be short enough to be read", async () => {
      assert.match(await refused(Array.from({ length: 11 }, () => payment)), /more than 10/);
    });

    it("must be for types that the client is registered for (RFC 9396 §10)", async () => {
      const other = await register({ authorization_details_types: [ACCOUNTS.type] });
      await refused([payment], other);
      await refused([payment], await register({ authorization_details_types: [] }));
      assert.equal((await open(asked(accounts), other)).page, "consent");
    });

    it("is not for a client from before there were types (RFC 9396 §10)", async () => {
      const old = await register({ authorization_details_types: [] });
      const row = OAuthClient.query(server.database.knex).findOne({
        clientId: old.credentials.clientId,
      });
      await row.patch({ metadata: {} });
      await setTimeout(200);
      await refused([payment], old);
    });

    it("is checked when it is pushed (RFC 9396 §5, RFC 9126 §2.3)", async () => {
      const wrong = await app.post("/request", app.parameters(asked({ type: "unknown" })));
      assert.equal(wrong.status, 400);
      assert.equal(errorOf(wrong), "invalid_authorization_details");
      const right = await app.post("/request", app.parameters(asked(payment)));
      assert.equal(right.status, 201);
      const query = new URLSearchParams({
        client_id: app.credentials.clientId,
        request_uri: String(json(right)["request_uri"]),
      });
      const back = await walk(server, browser, `/auth?${query}`, user);
      const tokens = json(await app.redeem(response(back)["code"] ?? ""));
      assert.deepEqual(tokens["authorization_details"], [payment]);
    });
  });

  it("may be signed (RFC 9396 §3, RFC 9101 §4)", async () => {
    const { publicKey, privateKey } = await generateKeyPair("ES256", { extractable: true });
    const rp = await register({
      request_object_signing_alg: "ES256",
      jwks: { keys: [await exportJWK(publicKey)] },
    });
    const { clientId } = rp.credentials;
    const signed = (details: unknown) =>
      new SignJWT({ ...rp.parameters(), authorization_details: details })
        .setProtectedHeader({ alg: "ES256" })
        .setIssuer(clientId)
        .setAudience(server.issuer)
        .setIssuedAt()
        .setExpirationTime("1m")
        .sign(privateKey);
    const ask = async (details: unknown) =>
      `/auth?${new URLSearchParams({ client_id: clientId, request: await signed(details) })}`;
    const back = await walk(server, browser, await ask([payment]), user);
    const tokens = json(await rp.redeem(response(back)["code"] ?? ""));
    assert.deepEqual(tokens["authorization_details"], [payment]);
    const wrong = await browser.open(await ask([{ ...payment, extra: 1 }]));
    assert.equal(errorOf(wrong), "invalid_authorization_details");
  });

  describe("the person", () => {
    it("sees every field with its title, in the order of the type (RFC 9396 §11.1)", async () => {
      const { page, text } = await open(asked({ ...payment, instant: true }, accounts));
      assert.equal(page, "consent");
      let before = 0;
      for (const words of [
        "Make a payment",
        "Amount – Sum",
        "123.5",
        "Amount – Currency",
        "EUR",
        "Paid to",
        "Merchant A",
        "At once",
        "Yes",
        "Look into accounts",
        "It may",
        "see your balances",
        "see your transactions",
      ]) {
        const place = text.indexOf(words, before);
        assert.ok(place > 0, words);
        before = place;
      }
    });

    it("sees numbers to the last digit", async () => {
      const amount = { value: 9_999.123_456, currency: "EUR" };
      assert.match((await open(asked({ ...payment, amount }))).text, /9,999\.123456/);
    });

    it("sees it in their language", async () => {
      const { text } = await open({ ...asked(payment), ui_locales: "de" });
      for (const words of ["Eine Zahlung ausführen", "Betrag – Summe", "123,5", "Empfänger"])
        assert.ok(text.includes(words), words);
    });

    it("is not attacked by what the client writes", async () => {
      const { text } = await open(asked({ ...payment, creditor: "<script>alert(1)</script>" }));
      assert.ok(text.includes("&lt;script&gt;alert(1)"));
      assert.ok(!text.includes("<script>alert"));
    });

    it("is asked every time, whatever was allowed before (RFC 9396 §11.1)", async () => {
      await allow(asked(payment));
      assert.equal((await open(asked(payment))).page, "consent");
    });

    it("is asked for a client of the operator's own, too", async () => {
      const own = await register({ first_party: true });
      assert.equal((await open(asked(payment), own)).page, "consent");
      const tokens = await tokensFor(asked(payment), own);
      assert.deepEqual(tokens["authorization_details"], [payment]);
    });

    it("is asked in the sign-in itself, once", async () => {
      const fresh = new WebBrowser(server);
      const path = app.authorization(asked(payment));
      const shown = await walk(server, fresh, path, { ...user, until: "consent" });
      assert.equal(shown.page, "consent");
      const back = await walk(server, fresh, shown.url.href, { ...user, password: PASSWORD });
      assert.ok(response(back)["code"]);
    });

    it("is not passed by: prompt=none ends in consent_required (OIDC Core §3.1.2.6)", async () => {
      const answer = await browser.open(app.authorization({ ...asked(payment), prompt: "none" }));
      assert.equal(errorOf(answer), "consent_required");
    });

    it("can say no, and nothing is granted (RFC 6749 §4.1.2.1)", async () => {
      const shown = await open(asked(payment));
      let answer = await browser.submit(shown.url.href, { decision: "deny" });
      while (answer.location?.startsWith(server.issuer) === true)
        answer = await browser.open(answer.location);
      assert.equal(errorOf(answer), "access_denied");
    });

    it("is recorded to have allowed types, not their contents", async () => {
      await allow(asked(payment));
      const event = await AuditEvent.query(server.database.knex)
        .where({ type: "consent.granted" })
        .orderBy("id", "desc")
        .first();
      assert.deepEqual(event?.details["authorizationDetailsTypes"], [PAYMENT.type]);
      assert.doesNotMatch(JSON.stringify(event), /Merchant A/);
    });

    it("is not asked to allow what no type describes any more", async () => {
      const { knex } = server.database;
      const definition = parseDefinition({ ...ACCOUNTS, type: "changing" });
      await AuthorizationType.query(knex).insert({ type: "changing", definition });
      await untilSupported((types) => types.includes("changing"));
      const rp = await register({ authorization_details_types: ["changing"] });
      const { url, page } = await open(asked({ ...accounts, type: "changing" }), rp);
      assert.equal(page, "consent");
      const { actions: _actions, ...properties } = definition.properties;
      await AuthorizationType.query(knex)
        .findById("changing")
        .patch({ definition: { ...definition, properties, required: [] } });
      assert.equal((await browser.open(url.href)).status, 400);
    });
  });

  describe("tokens", () => {
    const introspect = async (token: unknown) =>
      json(await app.post("/token/introspection", { token: String(token) }));

    it("come with what was allowed (RFC 9396 §7)", async () => {
      const tokens = await tokensFor(asked(payment, accounts));
      assert.deepEqual(tokens["authorization_details"], [payment, accounts]);
    });

    it("carry it to resource servers (RFC 9396 §9.2)", async () => {
      const tokens = await tokensFor(asked(payment));
      const seen = await introspect(tokens["access_token"]);
      assert.deepEqual(seen["authorization_details"], [payment]);
    });

    it("carry none where none was asked for, although some was allowed before (RFC 9396 §6)", async () => {
      await allow(asked(payment));
      const tokens = await tokensFor({});
      assert.equal(tokens["authorization_details"], undefined);
      const seen = await introspect(tokens["access_token"]);
      assert.equal(seen["authorization_details"], undefined);
    });

    it("can be narrowed to some details (RFC 9396 §6.1)", async () => {
      const code = await allow(asked(payment, accounts));
      const tokens = json(await app.redeem(code, asked(accounts)));
      assert.deepEqual(tokens["authorization_details"], [accounts]);
    });

    it("allow once what was allowed once (RFC 9396 §6.1)", async () => {
      const code = await allow(asked(payment));
      const answer = await app.redeem(code, asked(payment, payment, payment));
      assert.equal(errorOf(answer), "invalid_authorization_details");
      const listed = { ...accounts, actions: ["read_balances", "read_balances"] };
      const again = await app.redeem(await allow(asked(accounts)), asked(listed));
      assert.equal(errorOf(again), "invalid_authorization_details");
    });

    it("can be narrowed to some entries of a list (RFC 9396 §6.1)", async () => {
      const code = await allow(asked(accounts));
      const less = { ...accounts, actions: ["read_balances"] };
      const tokens = json(await app.redeem(code, asked(less)));
      assert.deepEqual(tokens["authorization_details"], [less]);
      const seen = await introspect(tokens["access_token"]);
      assert.deepEqual(seen["authorization_details"], [less]);
    });

    for (const [what, more] of [
      ["another amount", { ...payment, amount: { value: 124, currency: "EUR" } }],
      ["another creditor", { ...payment, creditor: "Merchant B" }],
      ["a further field", { ...payment, instant: true }],
      ["another type", accounts],
    ] as const)
      it(`cannot be widened by ${what} (RFC 9396 §6.1)`, async () => {
        const answer = await app.redeem(await allow(asked(payment)), asked(more));
        assert.equal(answer.status, 400);
        assert.equal(errorOf(answer), "invalid_authorization_details");
      });

    it("cannot be widened by leaving a limit out (RFC 9396 §6.1)", async () => {
      const code = await allow(asked({ ...accounts, days: 7 }));
      const answer = await app.redeem(code, asked(accounts));
      assert.equal(errorOf(answer), "invalid_authorization_details");
    });

    it("cannot be widened by a list that one allowed detail has and another not (RFC 9396 §6.1)", async () => {
      const [one, two] = [
        { ...accounts, actions: ["read_balances"], days: 90 },
        { ...accounts, actions: ["read_transactions"], days: 1 },
      ];
      const code = await allow(asked(one, two));
      const answer = await app.redeem(code, asked({ ...accounts, days: 90 }));
      assert.equal(errorOf(answer), "invalid_authorization_details");
    });

    it("get none at the token endpoint that nobody was asked for (RFC 9396 §6)", async () => {
      const answer = await app.redeem(await allow({}), asked(payment));
      assert.equal(answer.status, 400);
      assert.equal(json(answer)["access_token"], undefined);
    });

    it("are renewed with what was allowed, or less, and never more (RFC 9396 §6)", async () => {
      const first = await tokensFor(asked(payment, accounts));
      const refresh = async (token: unknown, details: object = {}) =>
        app.token({ grant_type: "refresh_token", refresh_token: String(token), ...details });
      const less = json(await refresh(first["refresh_token"], asked(payment)));
      assert.deepEqual(less["authorization_details"], [payment]);
      const again = json(await refresh(less["refresh_token"]));
      assert.deepEqual(again["authorization_details"], [payment, accounts]);
      const more = await refresh(again["refresh_token"], asked({ ...payment, creditor: "B" }));
      assert.equal(errorOf(more), "invalid_authorization_details");
    });

    it("of a client alone get none, because there is nobody to allow it", async () => {
      const machine = await register({ grant_types: ["client_credentials"], redirect_uris: [] });
      const grant = { grant_type: "client_credentials" };
      assert.equal((await machine.token(grant)).status, 200);
      const answer = await machine.token({ ...grant, ...asked(payment) });
      assert.equal(errorOf(answer), "invalid_authorization_details");
    });
  });

  describe("types", () => {
    it("are those of the server for every client (RFC 9396 §10)", async () => {
      await assert.rejects(
        register({ authorization_details_types: ["unknown"] }),
        /authorization_details_types has unknown, which is not registered/,
      );
    });

    it("stay while a client is registered for one", async () => {
      const { knex } = server.database;
      assert.equal(await AuthorizationType.remove(knex, PAYMENT.type), false);
      assert.equal(await AuthorizationType.remove(knex, "unknown"), false);
    });

    it("are taken up and given up by running servers", async () => {
      const { knex } = server.database;
      const third = { type: "third", title: "A third", properties: {} };
      await AuthorizationType.query(knex).insert({
        type: "third",
        definition: parseDefinition(third),
      });
      await untilSupported((types) => types.includes("third"));
      assert.equal(await AuthorizationType.remove(knex, "third"), true);
      await untilSupported((types) => !types.includes("third"));
    });

    for (const [what, change, problem] of [
      ["no title", { title: undefined }, /title/],
      ["no words", { title: {} }, /title/],
      ["a field without a title", { properties: { a: { type: "string" } } }, /properties.a.title/],
      ["a field of no kind", { properties: { a: { type: "any", title: "A" } } }, /properties.a/],
      ["a word that is not known", { additionalProperties: true }, /additionalProperties/],
      ["type as a field", { properties: { type: { type: "string", title: "T" } } }, /define type/],
      ["a required field that is none", { required: ["x"] }, /list as required/],
      ["a name with a space", { type: "a b" }, /type: must begin/],
      [
        "lists of lists",
        {
          properties: {
            a: { type: "array", title: "A", items: { type: "array", items: { type: "string" } } },
          },
        },
        /properties.a.items/,
      ],
    ] as const)
      it(`are not defined with ${what}`, () => {
        assert.throws(() => parseDefinition({ ...PAYMENT, ...change }), problem);
      });
  });
});
