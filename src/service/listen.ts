/** Puts the service behind a socket. */
import type { Logger } from "pino";
import { serve } from "../http/serve.js";
import { RowmillError } from "../model/errors.js";
import type { Database } from "../postgres/database.js";
import { createService } from "./service.js";

export interface HttpAddress {
  readonly host: string;
  /** 0: a free one. */
  readonly port: number;
}

export interface ListeningService {
  /** `http://127.0.0.1:8788` */
  readonly url: string;
  /** Ends within its grace, whatever callers do. Repeatable. */
  close(): Promise<void>;
}

const HOST_DEFAULT = "127.0.0.1";
const LOOPBACK = /^(?:127\.\d+\.\d+\.\d+|::1|localhost)$/;
const PORT_MAX = 65_535;
/** For calls under way when the service stops. */
const CLOSE_MS_MAX = 5_000;

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

/** Listens when it resolves. @throws RowmillError `refused` if it cannot listen there */
export async function startService(
  database: Database,
  { address, log }: { readonly address: HttpAddress; readonly log: Logger },
): Promise<ListeningService> {
  const service = createService({ database, log });
  const { host, port } = address;
  const listener = await serve({ fetch: service.fetch, host, port, log: (text) => log.error(text) }).catch(
    async (error: unknown) => {
      await service.close();
      throw cannotListen(address, error);
    },
  );
  let closing: Promise<void> | null = null;
  return {
    url: `http://${host.includes(":") ? `[${host}]` : host}:${listener.port}`,
    close: () => (closing ??= listener.close(CLOSE_MS_MAX).then(() => service.close())),
  };
}

const WHY: Readonly<Record<string, string>> = {
  EADDRINUSE: "another program listens there",
  EACCES: "this user may not listen there",
  EADDRNOTAVAIL: "this machine has no such address",
  ENOTFOUND: "this machine has no such address",
};

function cannotListen({ host, port }: HttpAddress, error: unknown): unknown {
  const code = error instanceof Error && "code" in error ? String(error.code) : "";
  const why = WHY[code];
  if (why === undefined) return error;
  return new RowmillError("refused", `Rowmill cannot serve on ${host}:${port}: ${why}.`, {
    cause: error,
    hints: ["Choose another one: rowmill up --http 127.0.0.1:8789"],
  });
}
