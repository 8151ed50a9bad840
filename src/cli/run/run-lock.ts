/** The right to work on the files of one folder: one process has it at a time. */
import { lockForWork } from "../../app/open/open-database.js";
import { RowmillError, withHint } from "../../model/errors.js";
import type { ProjectConfig } from "../../model/pipeline.js";

/** @throws RowmillError `embedded_in_use` */
export async function lockRuns(config: ProjectConfig, folder: string, command: string): Promise<() => void> {
  try {
    return await lockForWork(config, command);
  } catch (error) {
    if (!(error instanceof RowmillError) || error.code !== "embedded_in_use") throw error;
    throw withHint(
      new RowmillError(error.code, `Another run or worker is at work in ${folder}.`, { cause: error }),
      "Wait until it ends, or look at it: rowmill status",
    );
  }
}
