import { readFile } from "node:fs/promises";
import { z } from "zod";
import { createHashQueue } from "../authn/hash-queue.ts";
import { createPasswords } from "../authn/password.ts";
import { PLANS } from "../conformance/plans.ts";
import { approvalToken, hookToken } from "../conformance/routes.ts";
import { runPlan } from "../conformance/run.ts";
import { seedPlan, type ClientCertificate, type Seeded } from "../conformance/seed.ts";
import { errors } from "../errors.ts";
import { createSafeFetch } from "../lib/fetch.ts";
import { newSecret } from "../lib/secret.ts";
import { printJson, printTable } from "./io.ts";
import { UsageError, verb, type Call, type Verb } from "./verb.ts";
import { cliLog, withOperator } from "./with-operator.ts";

const PLAN_OPTIONS = {
  plan: { type: "string", required: true, value: "NAME", help: "the suite's name for the plan" },
  "suite-url": {
    type: "string",
    value: "URL",
    help: "where the suite runs; CONFORMANCE_SUITE_URL unless said",
  },
  variant: {
    type: "string",
    multiple: true,
    value: "KEY=VALUE",
    help: "what to choose where the plan leaves a choice",
  },
  certificate: {
    type: "string",
    multiple: true,
    value: "FILE",
    help: "what a client shows in variants with mutual TLS, as PEM; twice, with --key",
  },
  key: {
    type: "string",
    multiple: true,
    value: "FILE",
    help: "its RSA or P-256 key, as PEM; twice",
  },
  alias: {
    type: "string",
    value: "NAME",
    help: "the suite's name for this configuration; lintel unless said",
  },
} as const;

/** A module that ended so keeps a server from being certified. */
const BAD = new Set(["FAILED", "INTERRUPTED", "TIMEOUT", "UNKNOWN"]);

/** `lintel conformance …`: the OpenID Foundation's suite against this server. */
export const CONFORMANCE_VERBS: readonly Verb[] = [
  verb({
    name: "conformance plans",
    summary: "list the plans of the OpenID Foundation's suite that can be prepared",
    async run({ io, json }) {
      const plans = Object.entries(PLANS).map(([plan, { preset, variant }]) => ({
        plan,
        preset,
        variant,
      }));
      if (json) return printJson(io, plans);
      return printTable(
        io,
        ["plan", "preset", "variant"],
        plans.map(({ plan, preset, variant }) => [plan, preset, inWords(variant)]),
      );
    },
  }),

  verb({
    name: "conformance seed",
    summary: "prepare the person and clients of a plan, and print its configuration",
    options: PLAN_OPTIONS,
    details:
      "The output is the plan's configuration in the suite's JSON, with how its browser goes through our pages.\n" +
      "Each time the person gets another password, and the clients are new.",
    async run(call) {
      const { seeded, token } = await seed(call);
      printJson(call.io, seeded.config);
      call.io.err(
        `Start ${seeded.plan} with the variant ${inWords(seeded.variant) || "as it is"}.\n` +
          `Keys rotate with: curl -X POST -H "authorization: Bearer ${token}" ${call.config().issuer}/conformance/rotate-keys\n`,
      );
    },
  }),

  verb({
    name: "conformance run",
    summary: "run a plan in a suite and print one line a module",
    options: {
      ...PLAN_OPTIONS,
      config: {
        type: "string",
        value: "FILE",
        help: "a configuration that was printed before, instead of a new one",
      },
      only: { type: "string", value: "TEXT", help: "only modules whose name has this in it" },
      token: { type: "string", value: "TOKEN", help: "for suites that ask who is calling" },
    },
    details: "The exit code is 1 when a module failed, was interrupted or did not end.",
    async run(call) {
      const { io, values, json, config } = call;
      const made = values.config === undefined ? await seed(call) : undefined;
      const seeded = made?.seeded ?? (await readConfig(values, values.config ?? ""));
      const suiteUrl = suiteOf(call);
      const fetch = createSafeFetch({
        trustedOrigins: [
          new URL(suiteUrl).origin,
          ...config().issuers.map(({ url }) => new URL(url).origin),
        ],
        allowHttp: true,
        totalMs: 30_000,
        log: cliLog(io),
      });
      const token = made?.token ?? (await operatorToken(call));
      const results = [];
      for await (const result of runPlan({
        suiteUrl,
        token: values.token,
        seeded,
        only: values.only,
        fetch,
        prepare: async () => {
          const url = `${config().issuer}/conformance/rotate-keys`;
          const headers = { authorization: `Bearer ${token}` };
          const { status } = await fetch(url, { method: "POST", headers });
          if (status !== 200)
            throw errors.conformance(
              `${url} answers ${status}. Start the server with CONFORMANCE_SUITE_URL=${suiteUrl}.`,
            );
        },
      })) {
        results.push(result);
        if (!json)
          io.out(`${result.result.padEnd(11)}  ${result.module}  ${inWords(result.variant)}\n`);
        if (!json && BAD.has(result.result)) io.out(`             ${result.log}\n`);
      }
      if (json) printJson(io, results);
      return results.some(({ result }) => BAD.has(result)) ? 1 : 0;
    },
  }),
];

type PlanCall = Pick<Call<typeof PLAN_OPTIONS>, "io" | "values" | "config">;

async function seed(call: PlanCall): Promise<{ seeded: Seeded; token: string }> {
  const { io, values, config } = call;
  const suiteUrl = suiteOf(call);
  const variant = readVariant(values.variant ?? []);
  const [first, second] = await readCertificates(values);
  const password = newSecret("pw");
  const passwordHash = await createPasswords(createHashQueue()).hash(password);
  return withOperator({ io, config }, async ({ knex, seal }) => {
    const [token, approval] = [hookToken(await seal()), approvalToken(await seal())];
    const { issuers } = config();
    const { plan, alias = "lintel" } = values;
    const certificates = {
      ...(first === undefined ? {} : { first }),
      ...(second === undefined ? {} : { second }),
    };
    const wanted = {
      approvalToken: approval,
      plan,
      suiteUrl,
      variant,
      alias,
      issuers,
      password,
      passwordHash,
      certificates,
    };
    const seeded = await knex.transaction((trx) =>
      seedPlan(trx, wanted, new Date(), { issuers, seal }),
    );
    return { seeded, token };
  });
}

async function readCertificates(values: PlanCall["values"]): Promise<ClientCertificate[]> {
  const { certificate = [], key = [] } = values;
  if (certificate.length !== key.length)
    throw new UsageError("Give a --key with each --certificate.", "conformance");
  return Promise.all(
    certificate.map(async (file, index) => ({
      cert: await readFile(file, "utf8"),
      key: await readFile(key[index] ?? "", "utf8"),
    })),
  );
}

async function operatorToken({ io, config }: PlanCall): Promise<string> {
  return withOperator({ io, config }, async ({ seal }) => hookToken(await seal()));
}

function suiteOf({ values, config }: PlanCall): string {
  const given = values["suite-url"] ?? config().conformanceSuiteUrl;
  if (given === undefined)
    throw new UsageError("Give --suite-url, or set CONFORMANCE_SUITE_URL.", "conformance");
  if (URL.parse(given)?.protocol !== "https:")
    throw new UsageError("--suite-url must be an https address.", "conformance");
  return given.replace(/\/$/, "");
}

function readVariant(given: readonly string[]): Record<string, string> {
  return Object.fromEntries(
    given.map((text) => {
      const [, key, value] = /^([a-z0-9_]+)=(.+)$/.exec(text) ?? [];
      if (key === undefined || value === undefined)
        throw new UsageError(`--variant ${text} must be KEY=VALUE.`, "conformance");
      return [key, value];
    }),
  );
}

async function readConfig(values: PlanCall["values"], path: string): Promise<Seeded> {
  const text = await readFile(path, "utf8");
  const parsed = z.record(z.string(), z.unknown()).safeParse(JSON.parse(text));
  if (!parsed.success) throw errors.conformance(`${path} is not a configuration of the suite.`);
  const variant = { ...PLANS[values.plan]?.variant, ...readVariant(values.variant ?? []) };
  return { plan: values.plan, variant, config: parsed.data };
}

function inWords(variant: Readonly<Record<string, string>>): string {
  return Object.entries(variant)
    .map(([key, value]) => `${key}=${value}`)
    .join(" ");
}
