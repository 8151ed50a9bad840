/** Where an HTTP server listens, as you write it. Pure. */

export interface HttpAddress {
  readonly host: string;
  /** 0: a free one. */
  readonly port: number;
}

const HOST_DEFAULT = "127.0.0.1";
const LOOPBACK = /^(?:127\.\d+\.\d+\.\d+|::1|localhost)$/;
const PORT_MAX = 65_535;

export const ADDRESS_EXPECTED = 'an address such as "127.0.0.1:8788", "[::1]:8788" or "8788"';

/** Of `8788`, `:8788`, `127.0.0.1:8788`, `[::1]:8788`. Null: it is none. */
export function parseAddress(text: string): HttpAddress | null {
  const parts = /^(?:(?:(?<host>[^:[\]\s/]+)|\[(?<v6>[0-9a-f:.]+)\])?:)?(?<port>\d{1,5})$/i.exec(text)?.groups;
  const port = Number(parts?.["port"] ?? Number.NaN);
  if (!(port <= PORT_MAX)) return null;
  return { host: parts?.["host"] ?? parts?.["v6"] ?? HOST_DEFAULT, port };
}

/** Only programs of this machine reach it. */
export function isLoopback({ host }: HttpAddress): boolean {
  return LOOPBACK.test(host);
}
