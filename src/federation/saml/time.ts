const INSTANT = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?Z$/;
const DURATION =
  /^P(?:(\d+)Y)?(?:(\d+)M)?(?:(\d+)D)?(?:T(?:(\d+)H)?(?:(\d+)M)?(?:(\d+)(?:\.\d+)?S)?)?$/;

/** Seconds of a year, a month, a day, an hour, a minute and a second. */
const SECONDS = [31_536_000, 2_592_000, 86_400, 3_600, 60, 1];

/** Seconds since the epoch of an instant in UTC (SAML Core §1.3.3); `undefined` where it is none. */
export function instantOf(text: string | undefined): number | undefined {
  if (text === undefined || !INSTANT.test(text)) return undefined;
  const milliseconds = Date.parse(text);
  return Number.isNaN(milliseconds) ? undefined : milliseconds / 1000;
}

/** An instant as SAML writes it. */
export function writeInstant(date: Date): string {
  return `${date.toISOString().slice(0, 19)}Z`;
}

/** Seconds of an xs:duration; `undefined` where it is none. */
export function durationOf(text: string | undefined): number | undefined {
  const parts = DURATION.exec(text ?? "")?.slice(1);
  if (parts === undefined || parts.every((part) => part === undefined)) return undefined;
  return parts.reduce((sum, part, at) => sum + Number(part ?? 0) * (SECONDS[at] ?? 0), 0);
}
