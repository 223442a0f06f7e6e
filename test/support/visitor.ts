/** A browser without a screen: cookies, redirects, and forms posted as its pages would post them. */
export class Visitor {
  readonly #cookies = new Map<string, string>();
  /** Where it is now. */
  url = "";
  /** The page it sees. */
  html = "";
  status = 0;
  /** Where the answer wants it to go, when it does not go there by itself. */
  location: string | undefined;
  readonly #follows: boolean;

  /** @param options.follows whether it goes where redirects lead, as browsers do, but never off this machine. */
  constructor(options: { follows?: boolean } = {}) {
    this.#follows = options.follows ?? true;
  }

  async open(url: string): Promise<this> {
    return this.#go(url, { method: "GET" });
  }

  /** Sends a form to `action`, by default the address of the page itself. */
  async submit(
    fields: Record<string, string | string[]>,
    action = "",
    headers: Readonly<Record<string, string>> = {},
  ): Promise<this> {
    const body = new URLSearchParams();
    for (const [name, values] of Object.entries(fields))
      for (const value of [values].flat()) body.append(name, value);
    const target = new URL(action || this.url, this.url || undefined);
    return this.#go(target.href, {
      method: "POST",
      body,
      headers: { origin: target.origin, "sec-fetch-site": "same-origin", ...headers },
    });
  }

  /** Goes on where another is, with its cookies. */
  take(other: Visitor): void {
    this.url = other.url;
    for (const [key, value] of other.#cookies) this.#cookies.set(key, value);
  }

  /** The name of the page, as its body says it. */
  get page(): string | undefined {
    return /data-page="([^"]+)"/.exec(this.html)?.[1];
  }

  async #go(url: string, init: RequestInit): Promise<this> {
    const { host, pathname } = new URL(url);
    const cookies = [...this.#cookies]
      .filter(([key]) => {
        const [cookieHost, path = "/"] = key.split(" ");
        return cookieHost === host && pathname.startsWith(path);
      })
      .map(([key, value]) => `${key.split(" ")[2]}=${value}`);
    const response = await fetch(url, {
      ...init,
      redirect: "manual",
      headers: { accept: "text/html", cookie: cookies.join("; "), ...init.headers },
    });
    for (const line of response.headers.getSetCookie()) this.#keep(host, line);
    const location = response.headers.get("location");
    const next = location === null ? undefined : new URL(location, url);
    if (this.#follows && next?.hostname === "localhost") {
      await response.body?.cancel();
      return this.#go(next.href, { method: "GET" });
    }
    this.url = url;
    this.location = next?.href;
    this.html = await response.text();
    this.status = response.status;
    return this;
  }

  #keep(host: string, line: string): void {
    const [pair = "", ...attributes] = line.split(/;\s*/);
    const [name = "", value = ""] = pair.split(/=(.*)/s);
    const path = attributes.find((attribute) => /^path=/i.test(attribute))?.slice(5) ?? "/";
    const isGone =
      value === "" || attributes.some((a) => /^expires=Thu, 01 Jan 1970|^max-age=0/i.test(a));
    const key = `${host} ${path} ${name}`;
    if (isGone) this.#cookies.delete(key);
    else this.#cookies.set(key, value);
  }
}
