/** Answers that go into the source's own rows, in a system elsewhere. Pure. */
import type { AnswerColumn } from "./answer/answer-columns.js";
import type { KeyColumn, PrepareOptions } from "./connector.js";
import type { PipelineConfig } from "./pipeline.js";

/** Source and target say the same address. */
export function writesBack({ source, target }: Pick<PipelineConfig, "source" | "target">): boolean {
  const address = source.replica?.sync?.connector.address ?? null;
  return address !== null && address === target.elsewhere?.address;
}

/** What a target learns of the pipeline whose answers it gets. */
export function preparing(
  config: PipelineConfig,
  fields: readonly AnswerColumn[],
  keyColumns?: readonly KeyColumn[],
): Omit<PrepareOptions, "signal"> {
  const { key, columns } = config.source;
  const named = keyColumns ?? key.map((name) => ({ name, type: "text" }));
  return { pipeline: config.name, fields, key: named, ...(writesBack(config) ? { source: { key, columns } } : {}) };
}
