/**
 * Owns the demo's local Batch API server, and whether a kept project uses it or the live provider. Batches belong to
 * the address that took them, so the server of a kept project always listens on the same port.
 */
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { exists, hasCode } from "../../model/file-errors.js";
import { startGateway, type Gateway } from "../../gateway/gateway.js";
import { RowmillError } from "../../model/errors.js";
import { ADAPTERS } from "../../providers/adapters.js";

const PORT_MAX = 65_535;

const gatewayFolder = (folder: string): string => join(folder, ".rowmill", "gateway");
const portFile = (folder: string): string => join(folder, ".rowmill", "demo-port");

/** @throws RowmillError `refused` when the project's port is in use. */
export async function startDemoGateway(folder: string): Promise<Gateway> {
  const port = await recordedPort(folder);
  try {
    const gateway = await startGateway({ dataDir: gatewayFolder(folder), demoModel: true, port: port ?? 0 });
    if (port === null) await writeFile(portFile(folder), `${gateway.port}\n`);
    return gateway;
  } catch (error) {
    if (port === null || !hasCode(error, "EADDRINUSE")) throw error;
    throw new RowmillError("refused", `Port ${port} is in use, but the batches of ${folder} need it.`, {
      cause: error,
      hints: ["Stop the program that listens there, or remove the folder and start again."],
    });
  }
}

async function recordedPort(folder: string): Promise<number | null> {
  await mkdir(join(folder, ".rowmill"), { recursive: true, mode: 0o700 });
  if (!(await exists(portFile(folder)))) return null;
  const port = Number(await readFile(portFile(folder), "utf8"));
  return Number.isInteger(port) && port > 0 && port <= PORT_MAX ? port : null;
}

/** @throws RowmillError `refused` when the kept project in this folder uses the other provider. */
export async function requireSameProvider(folder: string, live: boolean): Promise<void> {
  if (!(await exists(join(folder, ".rowmill", "database")))) return;
  const wasLive = !(await exists(gatewayFolder(folder)));
  if (wasLive === live) return;
  throw new RowmillError(
    "refused",
    live
      ? `The project in ${folder} has answers of the demo model: rowmill demo --keep created it.`
      : `The project in ${folder} uses ${ADAPTERS[0].choice.dialect.title}: rowmill demo --live created it.`,
    {
      hints: [
        `To continue with it: rowmill demo ${live ? "--keep" : "--live"}`,
        "To start again: remove or rename that folder first.",
      ],
    },
  );
}
