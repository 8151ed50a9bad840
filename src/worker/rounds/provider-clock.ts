/**
 * Combines times of different clocks: ages by the database, the provider's present by the Date header of its last
 * reply, the `created_at` of its list, and this machine's clock where no reply had a date. They may disagree, so the
 * list is read back further: too early a start costs pages, too late a one could miss a paid batch.
 */
import type { Provider } from "../../model/provider/provider.js";

/** For any two clocks: a machine may have no time server, or be set to another zone's hour. */
export const CLOCKS_APART_SECONDS = 3_600;

/** The start of a list with all that was created within these seconds: seconds since the epoch, as in `created_at`. */
export function listSince(provider: Pick<Provider, "clockSeconds">, agoSeconds: number): number {
  const now = provider.clockSeconds() ?? Date.now() / 1_000;
  return now - agoSeconds - CLOCKS_APART_SECONDS;
}

/** The latest `created_at` of a create that was intended this many seconds ago and may take `createMs`. */
export function listUntil(provider: Pick<Provider, "clockSeconds" | "createMs">, agoSeconds: number): number {
  return listSince(provider, agoSeconds) + 2 * CLOCKS_APART_SECONDS + provider.createMs / 1_000;
}
