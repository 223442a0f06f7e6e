import { NODATA, NOTFOUND, Resolver } from "node:dns/promises";
import { errors } from "../errors.ts";

/** Milliseconds for one attempt, of which there are two. */
const TIMEOUT = 3_000;

/** All TXT records of a name, each as one text; none where the name or the records do not exist. */
export type LookUpTxt = (name: string) => Promise<readonly string[]>;

/**
 * Asks DNS for TXT records (RFC 1035 §3.3.14).
 *
 * @param server the address of a name server, such as `192.0.2.53` or `127.0.0.1:5353`; the system's unless given.
 * @throws AppError `invalid_domain` where that is no address. Its function throws `domain_not_proven` where no name
 *   server answers.
 */
export function txtRecords(server?: string): LookUpTxt {
  const resolver = new Resolver({ timeout: TIMEOUT, tries: 2 });
  if (server !== undefined) setServer(resolver, server);
  return async (name) => {
    try {
      const records = await resolver.resolveTxt(name);
      return records.map((strings) => strings.join(""));
    } catch (error) {
      const { code, message } = error as NodeJS.ErrnoException;
      if (code === NODATA || code === NOTFOUND) return [];
      throw errors.domainNotProven(
        `No name server answered for ${name} (${code ?? message}). Try again, or name one with --dns-server.`,
        error,
      );
    }
  };
}

function setServer(resolver: Resolver, server: string): void {
  try {
    resolver.setServers([server]);
  } catch (error) {
    throw errors.invalidDomain(
      `--dns-server must be the address of a name server, such as 192.0.2.53, not ${server}`,
      error,
    );
  }
}
