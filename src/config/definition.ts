/**
 * Owns what a pipeline's definition is: the hash that shows a changed one, which needs a new approval and asks its rows
 * again, and its description in the ledger. Pure.
 */
import { createHash } from "node:crypto";
import { compileAnswer } from "../model/answer/answer.js";
import { canonicalJson } from "../model/json/canonical-json.js";
import type { Json, MessageSource, PipelineConfig } from "../model/pipeline.js";

const HASH_CHARACTERS = 32;

/**
 * 32 hexadecimal digits (half of a SHA-256) over everything static that shapes an answer.
 *
 * In it: provider, endpoint, model, parameters, `maxOutputTokens`; the messages, as template or as the function's
 * source text; the answer's strict JSON schema, whose order of fields counts because a model writes in it; table, key
 * and columns. Not in it: what checks answers, chooses rows or moments, or limits; the target, the name, the account.
 *
 * Equal definitions give equal hashes on every machine: line ends count as LF, and the order of keys does not count. A
 * change in what a function calls shows only in the fingerprint of the rendered request.
 */
export function definitionHash(
  pipeline: PipelineConfig,
  provider: { readonly name: string; readonly endpoint: string },
): string {
  const { source, request, answer } = pipeline;
  const definition: Json = {
    provider: provider.name,
    endpoint: provider.endpoint,
    model: request.model,
    parameters: { ...request.parameters },
    maxOutputTokens: request.maxOutputTokens,
    system: request.system === null ? null : describeMessage(request.system),
    user: describeMessage(request.user),
    answer: compileAnswer(answer).schema?.schema ?? null,
    table: source.table,
    key: [...source.key],
    columns: [...source.columns],
  };
  return createHash("sha256").update(canonicalJson(definition)).digest("hex").slice(0, HASH_CHARACTERS);
}

function describeMessage(message: MessageSource): Json {
  const text = message.kind === "template" ? message.text : message.render.toString();
  return { kind: message.kind, text: text.replaceAll("\r\n", "\n") };
}

/** What the ledger keeps of a definition, to judge answers to it and to say what changed later. Without functions. */
export function describeDefinition(
  config: PipelineConfig,
  { name, endpoint }: { readonly name: string; readonly endpoint: string },
): Json {
  const { columns, table, trustOwner } = config.target;
  const text = (source: MessageSource | null): Json => (source?.kind === "template" ? source.text : null);
  return {
    ...describeConfig(config),
    provider: name,
    endpoint,
    system: text(config.request.system),
    user: text(config.request.user),
    target: { table, columns: { ...columns }, ...(trustOwner ? { trustOwner } : {}) },
    attempts: config.attempts,
  };
}

/** For `status`, `show` and readers in psql; functions as their source. */
export function describeConfig(config: PipelineConfig): Record<string, Json> {
  const message = (source: MessageSource | null): Json =>
    source === null ? null : source.kind === "template" ? source.text : source.render.toString();
  return {
    source: {
      table: config.source.table,
      key: [...config.source.key],
      columns: [...config.source.columns],
      where: config.source.where,
    },
    target: config.target.table,
    model: config.request.model,
    price: config.request.price === null ? null : { ...config.request.price },
    parameters: { ...config.request.parameters },
    maxOutputTokens: config.request.maxOutputTokens,
    system: message(config.request.system),
    user: message(config.request.user),
    answer: compileAnswer(config.answer).schema?.schema ?? null,
    when: { ...config.when },
    budget: config.budget === null ? null : { ...config.budget },
    limit: config.limit,
  };
}
