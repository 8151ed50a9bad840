/**
 * Owns the hash by which a changed pipeline is noticed: a new hash means other questions, so an approval given
 * before does not hold, and rows are asked again. Pure.
 */
import { createHash } from "node:crypto";
import { compileAnswer } from "../model/answer/answer.js";
import { canonicalJson } from "../model/json/canonical-json.js";
import type { Json, MessageSource, PipelineConfig } from "../model/pipeline.js";

const HASH_CHARACTERS = 32;

/**
 * 32 hexadecimal digits (half of a SHA-256) over everything static that shapes an answer.
 *
 * In it: provider and endpoint; model, parameters, `maxOutputTokens`; the two messages, as template or as the
 * function's source text; the strict JSON schema of the answer with its fields in order, because a model writes
 * them in that order; and what the content of a row is: table, key and columns, in order.
 *
 * Not in it: `validate`, which judges answers and does not shape them; `where`, `existing`, `onGone`, `when`, `batch`,
 * `limit`, which choose rows and moments; `attempts`, budget, approval, polling, files, reconcile; the target;
 * the pipeline's name; the account and its key.
 *
 * Equal definitions give equal hashes on every machine: line ends count as LF, the order of keys does not count.
 * Of a function only its source text can be seen, as jiti leaves it: a change in something that it closes
 * over or calls is not noticed here, but by the fingerprint of the rendered request.
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
