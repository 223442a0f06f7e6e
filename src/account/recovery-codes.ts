import type { Router } from "@koa/router";
import type { Context } from "koa";
import { z } from "zod";
import { factorsOf, hasStrongFactor } from "../authn/factors.ts";
import { readRecoveryCode } from "../authn/recovery-codes.ts";
import { reader } from "../database/transaction.ts";
import { errors } from "../errors.ts";
import { readForm } from "../http/body.ts";
import { sendAsFile } from "../http/text-file.ts";
import { RecoveryCode } from "../models/recovery-code.ts";
import { renewRecoveryCodes } from "../users/second-factors.ts";
import { visitor } from "./guard.ts";
import { ownerOf, type AccountFactorNeeds } from "./second-factors.ts";

const fileForm = z.strictObject({ code: z.array(z.string().max(40)).min(1).max(10) });

/** How many recovery codes a person has left, and new ones in their place. */
export function accountCodeRoutes(router: Router, needs: AccountFactorNeeds): void {
  const { knex, guard, page, issuer } = needs;
  const here = `${issuer.path}/account/recovery-codes`;

  router.get("/recovery-codes", guard.signedIn, async (ctx: Context) => {
    const { user } = visitor(ctx);
    const left = await RecoveryCode.countLeft(reader(knex), user.id);
    const isOfUse = hasStrongFactor(await factorsOf(reader(knex), user.id));
    await page(ctx, "account-recovery-codes", { left, isOfUse });
  });

  router.post("/recovery-codes", guard.confirmed, async (ctx: Context) => {
    const { user } = visitor(ctx);
    if (!hasStrongFactor(await factorsOf(reader(knex), user.id))) throw errors.nothingToRecover();
    const codes = await renewRecoveryCodes(needs, ownerOf(ctx));
    await page(ctx, "account-codes-new", { codes, backHref: here });
  });

  // The page that shows them once sends them back for this: nothing readable of them is kept here, so nothing is told.
  router.post("/recovery-codes/download", guard.signedIn, async (ctx: Context) => {
    const { code: codes } = await readForm(ctx, fileForm);
    if (codes.some((code) => readRecoveryCode(code) === undefined))
      throw errors.badRequest("These are no recovery codes.");
    sendAsFile(ctx, "recovery-codes.txt", codes);
  });
}
