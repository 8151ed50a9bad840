/**
 * The definition that asked a batch. Its answers are judged by it even after the config changed, as if the batch had
 * settled before the change. Only `validate` is the present one, because a ledger keeps no functions.
 */
import { canonicalJson } from "../../../model/json/canonical-json.js";
import { compileStored, type CompiledAnswer } from "../../../model/answer/answer.js";
import { RowmillError } from "../../../model/errors.js";
import { thrownMessage } from "../../../model/words/thrown-message.js";
import * as changes from "../../../store/pipelines/changes.js";
import * as definitions from "../../../store/pipelines/definitions.js";
import type { Source } from "../../../sources/source.js";
import type { Batch } from "../../../store/batches/batches.js";
import type { Target } from "../../../targets/target.js";
import type { Pipeline, WorkerContext } from "../../context.js";

export interface Asked {
  /** It is not the present one. */
  readonly changed: boolean;
  /**
   * Rows that were answered under it are sent again where the present one asks something else. Read again in each
   * transaction that ends requests, because you may decide in the meantime.
   */
  readonly reopens: boolean;
  /** Null: what was asked is not known. An answer counts only where the present definition would ask the same. */
  readonly answer: CompiledAnswer | null;
  readonly triesMax: number;
  /** With the content that was asked about; null: the present definition's. */
  readonly source: Source | null;
  /** Text: why the target cannot hold such answers now. They are kept in the ledger. */
  readonly target: Target | string;
}

interface Asking {
  readonly context: WorkerContext;
  readonly pipeline: Pipeline;
  readonly batch: Batch;
}

export async function askedBy({ context, pipeline, batch }: Asking): Promise<Asked> {
  const { config, target } = pipeline;
  const present = { reopens: true, answer: pipeline.answer, triesMax: config.attempts, source: null, target };
  if (batch.definitionHash === pipeline.definitionHash) return { changed: false, ...present };
  const reopens = await changes.reopens(context.read, pipeline.id);
  const definition = await definitions.definitionOf(context.read, pipeline.id, batch.definitionHash);
  const answer = definition && compiled({ context, pipeline, batch }, definition);
  if (!definition || !answer) return { changed: true, ...present, reopens, answer: null };
  return {
    changed: true,
    reopens,
    answer,
    triesMax: definition.attempts ?? config.attempts,
    source: await contentSource({ context, pipeline, batch }, definition),
    target: await targetOf({ context, pipeline, batch }, definition, answer),
  };
}

/** The present schema, functions included, where it is the same. Null: a newer version wrote it, unreadable here. */
function compiled(
  { context, pipeline, batch }: Asking,
  { answer }: definitions.AskedDefinition,
): CompiledAnswer | null {
  if (canonicalJson(answer) === canonicalJson(pipeline.answer.stored)) return pipeline.answer;
  try {
    return compileStored(answer);
  } catch (error) {
    context.log.warn(
      { pipeline: batch.pipeline, batch: batch.id, err: error },
      `the answer schema that asked the batch cannot be read: ${thrownMessage(error)}`,
    );
    return null;
  }
}

/** Null where a column is gone, or table or key changed: no row can be compared, and each counts as changed. */
async function contentSource(
  { context, pipeline }: Asking,
  { content }: definitions.AskedDefinition,
): Promise<Source | null> {
  if (content === null || content.join() === pipeline.config.source.columns.join()) return null;
  try {
    return await pipeline.sourceFor(context.read, content);
  } catch (error) {
    if (!(error instanceof RowmillError) || error.code !== "source_unsupported") throw error;
    return null;
  }
}

/** A field of the present config goes where the config says; any other where it went then. */
function targetOf(
  { context, pipeline }: Asking,
  { columns: then }: definitions.AskedDefinition,
  answer: CompiledAnswer,
): Promise<Target | string> {
  const { columns: now } = pipeline.config.target;
  const present = new Set(pipeline.answer.columns.map(({ field }) => field));
  const columns = answer.columns.map(({ field }): [string, string] => [
    field,
    (present.has(field) ? now?.[field] : then?.[field]) ?? field,
  ]);
  return pipeline.targetFor(context.read, { answer: answer.columns, columns: Object.fromEntries(columns) });
}
