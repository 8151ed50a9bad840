/** Validates the input file of a created batch, streamed. It changes nothing, so it may be repeated after a crash. */
import { stat } from "node:fs/promises";
import type { ChatModel } from "../engine/chat-model.js";
import { readLineChunks } from "./input-lines.js";
import { checkLine, duplicateError, mismatchError, type InputLine } from "./line-check.js";
import type { GatewaySettings } from "../settings.js";
import { Turns } from "./signal.js";
import type { BatchInputError } from "./wire.js";

const LINES_PER_CHUNK = 200;
/** More are not reported. Assumed: OpenAI's limit is unknown. */
const INPUT_ERRORS_MAX = 100;

export interface ValidInput {
  readonly requests: number;
  readonly model: string;
  readonly promptTokens: number;
}

export type Validation = { readonly input: ValidInput } | { readonly errors: readonly BatchInputError[] };

export interface ValidationRules {
  readonly endpoint: string;
  readonly model: ChatModel;
  readonly settings: GatewaySettings;
}

/** `abandoned` is asked between lines; true ends the reading with the result so far. */
export async function validateInput(
  path: string,
  rules: ValidationRules,
  abandoned: () => boolean,
): Promise<Validation> {
  const tally = new InputTally(rules);
  const turns = new Turns();
  for await (const lines of readLineChunks(path, LINES_PER_CHUNK)) {
    for (const line of lines) {
      tally.take(line);
      await turns.pass();
      if (tally.isFull || abandoned()) return tally.verdict((await stat(path)).size);
    }
  }
  return tally.verdict((await stat(path)).size);
}

class InputTally {
  readonly #rules: ValidationRules;
  readonly #errors: BatchInputError[] = [];
  readonly #customIds = new Set<string>();
  #model: string | null = null;
  #line = 0;
  #promptTokens = 0;

  constructor(rules: ValidationRules) {
    this.#rules = rules;
  }

  get isFull(): boolean {
    return this.#errors.length >= INPUT_ERRORS_MAX || this.#line > this.#rules.settings.limits.requestsMax;
  }

  take(text: string | null): void {
    if (this.isFull) return;
    this.#line += 1;
    const { endpoint, settings } = this.#rules;
    const verdict = checkLine(text, { endpoint, models: settings.models });
    if ("error" in verdict) this.#errors.push({ ...verdict.error, line: this.#line });
    else this.#accept(verdict.request);
  }

  #accept({ customId, model, body }: InputLine): void {
    this.#model ??= model;
    if (model !== this.#model) this.#errors.push({ ...mismatchError(model), line: this.#line });
    else if (this.#customIds.has(customId)) this.#errors.push({ ...duplicateError(customId), line: this.#line });
    this.#customIds.add(customId);
    this.#promptTokens += this.#rules.model.countPromptTokens(body);
  }

  verdict(bytes: number): Validation {
    const { requestsMax, modelBytesMax } = this.#rules.settings.limits;
    if (this.#line > requestsMax) {
      const message = `The batch input file has more than the ${requestsMax} requests that a batch may hold.`;
      return { errors: [{ code: "too_many_tasks", line: null, param: null, message }] };
    }
    if (this.#errors.length > 0) return { errors: this.#errors };
    if (this.#model === null) {
      const message = "The input file is empty. Please ensure that the batch contains at least one request.";
      return { errors: [{ code: "empty_file", line: null, param: null, message }] };
    }
    if (bytes > modelBytesMax) {
      const message = `The batch input file is larger than the ${modelBytesMax} maximum for the ${this.#model} model`;
      return { errors: [{ code: "invalid_request", line: null, param: null, message }] };
    }
    return { input: { requests: this.#line, model: this.#model, promptTokens: this.#promptTokens } };
  }
}
