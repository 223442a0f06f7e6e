import { execFileSync } from "node:child_process";
import { mkdtempSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { globSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const ROOT = fileURLToPath(new URL("../../", import.meta.url));

/** Every template below `views/`: its name, as `TemplateViews` has it, and its text. */
export function readTemplates(): Map<string, string> {
  const directory = join(ROOT, "views");
  return new Map(
    globSync("**/*.ejs", { cwd: directory })
      .sort()
      .map((file) => [file.replace(/\.ejs$/, ""), readFileSync(join(directory, file), "utf8")]),
  );
}

const TAG = /<%([=#-]?)([\s\S]*?)-?%>/g;

/**
 * Rewrites a template as a TypeScript function of its view: what is printed becomes an argument of `escape`, code
 * stays, and text goes, all on the lines they had.
 */
function toTypeScript(name: string, template: string): string {
  const blank = (text: string) => text.replaceAll(/[^\n]/g, "");
  let code = "";
  let end = 0;
  for (const match of template.matchAll(TAG)) {
    const [tag, kind, inside = ""] = match;
    code += blank(template.slice(end, match.index));
    if (kind === "=") code += `escape(${inside.trim()});`;
    else if (kind === "-") code += `raw(${inside.trim()});`;
    else if (kind === "#") code += blank(inside);
    else code += `${inside} `;
    end = match.index + tag.length;
  }
  const head = [
    `import type { TemplateViews } from ${JSON.stringify(join(ROOT, "src/views.ts"))};`,
    `import type { Translate } from ${JSON.stringify(join(ROOT, "src/i18n/catalogue.ts"))};`,
    "declare function escape(value: string | number): void;",
    "declare function raw(value: string): void;",
    "declare function include<Name extends keyof TemplateViews>(name: `/${Name}`, input: { view: TemplateViews[Name]; t: Translate }): string;",
    `export function template(view: TemplateViews[${JSON.stringify(name)}], t: Translate): void { void view; void t; void escape; void raw; void include; `,
  ];
  return `${head.join(" ")}${code}${blank(template.slice(end))}\n}\n`;
}

/** What `tsc` has to say about these templates, one `name(line,column): error …` each; nothing when all is well. */
export function typeErrors(templates: ReadonlyMap<string, string>): string[] {
  const directory = mkdtempSync(join(tmpdir(), "lintel-templates-"));
  try {
    for (const [name, template] of templates) {
      const file = join(directory, `${name}.ts`);
      mkdirSync(dirname(file), { recursive: true });
      writeFileSync(file, toTypeScript(name, template));
    }
    const configuration = {
      extends: join(ROOT, "tsconfig.json"),
      compilerOptions: { typeRoots: [join(ROOT, "node_modules/@types")], types: ["node"] },
      include: [join(directory, "**/*.ts")],
    };
    writeFileSync(join(directory, "package.json"), '{"type":"module"}');
    writeFileSync(join(directory, "tsconfig.json"), JSON.stringify(configuration));
    execFileSync(join(ROOT, "node_modules/.bin/tsc"), ["--pretty", "false", "-p", directory], {
      cwd: directory,
      encoding: "utf8",
    });
    return [];
  } catch (error) {
    const output = error instanceof Error && "stdout" in error ? String(error.stdout) : "";
    if (output === "") throw error;
    return output.split("\n").filter((line) => /error TS/.test(line));
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

/** Rules that no type expresses (convention C31). One line for each place that breaks one. */
export function lint(name: string, template: string): string[] {
  const problems: string[] = [];
  const isMail = name.startsWith("mail/");
  for (const [, kind, inside = ""] of template.matchAll(TAG)) {
    const mayBeRaw =
      /^\s*include\(/.test(inside) ||
      (name === "layout" && inside.trim() === "view.content") ||
      name === "mail/text";
    if (kind === "-" && !mayBeRaw) problems.push(`prints unescaped: ${inside.trim()}`);
  }
  if (name === "mail/text") return problems;

  // What is left is HTML: `x` stands for a printed value, and code leaves nothing.
  const html = template.replaceAll(TAG, (_tag, kind: string) => (kind === "=" ? "x" : ""));
  for (const [tag, element = "", attributes = ""] of html.matchAll(
    /<([a-z][a-z0-9-]*)((?:"[^"]*"|[^">])*)>/gi,
  )) {
    const rest = attributes.replaceAll(/\s+[a-z][a-z0-9-]*="[^"]*"/gi, "");
    if (/[="']/.test(rest)) problems.push(`has an attribute without quotes: ${tag}`);
    if (/\son[a-z]+\s*=/i.test(attributes)) problems.push(`has an inline handler: ${tag}`);
    if (!isMail && /\sstyle\s*=/i.test(attributes)) problems.push(`has an inline style: ${tag}`);
    if (!isMail && element.toLowerCase() === "style") problems.push(`has an inline style: ${tag}`);
    if (element.toLowerCase() === "noscript")
      problems.push(`has a fallback that script engines skip: ${tag}`);
    if (/\s(?:href|src|action)="\s*(?:javascript|data|vbscript):/i.test(attributes))
      problems.push(`has an address that is code: ${tag}`);
    if (/\s(?:href|src|action)="(?:https?:)?\/\//i.test(attributes))
      problems.push(`names a foreign host: ${tag}`);
    if (element.toLowerCase() === "script") {
      if (name !== "layout" || !/\stype="module"/.test(attributes) || !/\ssrc="/.test(attributes))
        problems.push(`has a script that is not the module: ${tag}`);
    }
  }
  for (const [, script = ""] of html.matchAll(/<script\b[^>]*>([\s\S]*?)<\/script>/gi)) {
    if (script.trim() !== "") problems.push("has an inline script");
  }
  return problems;
}
