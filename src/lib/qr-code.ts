import { encode } from "uqr";

/** A QR code (ISO/IEC 18004) as one path of an SVG: `size` modules wide, the quiet zone included. */
export interface QrCode {
  readonly size: number;
  readonly path: string;
}

/** Modules of white around the code that readers need. */
const QUIET_ZONE = 4;

/** A text as a QR code. */
export function qrCode(text: string): QrCode {
  const { size, data } = encode(text, { ecc: "M", border: QUIET_ZONE });
  const path = data
    .flatMap((row, y) => row.map((isDark, x) => (isDark ? `M${x} ${y}h1v1h-1z` : "")))
    .join("");
  return { size, path };
}
