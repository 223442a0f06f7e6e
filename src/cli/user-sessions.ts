import { listSessions } from "../devices/sessions.ts";
import { findUser } from "../users/users.ts";
import { printJson, printTable } from "./io.ts";
import { verb } from "./verb.ts";
import { withOperator } from "./with-operator.ts";

/** `lintel user sessions`: where a person is signed in, and what was unusual about it. */
export const USER_SESSIONS = verb({
  name: "user sessions",
  summary: "list where a user is signed in, and why a sign-in was unusual, the latest first",
  words: ["id, e-mail or username"],
  async run({ io, words: [who = ""], json, config }) {
    const live = await withOperator({ io, config }, async ({ knex }) => {
      const { id } = await findUser(knex, who);
      return listSessions(knex, id, new Date());
    });
    const shown = live.map(({ session, device, apps, connection }) => ({
      id: session.uid,
      signed_in_at: session.loggedInAt?.toISOString(),
      last_active_at: session.lastActiveAt.toISOString(),
      expires_at: session.expiresAt.toISOString(),
      method: session.loginMethod,
      acr: session.acr,
      connection: connection ?? null,
      upstream_acr: session.upstreamAcr,
      upstream_amr: session.upstreamAmr,
      browser: device?.browserFamily ?? null,
      os: device?.osFamily ?? null,
      network: session.ipPrefix,
      country: session.country,
      risk_score: session.riskScore,
      risk_reasons: session.riskReasons,
      apps,
    }));
    if (json) return printJson(io, shown);
    printTable(
      io,
      ["signed in", "last active", "by", "browser", "network", "country", "risk", "because of"],
      shown.map((row) => [
        row.signed_in_at ?? "",
        row.last_active_at,
        [row.method, row.connection].filter((name) => name !== null).join(" "),
        [row.browser, row.os].filter((name) => name !== null).join(", "),
        row.network ?? "",
        row.country ?? "",
        String(row.risk_score),
        row.risk_reasons.join(" "),
      ]),
    );
  },
});
