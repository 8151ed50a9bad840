/** The files that were run in a folder, as a project: other commands look at them and fix them as at any pipeline. */
import { completeFromDotenv } from "../../config/load/dotenv.js";
import { lookAtFile } from "../../files/look-at-file.js";
import { RowmillError } from "../../model/errors.js";
import type { PipelineConfig, ProjectConfig } from "../../model/pipeline.js";
import { identityOf, runConfig, shapeFor } from "./run-config.js";
import { configFileOf, listRecords, type RunRecord } from "./run-folder.js";

/** Null: none was. A file that is gone, or whose question is in a config or not agreed to, is left out. */
export async function runProject(
  folder: string,
  variables: Record<string, string | undefined>,
): Promise<{ readonly config: ProjectConfig; readonly runs: readonly RunRecord[] } | null> {
  const records = await listRecords(folder);
  if (records.length === 0) return null;
  await completeFromDotenv(variables, folder);
  const pipelines: PipelineConfig[] = [];
  for (const record of records) {
    const pipeline = await pipelineOf(folder, record);
    if (pipeline !== null) pipelines.push(pipeline);
  }
  const config = { file: configFileOf(folder), database: { kind: "embedded" }, http: null, pipelines } as const;
  return { config, runs: records };
}

async function pipelineOf(folder: string, record: RunRecord): Promise<PipelineConfig | null> {
  if (record.pipeline !== null || record.reads === null) return null;
  try {
    const { delimiter } = record;
    const look = await lookAtFile(record.file, delimiter === null ? {} : { delimiter });
    const shape = shapeFor(record, look, null);
    const file = { look, identity: await identityOf(record.file), limit: null, reading: null };
    return runConfig(folder, record, file, { theirs: null, shape }).pipeline;
  } catch (error) {
    if (error instanceof RowmillError) return null;
    throw error;
  }
}
