/**
 * Renews the leases that this process holds, all in one statement. A lease that was not renewed in time is free, and
 * its holder's writes change nothing, because each of them checks the token.
 */
import type { Logger } from "pino";
import * as batches from "../store/batches/batches.js";
import type { Database } from "../postgres/database.js";
import type { RunStep } from "./step.js";

const RENEW_EVERY_MS = batches.LEASE_MS / 4;

export interface LeaseKeeper {
  hold(lease: batches.Lease): void;
  drop(lease: batches.Lease): void;
  /** Stops renewing; leases still held expire. */
  stop(): void;
}

export function keepLeases(database: Database, log: Logger, step: RunStep): LeaseKeeper {
  const tokens = new Set<string>();
  let renewing = false;
  const timer = setInterval(() => {
    if (renewing || tokens.size === 0) return;
    renewing = true;
    step("lease.renew", () => batches.renew(database, [...tokens]))
      .catch((error: unknown) => log.warn({ err: error }, "leases could not be renewed; trying again"))
      .finally(() => {
        renewing = false;
      });
  }, RENEW_EVERY_MS);
  timer.unref();
  return {
    hold: (lease) => tokens.add(lease.token),
    drop: (lease) => tokens.delete(lease.token),
    stop: () => clearInterval(timer),
  };
}
