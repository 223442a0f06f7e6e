/** What a browser says it is, without versions; `undefined` where it does not say, or we do not know the name. */
export interface Agent {
  readonly browser: string | undefined;
  readonly os: string | undefined;
}

type Names = readonly (readonly [RegExp, string])[];

/** The first that matches: most browsers claim to be several others too. */
const BROWSERS: Names = [
  [/\bEdg(?:e|A|iOS)?\//, "Edge"],
  [/\b(?:OPR|OPT|Opera)\//, "Opera"],
  [/\bSamsungBrowser\//, "Samsung Internet"],
  [/\bVivaldi\//, "Vivaldi"],
  [/\bYaBrowser\//, "Yandex Browser"],
  [/\bDuckDuckGo\//, "DuckDuckGo"],
  [/\b(?:Firefox|FxiOS)\//, "Firefox"],
  [/\b(?:Chrome|CriOS|Chromium)\//, "Chrome"],
  [/\bSafari\//, "Safari"],
];

const SYSTEMS: Names = [
  [/\biPad\b/, "iPadOS"],
  [/\b(?:iPhone|iPod)\b/, "iOS"],
  [/\bAndroid\b/, "Android"],
  [/\bWindows\b/, "Windows"],
  [/\bCrOS\b/, "ChromeOS"],
  [/\bMac OS X\b/, "macOS"],
  [/\bLinux\b/, "Linux"],
];

/** Reads a `User-Agent` (RFC 9110 §10.1.5): enough for a person to recognize a browser of theirs. */
export function readAgent(userAgent: string): Agent {
  return { browser: nameIn(BROWSERS, userAgent), os: nameIn(SYSTEMS, userAgent) };
}

function nameIn(names: Names, text: string): string | undefined {
  return names.find(([pattern]) => pattern.test(text))?.[1];
}

/** A browser as pages and mails name it: which of its names are known, and both. */
export interface ShownAgent {
  readonly known: "both" | "browser" | "os" | "none";
  readonly browser: string;
  readonly os: string;
}

/** What the message `browser.name` says a browser by. */
export function shownAgent({ browser = "", os = "" }: Agent): ShownAgent {
  const known = browser !== "" ? (os !== "" ? "both" : "browser") : os !== "" ? "os" : "none";
  return { known, browser, os };
}
