/** What the doctor finds about a file as a target: can answers be written there? Writes nothing. */
import type { ConnectorFinding, PrepareOptions } from "../../../model/connector.js";
import { ConnectorError } from "../../../model/connector.js";
import { counted } from "../../../model/words/counted.js";
import { explained } from "./file-failure.js";
import { ownerOf, refuseOwner, requireFolder, shapeOf, type WantedFile } from "./file-target.js";
import { PartsFolder } from "./parts-folder.js";

export async function diagnose(wanted: WantedFile, of: PrepareOptions): Promise<readonly ConnectorFinding[]> {
  const { path } = wanted;
  const folder = new PartsFolder(path);
  try {
    shapeOf(wanted, of);
    await requireFolder(path);
    const owner = await ownerOf(folder, path, of.signal);
    if (owner === null) return [{ level: "ok", text: `rowmill up creates ${path}` }];
    refuseOwner(folder, { path, owner, pipeline: of.pipeline });
    const { parts } = await folder.list();
    const waiting = parts.length === 0 ? "" : `; ${counted(parts.length, "part")} will be merged into it`;
    return [{ level: "ok", text: `answers can be written to ${path}${waiting}` }];
  } catch (error) {
    const known = explained(path, error);
    if (!(known instanceof ConnectorError)) throw known;
    return [{ level: "problem", text: known.message, fixes: known.hints }];
  }
}
