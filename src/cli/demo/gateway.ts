/**
 * Owns the local Batch API server of the demo, and which of the demo's two providers a kept project has: the demo model or the live one. Batches
 * belong to the address that took them, so that a kept project's server listens on the same port at every call.
 */
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { exists, hasCode } from "../../embedded/file-errors.js";
import { startGateway, type Gateway } from "../../gateway/gateway.js";
import { RowmillError } from "../../model/errors.js";
import { ADAPTERS } from "../../providers/adapters.js";

const PORT_MAX = 65_535;

const gatewayFolder = (folder: string): string => join(folder, ".rowmill", "gateway");
const portFile = (folder: string): string => join(folder, ".rowmill", "demo-port");

/** @throws RowmillError `refused` when the port that the project's batches belong to is taken. */
export async function startDemoGateway(folder: string): Promise<Gateway> {
  const port = await recordedPort(folder);
  try {
    const gateway = await startGateway({ dataDir: gatewayFolder(folder), demoModel: true, port: port ?? 0 });
    if (port === null) await writeFile(portFile(folder), `${gateway.port}\n`);
    return gateway;
  } catch (error) {
    if (port === null || !hasCode(error, "EADDRINUSE")) throw error;
    throw new RowmillError("refused", `Port ${port} is in use, and the batches of ${folder} belong to it.`, {
      cause: error,
      hints: ["End the program that listens there, or remove that folder and begin anew."],
    });
  }
}

async function recordedPort(folder: string): Promise<number | null> {
  await mkdir(join(folder, ".rowmill"), { recursive: true, mode: 0o700 });
  if (!(await exists(portFile(folder)))) return null;
  const port = Number(await readFile(portFile(folder), "utf8"));
  return Number.isInteger(port) && port > 0 && port <= PORT_MAX ? port : null;
}

/** @throws RowmillError `refused` when the kept project in this folder was begun with the other provider. */
export async function requireSameProvider(folder: string, live: boolean): Promise<void> {
  if (!(await exists(join(folder, ".rowmill", "database")))) return;
  const wasLive = !(await exists(gatewayFolder(folder)));
  if (wasLive === live) return;
  throw new RowmillError(
    "refused",
    live
      ? `The project in ${folder} has the demo model's answers: rowmill demo --keep made it.`
      : `The project in ${folder} asks ${ADAPTERS[0].choice.dialect.title}: rowmill demo --live made it.`,
    {
      hints: [
        `To go on with it: rowmill demo ${live ? "--keep" : "--live"}`,
        "To begin anew: remove or rename that folder first.",
      ],
    },
  );
}
