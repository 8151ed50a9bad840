/**
 * The one place where times of different clocks meet: an age by the database's clock, the provider's present by the Date header of its
 * last reply, the `created_at` that its list shows, and this machine's clock where no reply had a date. They need not agree: the list is
 * read back further by what they may be apart. Too early a start costs pages; too late a one could overlook a batch that is paid for.
 */
import type { Provider } from "../../model/provider/provider.js";

/** Any two of the clocks: a machine without a time server, or one that is set to another zone's hour. */
export const CLOCKS_APART_SECONDS = 3_600;

/** From when on the list has to be read for all that was created so many seconds ago: seconds since the epoch, as in `created_at`. */
export function listSince(provider: Pick<Provider, "clockSeconds">, agoSeconds: number): number {
  const now = provider.clockSeconds() ?? Date.now() / 1_000;
  return now - agoSeconds - CLOCKS_APART_SECONDS;
}

/** Until when what was intended so many seconds ago, and may be on its way for `createMs`, shows as created. */
export function listUntil(provider: Pick<Provider, "clockSeconds" | "createMs">, agoSeconds: number): number {
  return listSince(provider, agoSeconds) + 2 * CLOCKS_APART_SECONDS + provider.createMs / 1_000;
}
