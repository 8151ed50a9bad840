/** Values of options, read as commander wants it: each throws `InvalidArgumentError` with what was expected. */
import { InvalidArgumentError } from "commander";
import { parseDuration } from "../model/duration.js";
import { ADDRESS_EXPECTED, parseAddress, type HttpAddress } from "../model/http-address.js";

const PORT_MAX = 65_535;
const REQUESTS_SHOWN_MAX = 20;

/** `--since`: a duration such as `7d`, or a day such as `2026-11-20` (UTC). Milliseconds back from now. */
export function parseSince(text: string): number {
  const ms = parseDuration(text);
  if (ms !== null && ms > 0) return ms;
  const isDay = /^\d{4}-\d{2}-\d{2}$/.test(text);
  const agoMs = isDay ? Date.now() - Date.parse(`${text}T00:00:00Z`) : NaN;
  if (agoMs > 0) return agoMs;
  throw new InvalidArgumentError("Write a duration, such as 12h or 7d, or a past day, such as 2026-11-20.");
}

const LIMIT_MAX = 10_000;

export function parseLimit(text: string): number {
  const limit = Number(text);
  if (/^[1-9]\d*$/.test(text) && limit <= LIMIT_MAX) return limit;
  throw new InvalidArgumentError(`Write a whole number from 1 to ${LIMIT_MAX.toLocaleString("en-US")}.`);
}

export function parseHttp(text: string): HttpAddress {
  const address = parseAddress(text);
  if (address === null) throw new InvalidArgumentError(`Expected ${ADDRESS_EXPECTED}.`);
  return address;
}

export function parseRequests(text: string): number {
  const requests = Number(text);
  if (/^\d+$/.test(text) && requests <= REQUESTS_SHOWN_MAX) return requests;
  throw new InvalidArgumentError(`The number is a whole number from 0 to ${REQUESTS_SHOWN_MAX}.`);
}

export function parseNumber(text: string): number {
  const number = Number(text);
  if (/^\d{1,9}$/.test(text) && number > 0) return number;
  throw new InvalidArgumentError("Expected a whole number from 1 on.");
}

const COST_GROUPS = ["pipeline", "version", "model", "day", "batch"];

/** Several may stand in one option, separated by commas. */
export function groupOf(text: string): readonly string[] {
  const groups = text.split(",").map((each) => each.trim());
  const unknown = groups.find((group) => !COST_GROUPS.includes(group));
  if (unknown === undefined) return groups;
  throw new InvalidArgumentError(`Allowed choices are ${COST_GROUPS.join(", ")}.`);
}

export function parsePort(text: string): number {
  const port = Number(text);
  if (/^\d+$/.test(text) && port <= PORT_MAX) return port;
  throw new InvalidArgumentError(`A port is a whole number from 0 to ${PORT_MAX}.`);
}
