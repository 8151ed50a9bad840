/** Drivers are optional peers: they are loaded on first use, so that whoever does not use them installs nothing. */
import { ConnectorError } from "../model/connector.js";

/** Call it as `loadPeer("mysql2", () => import("mysql2/promise"))`. @throws ConnectorError if it is not installed */
export async function loadPeer<Module>(name: string, load: () => Promise<Module>): Promise<Module> {
  try {
    return await load();
  } catch (error) {
    if (!isMissing(error)) throw error;
    throw new ConnectorError("stop", `The package ${name} is not installed.`, {
      cause: error,
      hints: [`Install it next to rowmill: npm install ${name}`],
    });
  }
}

function isMissing(error: unknown): boolean {
  return error instanceof Error && "code" in error && error.code === "ERR_MODULE_NOT_FOUND";
}
