import { globSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import ejs from "ejs";
import type { Translate } from "../i18n/catalogue.ts";

const VIEWS = fileURLToPath(new URL("../../views/", import.meta.url));

/** What a template sees: what it shows, and how to say things. */
export interface TemplateInput {
  readonly view: unknown;
  readonly t: Translate;
}

/**
 * Every template, compiled when the server starts: a broken one is noticed then and not by a visitor. Templates see
 * `view` and `t` and nothing else, and what they print is escaped.
 */
export class Templates {
  readonly #compiled = new Map<string, ejs.TemplateFunction>();

  constructor(directory: string = VIEWS) {
    for (const file of globSync("**/*.ejs", { cwd: directory })) {
      const filename = `${directory}/${file}`;
      this.#compiled.set(
        file.replace(/\.ejs$/, ""),
        ejs.compile(readFileSync(filename, "utf8"), {
          filename,
          root: directory,
          // Of the parts that it includes; they would be read and compiled for each page.
          cache: true,
          strict: true,
          _with: false,
          localsName: "locals",
          destructuredLocals: ["view", "t"],
        }),
      );
    }
  }

  /** Fills in a template; `name` is its path below `views/`, without the extension. */
  fill(name: string, input: TemplateInput): string {
    const template = this.#compiled.get(name);
    if (template === undefined) throw new Error(`there is no template ${name}`);
    return template(input);
  }
}
