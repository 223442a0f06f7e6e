import type { RequestListener } from "node:http";
import Koa, { type Context } from "koa";
import mount from "koa-mount";
import type { Provider } from "oidc-provider";
import { approveRoutes } from "./account/approve.ts";
import { accountGuard } from "./account/guard.ts";
import { notMeRoutes } from "./account/not-me.ts";
import { accountRoutes } from "./account/routes.ts";
import { wellKnownRoutes } from "./account/well-known.ts";
import type { Deps } from "./deps.ts";
import { openPlaces } from "./devices/places.ts";
import { homeRoutes } from "./home/routes.ts";
import { termsPageRoutes } from "./home/terms.ts";
import { Assets } from "./http/assets.ts";
import { browserBinding } from "./http/browser.ts";
import { clientIp } from "./http/client-ip.ts";
import { cookieSignatures } from "./http/cookie-signatures.ts";
import { Documents } from "./http/documents.ts";
import { errorResponses } from "./http/errors.ts";
import { securityHeaders } from "./http/headers.ts";
import { health } from "./http/health.ts";
import { atIssuer, issuerFor } from "./http/host.ts";
import { localeOf } from "./http/locale.ts";
import { isMachineEndpoint } from "./http/machines.ts";
import { createPage } from "./http/page.ts";
import { postedRequests } from "./http/posted-requests.ts";
import { requestLimits } from "./http/request-limits.ts";
import { requestLog } from "./http/request-log.ts";
import { routersAsOne } from "./http/routers.ts";
import { sameOrigin } from "./http/same-origin.ts";
import { Templates } from "./http/templates.ts";
import { Catalogues } from "./i18n/catalogue.ts";
import { logoRoutes } from "./interaction/logo.ts";
import { passwordAdviceRoutes } from "./interaction/password-advice.ts";
import { signedInBeside } from "./interaction/parked-sessions.ts";
import { interactionRoutes } from "./interaction/routes.ts";
import type { Issuer } from "./issuers.ts";
import { schedule } from "./jobs/schedule.ts";
import { createTasks } from "./jobs/tasks.ts";
import { recordKeyChanges } from "./keys/record-changes.ts";
import { keepKeysFresh } from "./keys/rotation.ts";
import { linkRoutes } from "./links/routes.ts";
import { parseSender } from "./mail/compose.ts";
import { createMailer } from "./mail/mailer.ts";
import { createMailRenderer } from "./mail/render.ts";
import { createMailTransport } from "./mail/transport.ts";
import { Metrics } from "./metrics/metrics.ts";
import { deliverLogoutNotice } from "./oidc/backchannel-logout.ts";
import { checkSessionRoutes } from "./oidc/check-session.ts";
import { CibaRequests, deliverPing } from "./oidc/ciba-requests.ts";
import { ClientCache } from "./oidc/client-cache.ts";
import { ClientDocuments } from "./oidc/client-documents.ts";
import { ConnectionCache } from "./federation/cache.ts";
import { Connectors } from "./federation/connectors.ts";
import { refreshDueMetadata } from "./federation/saml/refresh.ts";
import { federationRoutes, type FederationNeeds } from "./federation/routes.ts";
import { signOutElsewhere } from "./federation/sign-out.ts";
import { Engine } from "./oidc/engine.ts";
import { createObserver } from "./oidc/events.ts";
import { enginePages } from "./oidc/pages.ts";
import { cookieKey, createProvider } from "./oidc/provider.ts";
import { OwnSignIns } from "./oidc/own-sign-ins.ts";
import { RefreshTokenFormat } from "./oidc/refresh-token-format.ts";
import { ResourceCache } from "./resources/cache.ts";
import { writeLetter } from "./recovery/write-letter.ts";
import { setupRoutes } from "./setup/routes.ts";
import { TermsCache } from "./terms/cache.ts";
import { WorkloadKeys } from "./workloads/assertion.ts";

export interface App {
  /** Answers every request. */
  handler: RequestListener;
  metrics: Metrics;
  /** Stops what runs beside requests. */
  close(): Promise<void>;
}

/**
 * The server on one page: what a request passes, in order, and what runs beside requests.
 *
 * @param options.runsJobs whether this process does jobs, which some process has to.
 */
export async function createApp(deps: Deps, { runsJobs }: { runsJobs: boolean }): Promise<App> {
  const { config, log, knex, seal, passwords } = deps;
  const metrics = new Metrics(deps);
  const assets = new Assets();
  const catalogues = new Catalogues();
  const templates = new Templates();
  const page = createPage({ config, templates, catalogues, assets });
  const findPlace = openPlaces(config.geoipFile);
  const mailer = createMailer({ seal, locales: config.locales });

  const clientCache = new ClientCache(knex, seal);
  const resources = new ResourceCache(knex);
  const terms = new TermsCache(knex);
  const connections = new ConnectionCache(knex);
  await terms.current();
  await connections.connections("");
  const workloadKeys = new WorkloadKeys(deps.fetch);
  const refreshTokenFormat = new RefreshTokenFormat(seal.derive("refresh-token"));
  const beside = signedInBeside(knex);
  const pages = enginePages({ knex, seal, page, mode: config.mode, beside });
  const observer = createObserver({ knex, log, mailer });
  const { fetch } = deps;
  const documents = new Documents(metrics.prepared);
  const engines = new Map<Issuer, Engine>();
  const federations = new Map<Issuer, Omit<FederationNeeds, "ownSignIns">>();
  for (const issuer of config.issuers) {
    const connectors = new Connectors({ knex, seal, fetch, log }, issuer.url);
    const federation = { knex, seal, page, log, issuer, connections, connectors };
    federations.set(issuer, federation);
    const clientDocuments =
      issuer.documentHosts.length > 0
        ? new ClientDocuments({ knex, seal, fetch, issuer, log })
        : undefined;
    const storage = { knex, seal, clientCache, clientDocuments, refreshTokenFormat, issuer };
    const engine = await Engine.open({
      knex,
      seal,
      algorithms: issuer.preset.algorithms,
      onChange: () => documents.clear(),
      build: (jwks, types) =>
        createProvider(
          {
            ...storage,
            resources,
            workloadKeys,
            config,
            mailer,
            fetch,
            pages,
            beside,
            observer,
            connectors,
            signOutElsewhere: (ctx, ended) => signOutElsewhere(federation, ctx, ended),
          },
          jwks,
          types,
        ),
    });
    engines.set(issuer, engine);
  }
  const providerOf = (name: string): Provider | undefined =>
    [...engines].find(([issuer]) => issuer.name === name)?.[1].provider;
  const engineFor = (ctx: Context): Engine | undefined => {
    const issuer = issuerFor(ctx);
    return issuer && engines.get(issuer);
  };
  const refreshEngines = (): void => engines.forEach((engine) => engine.refreshSoon(log));
  deps.onChange("lintel_clients", () => clientCache.clear());
  deps.onChange("lintel_resources", () => resources.clear());
  deps.onChange("lintel_connections", () => connections.clear());
  deps.onChange("lintel_terms", () => terms.clear());
  deps.onChange("lintel_keys", refreshEngines);
  deps.onChange("lintel_authorization_types", refreshEngines);

  const app = new Koa({ proxy: true });
  app.keys = cookieSignatures(cookieKey(seal));
  app.silent = true;
  app.use(documents.middleware);
  app.use(metrics.requests);
  app.use(requestLog(log));
  app.use(securityHeaders(config.issuers));
  app.use(errorResponses({ page, log }));
  app.use(health({ knex, engines: [...engines.values()] }));
  app.use(atIssuer(config.issuers));
  app.use(requestLimits());
  app.use(clientIp(config.trustedProxies));
  // No page is where programs post: the engine is asked before all others, and what is for browsers stays behind.
  app.use((ctx, next) => {
    const engine = isMachineEndpoint(ctx.path) ? engineFor(ctx) : undefined;
    return engine === undefined ? next() : engine.middleware(ctx, next);
  });
  app.use(postedRequests());
  app.use(sameOrigin());
  app.use(browserBinding());
  app.use(assets.middleware);

  const mail = {
    seal,
    renderMail: createMailRenderer({ config, templates, catalogues }),
    from: parseSender(config.mailFrom),
  };
  for (const [issuer, engine] of engines) {
    const federation = federations.get(issuer);
    if (federation === undefined) continue;
    const { productName } = config;
    const ownSignIns = new OwnSignIns({ knex, engine, issuer, productName });
    const requests = new CibaRequests({ knex, seal, levels: issuer.levels });
    const guard = accountGuard({ knex, engine, issuer, ownSignIns });
    const routers = [
      interactionRoutes({
        config,
        passwords,
        mailer,
        engine,
        resources,
        terms,
        ...federation,
        ownSignIns,
        findPlace,
      }),
      federationRoutes({ ...federation, ownSignIns }),
      linkRoutes({ config, knex, seal, passwords, mailer, page, ownSignIns }),
      accountRoutes({
        ...federation,
        config,
        passwords,
        mailer,
        guard,
        productName,
      }),
      notMeRoutes({ knex, seal, page }),
      wellKnownRoutes({ issuer, issuers: config.issuers }),
      approveRoutes({ knex, page, engine, issuer, ownSignIns, guard, requests }),
      logoRoutes({ knex, fetch, issuer }),
      passwordAdviceRoutes({
        config,
        say: (ctx, { message, values }) =>
          catalogues.translator(localeOf(ctx, config.locales))(message, values),
      }),
      homeRoutes({ knex, page, engine, issuer }),
      termsPageRoutes({ config, page, terms }),
    ];
    if (issuer.preset.sessionManagement) routers.push(checkSessionRoutes({ issuer, assets }));
    if (issuer === config.issuers[0]) {
      routers.push(setupRoutes({ config, knex, passwords, mailer, page }));
      if (config.mode === "development") {
        const { galleryRoutes } = await import("./demo/gallery.ts");
        const { mailboxRoutes } = await import("./demo/mailbox.ts");
        const { renderMail } = mail;
        routers.push(mailboxRoutes({ knex, mail, page }));
        routers.push(galleryRoutes({ config, templates, catalogues, assets, renderMail }));
      }
    }
    if (config.conformanceSuiteUrl !== undefined) {
      const { conformanceRoutes } = await import("./conformance/routes.ts");
      routers.push(conformanceRoutes({ knex, seal, engine, requests }));
    }
    const part = new Koa();
    part.use(routersAsOne(routers)).use(engine.middleware);
    const answer = mount(part);
    app.use((ctx, next) => (issuerFor(ctx) === issuer ? answer(ctx, next) : next()));
  }

  const transport = createMailTransport(config);
  const jobs = runsJobs ? await import("./jobs/worker.ts") : undefined;
  const worker = await jobs?.startWorker({
    url: deps.directUrl,
    pooled: config.databaseUrl !== undefined && config.databaseDirectUrl === undefined,
    tasks: createTasks({
      knex,
      mail: { ...mail, transport, log },
      deliverLogout: (notice) => deliverLogoutNotice({ knex, providerOf, log }, notice),
      writeLetter: (id) => writeLetter({ knex, seal, mailer }, id),
      deliverPing: (ping) => deliverPing({ knex, seal, providerOf, log }, ping),
      rotateKeys: (now) =>
        knex.transaction(async (trx) => recordKeyChanges(trx, await keepKeysFresh(trx, seal, now))),
      refreshMetadata: (now) => refreshDueMetadata({ knex, fetch, log }, now),
      onPurged: (table, rows) => metrics.purged(table, rows),
      log,
    }),
    schedule: schedule(),
    log,
  });
  const keysTimer = setInterval(refreshEngines, 60_000);

  return {
    handler: documents.before(app.callback()),
    metrics,
    async close() {
      clearInterval(keysTimer);
      await worker?.stop();
      transport.close();
    },
  };
}
