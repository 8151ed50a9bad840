/**
 * A pipeline whose answers are in a table gets a target elsewhere: its answers are copied into Rowmill's own table,
 * from which they are delivered. Each chunk is one transaction. The pipeline is registered with its new target only
 * afterwards (`bindPipeline`), so after a crash the next start copies them again.
 */
import type { Json } from "../../model/pipeline.js";
import { bisect } from "../../postgres/bisect.js";
import type { Database, Queryable } from "../../postgres/database.js";
import { relationNamed } from "../../sources/table/inspection.js";
import * as definitions from "../../store/pipelines/definitions.js";
import type { ReadableDefinition } from "../../store/pipelines/definitions.js";
import * as requests from "../../store/requests/requests.js";
import * as rowEndings from "../../store/requests/row-endings.js";
import type { Wanted } from "../../targets/table/ensure.js";
import { readAnswers, type AnswerRead } from "../../targets/table/read-answers.js";
import type { Result, Target } from "../../targets/target.js";

/** In one transaction. */
const CHUNK_ROWS = 500;

interface Carrying {
  readonly name: string;
  readonly wanted: Wanted;
  readonly targetFor: (pipelineId: number) => Target;
}

/** So far. */
export interface Carried {
  readonly rows: number;
  /** Answered rows whose answer the previous table does not have, or does not fit now. */
  readonly left: number;
}

/** Before the pipeline is registered with its new target. */
export async function carryAnswers(
  database: Database,
  { name, wanted, targetFor }: Carrying,
  onChunk: (carried: Carried) => void = () => undefined,
): Promise<void> {
  const previous = await previousTarget(database, name, wanted);
  if (previous === null) return;
  const { pipelineId, read } = previous;
  const target = targetFor(pipelineId);
  let [rows, left] = [0, 0];
  for (let after: string | null = "0"; after !== null;) {
    const from: string = after;
    after = await database.transaction(async (tx) => {
      const answered = await rowEndings.answeredPage(tx, pipelineId, { after: from, max: CHUNK_ROWS });
      const locked = await requests.lockByKeys(
        tx,
        pipelineId,
        answered.map(({ key }) => key),
      );
      const keys = locked.filter(({ state }) => state === "succeeded").map(({ key }) => key);
      const carried = keys.length === 0 ? 0 : await carryChunk(tx, { read, target, keys });
      rows += carried;
      left += keys.length - carried;
      return answered.at(-1)?.id ?? null;
    });
    onChunk({ rows, left });
  }
}

/** Null: there is none, or its table is gone. */
async function previousTarget(
  database: Database,
  name: string,
  { config, source, answer }: Wanted,
): Promise<{ readonly pipelineId: number; readonly read: AnswerRead } | null> {
  const before: ReadableDefinition | null = await definitions.readableDefinition(database, name);
  if (before === null || before.target.table === config.table) return null;
  const { pipelineId, target } = before;
  if ((await relationNamed(database, target.table)) === null) return null;
  const fields = answer.map(({ field }) => ({ field, column: target.columns[field] ?? field }));
  return { pipelineId, read: { table: target.table, trustOwner: target.trustOwner, source, fields } };
}

async function carryChunk(
  tx: Queryable,
  { read, target, keys }: { read: AnswerRead; target: Target; keys: readonly string[] },
): Promise<number> {
  const answers = [...(await readAnswers(tx, read, keys))];
  const results = answers.map(([key, { json, model, version }]) => ({
    key,
    // An object, as `readAnswers` writes it.
    cells: JSON.parse(json) as Readonly<Record<string, Json>>,
    model: model ?? "",
    version,
  }));
  let left = 0;
  const write = async (some: readonly Result[]) => void (await target.write(tx, some));
  // A person may have changed the answer to something that is none.
  await bisect(tx, results, write, async () => void left++);
  return results.length - left;
}
