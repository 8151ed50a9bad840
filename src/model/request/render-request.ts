/**
 * Makes one row's request. Pure as far as the user's own functions are; what they throw or return wrongly fails that
 * row, never the batch. Text with U+0000 or half a surrogate pair fails the row too: PostgreSQL can store neither, and
 * half a pair is not UTF-8, for which providers refuse the whole file.
 */
import { compileAnswer } from "../answer/answer.js";
import { hasWord } from "../json/free-json.js";
import type { ModelRequest } from "../provider/outcome.js";
import type { MessageSource, PipelineConfig, RowCells } from "../pipeline.js";
import { storableText, textProblem } from "../words/storable-text.js";
import { compileMessage, type MessageRole } from "./template.js";
import { thrownMessage } from "../words/thrown-message.js";
import { nameWrongValue } from "../words/wrong-value.js";

export type Rendered =
  | { readonly kind: "request"; readonly request: ModelRequest }
  /** There is nothing to ask about this row. */
  | { readonly kind: "empty" }
  /** At most `FAILURE_CHARACTERS_MAX`. */
  | { readonly kind: "failed"; readonly message: string };

const FAILURE_CHARACTERS_MAX = 500;

/**
 * Compiles a pipeline's request once for many rows. `jsonColumns`: those whose contents a template may name.
 * @throws RowmillError `config_invalid` when a template does not parse; Error when the schema has problems
 */
export function compileRequest(
  pipeline: PipelineConfig,
  jsonColumns: ReadonlySet<string> = new Set(),
): (row: RowCells) => Rendered {
  const { model, parameters, maxOutputTokens } = pipeline.request;
  const compile = (source: MessageSource, role: MessageRole) =>
    compilePart(role, compileMessage(source, role, jsonColumns));
  const user = compile(pipeline.request.user, "user");
  const system = pipeline.request.system === null ? null : compile(pipeline.request.system, "system");
  const { schema } = compileAnswer(pipeline.answer);
  const word = schema?.isFree === true ? pipeline.provider.dialect.freeJsonWord : null;
  return (row) => {
    const asked = user(row);
    if (asked.failure !== null) return { kind: "failed", message: asked.failure };
    if (asked.text === null) return { kind: "empty" };
    const guided = system === null ? NOTHING : system(row);
    if (guided.failure !== null) return { kind: "failed", message: guided.failure };
    if (word !== null && !hasWord(word, `${guided.text ?? ""} ${asked.text}`))
      return { kind: "failed", message: withoutWord(word) };
    const request = { model, system: guided.text, user: asked.text, maxOutputTokens, parameters, schema };
    return { kind: "request", request };
  };
}

function withoutWord(word: string): string {
  return `neither request.system nor request.user contains the word "${word}", which the provider requires for json()`;
}

interface Part {
  readonly text: string | null;
  readonly failure: string | null;
}

const NOTHING: Part = { text: null, failure: null };

function compilePart(role: MessageRole, render: (row: RowCells) => unknown): (row: RowCells) => Part {
  return (row) => {
    let text: unknown;
    try {
      text = render(row);
    } catch (error) {
      return failure(role, `failed: ${thrownMessage(error)}`);
    }
    if (text === null) return NOTHING;
    if (typeof text !== "string")
      return failure(role, `returned ${nameWrongValue(text)}; it must return a string or null`);
    const problem = textProblem(text);
    return problem === null ? { text, failure: null } : failure(role, problem);
  };
}

function failure(role: MessageRole, what: string): Part {
  // Cut first: the cut may go through a pair.
  const message = `request.${role} ${what}`.slice(0, FAILURE_CHARACTERS_MAX);
  return { text: null, failure: storableText(message) };
}
