/** An export that a pipeline would read as new rows. */
import { patternOf } from "../../connectors/files/files.js";
import { isFound } from "../../connectors/files/find-files.js";
import { RowmillError } from "../../model/errors.js";
import type { ProjectConfig } from "../../model/pipeline.js";

/** `shown`: the path of the output, as you would type it. @throws RowmillError `refused` */
export function requireNoSource(out: string, { pipelines }: ProjectConfig, shown: string): void {
  for (const { name, source } of pipelines) {
    const connector = source.replica?.sync?.connector;
    const pattern = connector === undefined ? null : patternOf(connector);
    if (pattern === null || !isFound(out, pattern)) continue;
    throw new RowmillError("refused", `${name} would read ${shown} as new rows: it matches files("${pattern}").`, {
      hints: ["Name a file in another folder, or one that does not match: --out"],
    });
  }
}
