/** Asks at a terminal for what a run still lacks, with the file's columns in sight; elsewhere names the options. */
import { basename } from "node:path";
import { ANSWER_EXAMPLE, readAnswerFields } from "../../app/init/answer-fields.js";
import { messagesOf, promptNames, shownName } from "../../app/run/run-config.js";
import type { RunRecord } from "../../app/run/run-folder.js";
import type { FileLook } from "../../files/file-types.js";
import { dollars } from "../../model/provider/pricing.js";
import { RowmillError } from "../../model/errors.js";
import { ADAPTERS } from "../../providers/adapters.js";
import { askText, choose, chooseSome } from "../screen/ask.js";
import type { Terminal } from "../screen/terminal.js";
import { fit } from "../screen/text.js";
import type { Draft } from "./run-options.js";

const EXAMPLE_CHARACTERS = 60;
const NAME_CHARACTERS = 60;
const COLUMNS_SHOWN_MAX = 30;
const OTHER = "";
const NANO_PER_PICO_MILLION = 1_000;

/** @throws RowmillError `usage` where something is missing and no one can be asked */
export async function completed(terminal: Terminal, { record, look }: Draft): Promise<RunRecord> {
  if (record.pipeline !== null) return record;
  const missing = (["prompt", "model", "answer"] as const).filter((name) => record[name] === null);
  if (missing.length === 0) return checked(record, look);
  if (!terminal.interactive) throw missingOptions(record, look, missing);
  terminal.note(`Columns of ${basename(record.file)}, with an example of each:`);
  for (const line of columnLines(look)) terminal.note(line);
  const prompt = record.prompt ?? (await askPrompt(look));
  const columns = record.columns ?? (hasColumns(prompt) ? null : await askColumns(look));
  const answer = record.answer ?? (await askAnswer());
  const model = record.model ?? (await askModel());
  return checked({ ...record, prompt, columns, answer, model }, look);
}

/** Before anything is opened or asked at the provider. @throws RowmillError `usage` */
function checked(record: RunRecord, look: FileLook): RunRecord {
  readAnswerFields(record.answer ?? "");
  messagesOf(record, promptNames(look.columns));
  return record;
}

function missingOptions(
  { file }: RunRecord,
  look: FileLook,
  missing: readonly ("prompt" | "model" | "answer")[],
): RowmillError {
  const [column = "column"] = longest(look);
  const options = missing.map((name) => `--${name}`).join(", ");
  return new RowmillError("usage", `There is no terminal to ask on. Missing options: ${options}.`, {
    lines: [`Columns of ${basename(file)}:`, ...columnLines(look)],
    hints: [
      `For example: rowmill run ${basename(file)} --prompt "Sum it up: {{ ${column} }}" ` +
        `--model ${ADAPTERS[0].choice.dialect.exampleModel} --answer "${ANSWER_EXAMPLE}"`,
    ],
  });
}

/** Each column with its first cell. */
function columnLines({ columns, examples }: FileLook): string[] {
  const shown = [...promptNames(columns)].slice(0, COLUMNS_SHOWN_MAX).map(([name, column], at) => {
    const example = examples.map((cells) => cells[at] ?? "").find((cell) => cell.trim() !== "") ?? "";
    return `  ${fit(shownName(name, column), NAME_CHARACTERS)}: ${fit(example, EXAMPLE_CHARACTERS)}`;
  });
  const more = columns.length - shown.length;
  return more > 0 ? [...shown, `  … and ${more} more`] : shown;
}

/** Columns by the length of their examples: a text is what a model reads. */
function longest({ columns, examples }: FileLook): string[] {
  const size = (at: number) => examples.reduce((sum, cells) => sum + (cells[at]?.length ?? 0), 0);
  return [...promptNames(columns).keys()]
    .map((name, at) => ({ name, size: size(at) }))
    .toSorted((a, b) => b.size - a.size)
    .map(({ name }) => name);
}

function hasColumns(prompt: string): boolean {
  return /\{\{|\{%/.test(prompt);
}

function askPrompt(look: FileLook): Promise<string> {
  const [column = "column"] = longest(look);
  return askText(`What should the model do with each line? You may insert columns: {{ ${column} }}`, {
    check: (text) =>
      problemOf(text === "" ? null : () => messagesOf({ prompt: text, columns: null }, promptNames(look.columns))),
  });
}

/** Null: it can be done. */
function problemOf(work: (() => unknown) | null): string | null {
  if (work === null) return "Enter some text.";
  try {
    work();
    return null;
  } catch (error) {
    if (error instanceof RowmillError) return error.message.replace(/^--[a-z]+: /, "");
    throw error;
  }
}

function askColumns(look: FileLook): Promise<string[]> {
  const [first = ""] = longest(look);
  const options = [...promptNames(look.columns)].map(([name, column], at) => {
    return {
      value: name,
      label: fit(shownName(name, column), NAME_CHARACTERS),
      hint: fit(look.examples[0]?.[at] ?? "", EXAMPLE_CHARACTERS),
    };
  });
  return chooseSome("Which columns should the model see?", options, [first]);
}

function askAnswer(): Promise<string> {
  return askText("Which columns should the answer have? Names with types; or: text", {
    initial: ANSWER_EXAMPLE,
    check: (text) => problemOf(() => readAnswerFields(text)),
  });
}

/** By the price of a batch, the cheapest first. */
async function askModel(): Promise<string> {
  const { dialect } = ADAPTERS[0].choice;
  const priced = dialect.suggestedModels.flatMap((model) => {
    const { price, batchFactor } = dialect.rates(model, new Date());
    const step = price?.steps[0];
    return step === undefined
      ? []
      : [{ model, input: step.inputPicoUsd * batchFactor, output: step.outputPicoUsd * batchFactor }];
  });
  const perMillion = (pico: number) => dollars(pico * NANO_PER_PICO_MILLION).replace(/0{1,4}$/, "");
  const options = priced
    .toSorted((a, b) => a.input + a.output - b.input - b.output)
    .map(({ model, input, output }) => {
      return { value: model, label: `${model} (${perMillion(input)} read, ${perMillion(output)} written)` };
    });
  const chosen = await choose(
    "Which model? Prices are for a million tokens, in batches.",
    [...options, { value: OTHER, label: "another one" }],
    dialect.exampleModel,
  );
  if (chosen !== OTHER) return chosen;
  return askText("Which model?", { check: (text) => (text === "" ? "Enter its name." : null) });
}
