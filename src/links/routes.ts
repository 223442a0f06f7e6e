import { Router } from "@koa/router";
import type { Context } from "koa";
import type { Knex } from "knex";
import { z } from "zod";
import { openLink, readContext, type LetterPurpose } from "../authn/letters.ts";
import { MAX_PASSWORD_LENGTH, MIN_PASSWORD_LENGTH } from "../authn/password-policy.ts";
import type { Passwords } from "../authn/password.ts";
import type { Config } from "../config.ts";
import { httpsOnly } from "../consents/client-view.ts";
import { reader, runInUnitOfWork, writer } from "../database/transaction.ts";
import { AppError } from "../errors.ts";
import { readForm } from "../http/body.ts";
import { currentBrowser } from "../http/browser.ts";
import { issuerFor } from "../http/host.ts";
import { originOf } from "../http/origin.ts";
import type { Page } from "../http/page.ts";
import type { Seal } from "../keys/seal.ts";
import type { Mailer } from "../mail/mailer.ts";
import { Invitation } from "../models/invitation.ts";
import { OAuthClient } from "../models/oauth-client.ts";
import { OAuthInteraction } from "../models/oauth-interaction.ts";
import { OneTimeToken } from "../models/one-time-token.ts";
import { UserEmail } from "../models/user-email.ts";
import { undoChange } from "../recovery/change-emails.ts";
import { resetPassword } from "../recovery/reset-password.ts";
import { findInvitation } from "../users/invitations.ts";
import { verifyEmail } from "../users/emails.ts";
import type { FieldError, Views } from "../views.ts";

export interface LinkNeeds {
  config: Pick<Config, "productName">;
  knex: Knex;
  seal: Seal;
  passwords: Passwords;
  mailer: Mailer;
  page: Page;
  ownSignIns: {
    begin(
      ctx: Context,
      back: { to: string; occasion: "no_session"; progress: object },
    ): Promise<string>;
    signedIn(ctx: Context): Promise<string | undefined>;
  };
}

type Outcome = Views["letter-done"]["outcome"];

const passwordForm = z.strictObject({
  username: z.string().max(320).optional(),
  password: z.string().max(1024).default(""),
  sign_out_others: z.literal("1").optional(),
});

/** Pages behind the links of mails. */
export function linkRoutes(needs: LinkNeeds): Router {
  const router = new Router();
  router.use((ctx, next) => runInUnitOfWork(needs.knex, next, () => ctx.status < 500));
  verifyRoutes(router, needs);
  resetRoutes(router, needs);
  undoRoutes(router, needs);
  inviteRoutes(router, needs);
  return router;
}

/** A link that is good, or the page that says why it is not. */
async function liveLetter(
  { knex, page }: LinkNeeds,
  ctx: Context,
  purposes: readonly LetterPurpose[],
): Promise<OneTimeToken | undefined> {
  const secret = String(ctx["params"]?.secret ?? "");
  for (const purpose of purposes) {
    const found = await openLink(reader(knex), purpose, secret, new Date());
    if (found?.state === "live") return found.letter;
    if (found !== undefined) {
      await page(ctx, "letter-done", { outcome: found.state }, 410);
      return undefined;
    }
  }
  await page(ctx, "letter-done", { outcome: "over" }, 410);
  return undefined;
}

function verifyRoutes(router: Router, needs: LinkNeeds): void {
  const { knex, seal, page, ownSignIns } = needs;
  const purposes = ["register", "verify_email"] as const;

  router.get("/verify/:secret", async (ctx: Context) => {
    const letter = await liveLetter(needs, ctx, purposes);
    if (letter === undefined) return;
    const { to, clientName } = readContext(seal, letter);
    await page(ctx, "letter", {
      kind: "verify",
      email: to,
      ...(clientName === undefined ? {} : { clientName }),
    });
  });

  router.post("/verify/:secret", async (ctx: Context) => {
    const letter = await liveLetter(needs, ctx, purposes);
    if (letter === undefined) return;
    const begun = await interactionHere(needs, letter);
    // Whoever makes an account does so in one browser: a stranger's link never ends in the account of who sent it.
    // The same for an address: whoever presses the button must be who it is added for.
    const isOwn = begun !== undefined || (await ownSignIns.signedIn(ctx)) === letter.userId;
    if (letter.purpose === "register" ? begun === undefined : !isOwn)
      return page(ctx, "letter-done", { outcome: "elsewhere" }, 409);
    const outcome = await verify(ctx, letter);
    if (outcome === "verified" && begun !== undefined) {
      ctx.status = 303;
      ctx.redirect(`${begun}/verify`);
      return undefined;
    }
    return page(ctx, "letter-done", { outcome }, outcome === "verified" ? 200 : 409);
  });

  async function verify(ctx: Context, { id, userId, emailId }: OneTimeToken): Promise<Outcome> {
    const now = new Date();
    const db = await writer(knex);
    if (!(await OneTimeToken.spend(db, id, now))) return "used";
    if (userId === null || emailId === null) return "verified";
    const by = { ...originOf(ctx), actor: { type: "user", id: userId } } as const;
    try {
      return (await verifyEmail(db, { userId, emailId, by }, now)) ? "verified" : "over";
    } catch (error) {
      if (error instanceof AppError && error.code === "email_taken") return "taken";
      throw error;
    }
  }
}

function resetRoutes(router: Router, needs: LinkNeeds): void {
  const { config, seal, page } = needs;

  const show = (ctx: Context, letter: OneTimeToken, errors: FieldError[] = [], status = 200) =>
    page(
      ctx,
      "new-password",
      { username: readContext(seal, letter).to, minLength: MIN_PASSWORD_LENGTH, errors },
      status,
    );

  router.get("/reset/:secret", async (ctx: Context) => {
    const letter = await liveLetter(needs, ctx, ["reset_password"]);
    if (letter !== undefined) await show(ctx, letter);
  });

  router.post("/reset/:secret", async (ctx: Context) => {
    const form = await readForm(ctx, passwordForm);
    const letter = await liveLetter(needs, ctx, ["reset_password"]);
    if (letter === undefined) return undefined;
    const begun = await interactionHere(needs, letter);
    const reset = await resetPassword(
      {
        ...needs,
        service: { productName: config.productName, issuer: issuerFor(ctx)?.url },
      },
      letter,
      { password: form.password, signOutOthers: form.sign_out_others !== undefined },
      originOf(ctx),
    );
    if ("problem" in reset) {
      const values = { min: MIN_PASSWORD_LENGTH, max: MAX_PASSWORD_LENGTH };
      return show(ctx, letter, [{ field: "password", message: reset.problem, values }], 422);
    }
    if ("refused" in reset)
      return page(
        ctx,
        "letter-done",
        { outcome: reset.refused === "over" ? "used" : "disabled" },
        reset.refused === "over" ? 410 : 403,
      );
    return page(ctx, "letter-done", {
      outcome: "reset",
      ...(begun === undefined ? {} : { continueHref: begun }),
    });
  });
}

function undoRoutes(router: Router, needs: LinkNeeds): void {
  const { knex, seal, page } = needs;

  router.get("/undo/:secret", async (ctx: Context) => {
    const letter = await liveLetter(needs, ctx, ["undo_email_change"]);
    if (letter === undefined) return;
    await page(ctx, "letter", { kind: "undo", email: readContext(seal, letter).to });
  });

  router.post("/undo/:secret", async (ctx: Context) => {
    const letter = await liveLetter(needs, ctx, ["undo_email_change"]);
    if (letter === undefined) return undefined;
    const db = await writer(knex);
    const secret = await undoChange(db, needs, letter, originOf(ctx), new Date());
    if (secret === undefined) return page(ctx, "letter-done", { outcome: "taken" }, 409);
    ctx.status = 303;
    ctx.redirect(`${readContext(seal, letter).issuer}/reset/${secret}`);
    return undefined;
  });
}

/**
 * An invitation leads into an ordinary sign-in in which the address is proven already; it is used up when there is an
 * account. Whoever has got one meanwhile signs in.
 */
function inviteRoutes(router: Router, needs: LinkNeeds): void {
  const { knex, seal, page, ownSignIns } = needs;
  const invitationOf = async (ctx: Context) => {
    if (issuerFor(ctx)?.signUp === "closed") {
      await page(ctx, "letter-done", { outcome: "over" }, 410);
      return undefined;
    }
    const letter = await liveLetter(needs, ctx, ["invitation"]);
    return letter && (await findInvitation(reader(knex), letter.id, new Date()));
  };

  router.get("/invite/:secret", async (ctx: Context) => {
    const invitation = await invitationOf(ctx);
    if (invitation === undefined) return;
    const { letterId } = invitation;
    const letter = await OneTimeToken.query(reader(knex)).findById(letterId).throwIfNotFound();
    const { clientName } = readContext(seal, letter);
    await page(ctx, "letter", {
      kind: "invite",
      email: invitation.email,
      ...(clientName === undefined ? {} : { clientName }),
    });
  });

  router.post("/invite/:secret", async (ctx: Context) => {
    const invitation = await invitationOf(ctx);
    if (invitation === undefined) return;
    const { id, email, emailNorm, letterId: letter, clientId } = invitation;
    const secret = String(ctx["params"]?.secret ?? "");
    const owner = await UserEmail.query(reader(knex))
      .findOne({ emailNorm })
      .whereNotNull("verifiedAt");
    const to = clientId === null ? "/account" : `/invite/${secret}/app`;
    const progress =
      owner === undefined
        ? { registration: { email, letter, isProven: true, invitation: id } }
        : { identifier: email };
    ctx.status = 303;
    ctx.redirect(await ownSignIns.begin(ctx, { to, occasion: "no_session", progress }));
  });

  // Where the app that somebody was invited to is started, once there is an account.
  router.get("/invite/:secret/app", async (ctx: Context) => {
    const secret = String(ctx["params"]?.secret ?? "");
    const opened = await openLink(reader(knex), "invitation", secret, new Date());
    const client = opened && (await clientOf(knex, opened.letter.id));
    const { initiate_login_uri: start, client_uri: home } = client?.metadata ?? {};
    ctx.status = 303;
    const address = [start, home].find((each) => typeof each === "string");
    ctx.redirect(httpsOnly(String(address)) ?? `${issuerFor(ctx)?.path ?? ""}/`);
  });
}

async function clientOf(knex: Knex, letterId: string): Promise<OAuthClient | undefined> {
  const { clientId } = (await Invitation.query(reader(knex)).findOne({ letterId })) ?? {};
  if (clientId === undefined || clientId === null) return undefined;
  return OAuthClient.query(reader(knex)).findOne({
    id: clientId,
    status: "active",
    deletedAt: null,
  });
}

/** The sign-in in which somebody asked for a letter, where it goes on in this very browser. */
async function interactionHere(
  { knex, seal }: LinkNeeds,
  letter: OneTimeToken,
): Promise<string | undefined> {
  const { bindingHash } = letter;
  const browser = currentBrowser();
  if (bindingHash === null || browser === undefined) return undefined;
  const interaction = await OAuthInteraction.query(reader(knex)).findById(bindingHash);
  const isLive =
    interaction !== undefined &&
    interaction.finishedAt === null &&
    interaction.expiresAt > new Date();
  const isHere = interaction?.browserHash?.equals(browser) === true;
  return isLive && isHere ? readContext(seal, letter).here : undefined;
}
