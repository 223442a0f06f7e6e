import type { Router } from "@koa/router";
import type { Context } from "koa";
import type { Client } from "oidc-provider";
import { z } from "zod";
import { normaliseEmail } from "../authn/normalise-email.ts";
import { MAX_PASSWORD_LENGTH, MIN_PASSWORD_LENGTH } from "../authn/password-policy.ts";
import type { Passwords } from "../authn/password.ts";
import { isHostAllowed } from "../clients/document.ts";
import type { Config } from "../config.ts";
import { clientView } from "../consents/client-view.ts";
import { writer } from "../database/transaction.ts";
import type { TransactionOrKnex } from "objection";
import { AppError, errors as appErrors } from "../errors.ts";
import { readForm } from "../http/body.ts";
import { localeOf } from "../http/locale.ts";
import type { Page } from "../http/page.ts";
import { SIGN_UP, type Issuer, type SignUp } from "../issuers.ts";
import { passwordProblemOf } from "../recovery/reset-password.ts";
import { decideTerms, inLanguage } from "../terms/terms.ts";
import { acceptInvitation } from "../users/invitations.ts";
import { readClaim, saveClaims } from "../users/requirements.ts";
import { keepFirstPasskey } from "../users/passkeys.ts";
import { createUser } from "../users/users.ts";
import type { FieldError, Views } from "../views.ts";
import type { Registration } from "./flow.ts";
import { homeRealm } from "./home-realm.ts";
import { refusal, sendLetter, type LetterNeeds, type Refusal } from "./letter.ts";
import { madeHere } from "./passkey.ts";
import {
  choosePasskey,
  newPasskeyFields,
  newPasskeyQuestion,
  userHandleOf,
} from "./register-passkey.ts";
import type { StepTools } from "./routes.ts";
import type { Visit } from "./visit.ts";

export interface RegisterNeeds extends LetterNeeds {
  config: Pick<Config, "locales" | "productName">;
  passwords: Passwords;
  page: Page;
}

const registerForm = z.strictObject({
  email: z.string().trim().max(320).default(""),
  hp_url: z.string().max(2048).default(""),
  password: z.string().max(1024).default(""),
  given_name: z.string().trim().max(400).default(""),
  family_name: z.string().trim().max(400).default(""),
  terms: z.array(z.uuid()).max(50).default([]),
  ...newPasskeyFields,
});
type RegisterForm = z.output<typeof registerForm>;

/** Who may make an account on the way to a client: as the operator said for it, or for the issuer. */
export function signUpAt(client: Client, issuer: Pick<Issuer, "signUp"> | undefined): SignUp {
  const own = SIGN_UP.find((each) => each === client["sign_up"]);
  return own ?? issuer?.signUp ?? "closed";
}

/**
 * Making an account: the address, which the person shows to be theirs on the `verify` page, then how they will sign
 * in, by a passkey or a password, then names and terms; only then there is an account, and the sign-in goes on. An address that has an account
 * already looks the same (T-62).
 */
export function registerRoutes(router: Router, tools: StepTools, needs: RegisterNeeds): void {
  const at = tools.at("register", "identifier", "password", "verify");

  router.get("/register", at, (ctx: Context) => show(needs, ctx, tools.visit(ctx)));

  router.post("/register", at, async (ctx: Context) => {
    const form = await readForm(ctx, registerForm);
    const visit = tools.visit(ctx);
    const { progress } = visit;
    const stage = stageOf(visit);
    if (stage === "closed") return show(needs, ctx, visit, { status: 403 });
    if (stage === "email") {
      const email = readAddress(form.email);
      // Whose domain has a provider of its own begins there; nothing is sent to them.
      if (email !== undefined && isForced(visit, email))
        return tools.proceed(ctx, { ...progress, identifier: email });
      const sent = await askForAddress(needs, ctx, visit, form);
      if ("errors" in sent) return show(needs, ctx, visit, sent, form);
      return tools.proceed(ctx, { ...progress, registration: sent });
    }
    const { registration } = progress;
    if (registration === undefined) return tools.proceed(ctx, progress);
    if (stage === "password") {
      const isByPasskey = form.passkey_response !== "";
      const chosen = isByPasskey
        ? await choosePasskey(needs.knex, visit, registration, form.passkey_response)
        : await choosePassword(needs, visit, registration, form);
      if ("errors" in chosen) return show(needs, ctx, visit, chosen, form);
      return tools.proceed(ctx, { ...progress, registration: chosen });
    }
    const made = await createAccount(needs, ctx, visit, { registration, form });
    if ("errors" in made) return show(needs, ctx, visit, made, form);
    const { registration: _made, ...rest } = progress;
    return tools.proceed(ctx, {
      ...rest,
      identifier: registration.email,
      userId: made.userId,
      ...(made.passkey === undefined ? {} : madeHere(made.passkey)),
      shown: [{ method: made.passkey === undefined ? "pwd" : "passkey", at: Date.now() / 1000 }],
    });
  });
}

type Stage = Views["register"]["stage"];

function stageOf({ client, issuer, progress: { registration } }: Visit): Stage {
  const isInvited = registration?.invitation !== undefined;
  if (!isInvited && signUpAt(client, issuer) !== "open") return "closed";
  if (registration?.isProven !== true) return "email";
  const hasChosen = registration.passwordHash !== undefined || registration.passkey !== undefined;
  return hasChosen ? "details" : "password";
}

async function show(
  { config, knex, page }: RegisterNeeds,
  ctx: Context,
  visit: Visit,
  { errors = [], status = 200 }: { errors?: FieldError[]; status?: number } = {},
  form?: RegisterForm,
): Promise<void> {
  const { interaction, here, client, progress, current } = visit;
  const hint = interaction.params["login_hint"];
  const suggested = typeof hint === "string" && hint.includes("@") ? hint.slice(0, 254) : "";
  const stage = stageOf(visit);
  await page(
    ctx,
    "register",
    {
      client: clientView(client, interaction.params["redirect_uri"]),
      stage,
      email: form?.email || (progress.registration?.email ?? suggested),
      minLength: MIN_PASSWORD_LENGTH,
      ...(stage === "password" ? await newPasskeyQuestion(knex, visit, config.productName) : {}),
      givenName: form?.given_name ?? "",
      familyName: form?.family_name ?? "",
      terms:
        stage === "details"
          ? current.map((version) => inLanguage(version, localeOf(ctx, config.locales)))
          : [],
      signInHref: `${here}?change=1`,
      cancelAction: `${here}/cancel`,
      errors,
    },
    status,
  );
}

async function askForAddress(
  needs: RegisterNeeds,
  ctx: Context,
  visit: Visit,
  { email: typed, hp_url: filledIn }: RegisterForm,
): Promise<Registration | Refusal> {
  const email = readAddress(typed);
  if (email === undefined) return refusal({ field: "email", message: "err.email.invalid" }, 422);
  const domains = visit.issuer?.signUpDomains ?? [];
  const domain = email.slice(email.lastIndexOf("@") + 1);
  if (domains.length > 0 && !isHostAllowed(`https://${domain}`, domains))
    return refusal({ field: "email", message: "err.email.domain" }, 422);
  // A field that people do not see; a program fills it in, and hears what everybody hears.
  const isPretended = filledIn !== "";
  const wanted = { purpose: "register", to: email, isPretended } as const;
  const sent = await sendLetter(needs, ctx, visit, wanted, "email");
  return "errors" in sent ? sent : { email, letter: sent.letter };
}

function isForced({ connections, client }: Visit, email: string): boolean {
  const realm = homeRealm(connections, {}, { identifier: email }, { client, user: undefined });
  return realm?.how === "forced";
}

function readAddress(typed: string): string | undefined {
  try {
    return normaliseEmail(typed).email;
  } catch (error) {
    if (error instanceof AppError) return undefined;
    throw error;
  }
}

async function choosePassword(
  { config, passwords }: RegisterNeeds,
  { issuer }: Visit,
  registration: Registration,
  { password }: RegisterForm,
): Promise<Registration | Refusal> {
  const service = { productName: config.productName, issuer: issuer?.url };
  const message = passwordProblemOf(password, service, undefined, registration.email);
  if (message !== undefined)
    return refusal(
      {
        field: "password",
        message,
        values: { min: MIN_PASSWORD_LENGTH, max: MAX_PASSWORD_LENGTH },
      },
      422,
    );
  return { ...registration, passwordHash: await passwords.hash(password) };
}

/** An account, and the passkey with which it was made. */
interface Made {
  readonly userId: string;
  readonly passkey: { readonly id: string; readonly isBuiltIn: boolean } | undefined;
}

/** Makes the account, in one transaction with what the person agreed to. */
async function createAccount(
  { config, knex }: RegisterNeeds,
  ctx: Context,
  visit: Visit,
  { registration, form }: { registration: Registration; form: RegisterForm },
): Promise<Made | Refusal> {
  const { current } = visit;
  const locale = localeOf(ctx, config.locales);
  const names = readNames(form);
  if ("errors" in names) return names;
  const refused = current.filter(({ id, isMandatory }) => isMandatory && !form.terms.includes(id));
  if (refused.length > 0) return refusal(termsRequired(refused[0]?.document), 422);
  const now = new Date();
  const db = await writer(knex);
  try {
    const made = await db.transaction((trx) => storeAccount(trx, visit, registration, now));
    const { userId } = made;
    await saveClaims(db, userId, names, now, locale);
    const decisions = current.map((version) => ({
      versionId: version.id,
      accepted: form.terms.includes(version.id),
      locale: inLanguage(version, locale).locale,
    }));
    await decideTerms(db, userId, decisions, now);
    return made;
  } catch (error) {
    if (!(error instanceof AppError && error.code === "email_taken")) throw error;
    // Whoever reads this has shown that the address is theirs, so it is no secret that it has an account.
    return refusal({ field: "register-submit", message: "err.email.taken" }, 409);
  }
}

async function storeAccount(
  db: TransactionOrKnex,
  visit: Visit,
  registration: Registration,
  now: Date,
): Promise<Made> {
  const { email, letter, passwordHash, passkey, invitation } = registration;
  const via = invitation === undefined ? "registration" : "invitation";
  const webauthnUserHandle = passkey === undefined ? undefined : userHandleOf(visit, registration);
  const account = { email, verified: true, passwordHash, webauthnUserHandle, via } as const;
  const user = await createUser(db, account, now);
  const kept = passkey === undefined ? undefined : await keepFirstPasskey(db, user, passkey, now);
  if (passkey !== undefined && kept === undefined)
    throw appErrors.badRequest("This passkey cannot be used. Begin again with another one.");
  const made = { userId: user.id, passkey: kept };
  if (invitation === undefined) return made;
  if (await acceptInvitation(db, { id: invitation, letterId: letter }, user.id, now)) return made;
  throw appErrors.badRequest("This invitation was used or taken back.");
}

function readNames(form: RegisterForm): { given_name?: string; family_name?: string } | Refusal {
  const names: { given_name?: string; family_name?: string } = {};
  for (const field of ["given_name", "family_name"] as const) {
    if (form[field] === "") continue;
    const name = readClaim(field, form[field]);
    if (name === undefined) return refusal({ field, message: "err.profile.invalid" }, 422);
    names[field] = name;
  }
  return names;
}

/** Where the mandatory ones were not all agreed to. */
export function termsRequired(document: string | undefined): FieldError {
  return { field: `terms-${document ?? ""}`, message: "err.terms.required" };
}
