import { readFileSync } from "node:fs";
import { Reader, type CityResponse } from "mmdb-lib";

/** Where a network is, as far as the database knows. */
export interface Place {
  /** ISO 3166-1 alpha-2. */
  readonly country: string | undefined;
  /** Whole degrees; only databases of cities have them. */
  readonly point: Point | undefined;
}

/** `x` is the longitude and `y` the latitude, in degrees. */
export interface Point {
  readonly x: number;
  readonly y: number;
}

/** Where a network is (`192.0.2.0/24`), if that is known. */
export type FindPlace = (ipPrefix: string | undefined) => Place;

const NOWHERE: Place = { country: undefined, point: undefined };

/**
 * Reads a database of networks and countries or cities in MaxMind's format (MaxMind DB 2.0) from a file. Without a
 * file everything is nowhere, and no server is ever asked.
 *
 * @throws Error naming the setting when the file cannot be read or is no such database.
 */
export function openPlaces(file: string | undefined): FindPlace {
  if (file === undefined) return () => NOWHERE;
  const reader = openDatabase(file);
  return (ipPrefix) => {
    const address = ipPrefix?.split("/")[0];
    if (address === undefined) return NOWHERE;
    const found = reader.get(address);
    const { latitude: y, longitude: x } = found?.location ?? {};
    return {
      country: (found?.country ?? found?.registered_country)?.iso_code,
      point:
        x === undefined || y === undefined ? undefined : { x: Math.round(x), y: Math.round(y) },
    };
  };
}

function openDatabase(file: string): Reader<CityResponse> {
  try {
    return new Reader(readFileSync(file));
  } catch (cause) {
    throw new Error(`GEOIP_FILE cannot be read: ${(cause as Error).message}`, { cause });
  }
}
