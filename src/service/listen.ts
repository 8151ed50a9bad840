/** Puts the service behind a socket. */
import type { Logger } from "pino";
import { serve } from "../http/serve.js";
import { RowmillError } from "../model/errors.js";
import type { HttpAddress } from "../model/http-address.js";
import type { Database } from "../postgres/database.js";
import { createService } from "./service.js";

export interface ListeningService {
  /** `http://127.0.0.1:8788` */
  readonly url: string;
  /** Ends within its grace, whatever callers do. Repeatable. */
  close(): Promise<void>;
}

/** For calls under way when the service stops. */
const CLOSE_MS_MAX = 5_000;

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
    close: () => {
      service.endWaits();
      return (closing ??= listener.close(CLOSE_MS_MAX).then(() => service.close()));
    },
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
