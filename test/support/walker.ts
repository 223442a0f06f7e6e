import { WebBrowser, type Answer, type Fields } from "./rp.ts";
import type { TestServer } from "./server.ts";

/** A browser that goes where redirects lead, as far as the issuer. */
export class Walker {
  readonly browser: WebBrowser;
  readonly #issuer: string;

  constructor(
    server: Pick<TestServer, "issuer"> & { readonly port: number },
    browser?: WebBrowser,
  ) {
    this.browser = browser ?? new WebBrowser(server);
    this.#issuer = server.issuer;
  }

  async open(path: string): Promise<Answer> {
    return this.#follow(await this.browser.open(path));
  }

  /** Posts a form of ours to where `to` was shown, or to a path. */
  async submit(to: Answer | string, fields: Fields): Promise<Answer> {
    const path = typeof to === "string" ? to : to.url.href;
    return this.#follow(await this.browser.submit(path, fields));
  }

  async #follow(first: Answer): Promise<Answer> {
    let answer = first;
    while (answer.location?.startsWith(this.#issuer) === true)
      answer = await this.browser.open(answer.location);
    return answer;
  }
}

/** The address of a link or a form on a page, by the id of the element. */
export function addressOf(answer: Answer, id: string): string {
  const element = new RegExp(`<[a-z]+[^>]*\\bid="${id}"[^>]*>`).exec(answer.text)?.[0] ?? "";
  const address = /\b(?:href|action)="([^"]*)"/.exec(element)?.[1];
  if (address === undefined) throw new Error(`there is no ${id} on ${answer.page}`);
  return address.replaceAll("&amp;", "&");
}
