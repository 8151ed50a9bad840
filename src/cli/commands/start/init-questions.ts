/** Owns what a config needs to know: taken from the options, or asked, or reported as missing. */
import { ANSWER_EXAMPLE, readAnswerFields } from "../../../app/init/answer-fields.js";
import { nameFor, targetFor, type Choices } from "../../../app/init/config-text.js";
import type { AnswerName, KeptAnswers } from "../../../app/init/kept-answers.js";
import type { FoundTable } from "../../../app/init/list-tables.js";
import { stemOf } from "../../../app/run/run-folder.js";
import { pipelineNameProblem } from "../../../config/read/read-names.js";
import { RowmillError } from "../../../model/errors.js";
import { ADAPTERS } from "../../../providers/adapters.js";
import { askText, choose, chooseSome } from "../../screen/ask.js";
import type { LogOptions } from "../../cli.js";
import type { Terminal } from "../../screen/terminal.js";

export interface InitOptions extends LogOptions {
  readonly table?: string;
  readonly file?: string;
  readonly csv?: string;
  readonly from?: string;
  readonly key?: string;
  readonly columns?: string;
  readonly model?: string;
  readonly prompt?: string;
  readonly function?: true;
  readonly answer?: string;
  readonly target?: string;
  readonly name?: string;
  readonly embedded?: true;
  readonly sql?: string;
  readonly force?: true;
}

export interface Found {
  readonly tables: readonly FoundTable[];
  readonly place: string;
  /** The rows are in a file, which is the only one of `tables`. */
  readonly isFile: boolean;
}

interface FoundBefore extends Found {
  readonly kept: KeptAnswers;
}

type Check = (text: string) => string | null;

export type Wanted = Omit<Choices, "embedded" | "elsewhere">;

const TABLES_SHOWN_MAX = 20;
const COLUMNS_SHOWN_MAX = 12;
const NAMES_SHOWN_MAX = 6;
const MODEL_DEFAULT = ADAPTERS[0].choice.dialect.exampleModel;
const REQUIRED = ["table", "columns", "model", "prompt", "answer"] as const;

/** Nothing has to be asked: what they do not say has a default. */
export function areComplete(options: InitOptions): boolean {
  return REQUIRED.every((name) => options[name] !== undefined);
}

export function missingOptions(options: InitOptions, found: Found): RowmillError {
  const missing = REQUIRED.filter((name) => options[name] === undefined).map((name) => `--${name}`);
  const from = options.from === undefined ? "" : "--from URL ";
  const rows = found.isFile ? `--${options.csv === undefined ? "file" : "csv"} ${found.place}` : `${from}--table films`;
  return new RowmillError("usage", `There is no terminal to ask on. Missing options: ${missing.join(", ")}.`, {
    lines: [
      `Found in ${found.place}: ${found.tables.length === 0 ? "no table." : ""}`.trimEnd(),
      ...listFound(found.tables, options.table).map((line) => `  ${line}`),
    ],
    hints: [
      `For example: rowmill init ${rows} --columns title,description --model ${MODEL_DEFAULT} ` +
        `--prompt "Summarize the film." --answer ${ANSWER_EXAMPLE}`,
    ],
  });
}

/**
 * From the options, and where these are not complete, from answers to questions, which begin with what was answered
 * before an interruption. @throws RowmillError `usage` when an option cannot be read, Interrupted when a question is
 * answered with Ctrl-C
 */
export async function makeChoices(terminal: Terminal, options: InitOptions, found: FoundBefore): Promise<Wanted> {
  const { kept } = found;
  const asks = !areComplete(options);
  const text = async (name: AnswerName, question: string, asked: { initial?: string; check: Check }) =>
    kept.keep(name, await askText(question, { ...asked, initial: kept.text(name) ?? asked.initial ?? "" }));
  const { isFile } = found;
  const table = options.table === undefined ? await askTable(terminal, found) : tableNamed(found, options.table);
  if (asks) await kept.keep("table", table.name);
  const key = listOf(options.key) ?? (asks ? await askKey(table) : (table.keys[0] ?? []));
  const columns = listOf(options.columns) ?? (await askColumns(table, key, kept));
  const model = options.model ?? (await text("model", "Which model?", { initial: MODEL_DEFAULT, check: notEmpty }));
  const asksPrompt = "What should it do with each row? One or two sentences.";
  const prompt = options.prompt ?? (await text("prompt", asksPrompt, { check: notEmpty }));
  const asFunction = options.function ?? (asks && (await askForm(prompt, kept)));
  const asksAnswer = "Which fields should the answer have? Names with types; or: text";
  const answer =
    options.answer ?? (await text("answer", asksAnswer, { initial: ANSWER_EXAMPLE, check: answerProblem }));
  const title = isFile ? stemOf(table.name).replaceAll(".", "_") : table.name;
  const asksName = { initial: nameFor(title), check: pipelineNameProblem };
  const name =
    checkedName(options.name) ??
    (asks ? await text("name", "What is the name of this pipeline?", asksName) : asksName.initial);
  const asksTarget = { initial: targetFor(title), check: notEmpty };
  const where = "Which table should the answers go to? Rowmill creates it if needed.";
  const target = options.target ?? (asks ? await text("target", where, asksTarget) : asksTarget.initial);
  const fields = readAnswerFields(answer);
  const cursor = table.cursor ?? null;
  return { name, table: table.name, isFile, key, columns, cursor, model, prompt, asFunction, answer: fields, target };
}

/** A table that is not in the list is left to the inspection, which suggests a similar name. */
function tableNamed(found: Pick<Found, "tables">, name: string): FoundTable {
  return (
    found.tables.find((table) => table.name === name) ?? {
      name,
      qualified: name,
      columns: [],
      keys: [],
      problem: null,
    }
  );
}

async function askTable(terminal: Terminal, { kept, ...found }: FoundBefore): Promise<FoundTable> {
  const { tables } = found;
  const usable = tables.filter((table) => table.problem === null);
  if (usable.length === 0) throw noTable(found);
  for (const line of listUnwatchable(tables)) terminal.note(line);
  const options = usable.map(({ name, columns }) => ({
    value: name,
    label: name,
    hint: columns.map((column) => column.name).join(", "),
  }));
  return tableNamed(found, await choose("Which table has your rows?", options, kept.text("table")));
}

export function noTable({ tables, place }: Omit<Found, "isFile">): RowmillError {
  const embedded = place.startsWith("the embedded database");
  const make = embedded
    ? "Create one with an SQL file (create table …; insert into …;): rowmill init --embedded --sql FILE"
    : "Create a table with a primary key, or add a primary key to one that has none.";
  return new RowmillError("not_found", `There is no table that can be watched in ${place}.`, {
    lines: listFound(tables, undefined),
    hints: [make],
  });
}

async function askKey({ name, keys }: FoundTable): Promise<readonly string[]> {
  const [only, ...more] = keys;
  if (only === undefined || more.length === 0) return only ?? [];
  const options = keys.map((key, index) => ({ value: String(index), label: key.join(", ") }));
  return keys[Number(await choose(`Which key identifies a row of ${name}?`, options))] ?? only;
}

async function askColumns(
  { columns }: FoundTable,
  key: readonly string[],
  kept: KeptAnswers,
): Promise<readonly string[]> {
  const options = columns.map(({ name, type, example }) => ({ value: name, label: name, hint: example ?? type }));
  const texts = columns.filter(({ name, type }) => /^(?:text|character)/.test(type) && !key.includes(name));
  const before = (kept.list("columns") ?? []).filter((name) => columns.some((column) => column.name === name));
  const chosen = await chooseSome(
    "Which columns should the model see? A row is sent again when one of them changes.",
    options,
    before.length > 0 ? before : texts.map((column) => column.name),
  );
  return kept.keep("columns", chosen);
}

async function askForm(prompt: string, kept: KeptAnswers): Promise<boolean> {
  if (/\{\{|\{%/.test(prompt)) return false;
  const forms = [
    { value: "template", label: "With a template", hint: "{{ title }}" },
    { value: "function", label: "With a function", hint: "(row) => row.title" },
  ];
  const form = await choose("How should the columns be inserted into the prompt?", forms, kept.text("form"));
  return (await kept.keep("form", form)) === "function";
}

function answerProblem(text: string): string | null {
  try {
    readAnswerFields(text);
    return null;
  } catch (error) {
    if (error instanceof RowmillError) return error.message.replace(/^--answer: /, "");
    throw error;
  }
}

function notEmpty(text: string): string | null {
  return text === "" ? "Enter some text." : null;
}

export function listOf(text: string | undefined): readonly string[] | null {
  return text === undefined ? null : text.split(",").map((part) => part.trim());
}

/** It becomes a variable of the config, which runs, so it must be a plain name. @throws RowmillError `usage` */
function checkedName(name: string | undefined): string | undefined {
  const problem = name === undefined ? null : pipelineNameProblem(name);
  if (problem === null) return name;
  throw new RowmillError("usage", `--name: expected ${problem}, found ${JSON.stringify(name)}.`);
}

/** One line per table: what it has, or why it cannot be watched. `only`: this one, where it exists. */
function listFound(tables: readonly FoundTable[], only: string | undefined): string[] {
  const named = tables.filter((table) => table.name === only);
  const shown = named.length > 0 ? named : tables;
  const lines = shown.slice(0, TABLES_SHOWN_MAX).map(describeTable);
  const more = shown.length - lines.length;
  return more > 0 ? [...lines, `… and ${more} more`] : lines;
}

function describeTable({ name, columns, keys, problem }: FoundTable): string {
  if (problem !== null) return `${name} cannot be watched: ${problem}`;
  const names = columns.slice(0, COLUMNS_SHOWN_MAX).map((column) => column.name);
  const more = columns.length > names.length ? ", …" : "";
  return `${name}: key ${(keys[0] ?? []).join(", ")}; columns ${names.join(", ")}${more}`;
}

export function listUnwatchable(tables: readonly FoundTable[]): string[] {
  const reasons = [...new Set(tables.flatMap(({ problem }) => (problem === null ? [] : [problem])))];
  return reasons.map((reason) => {
    const names = tables.filter(({ problem }) => problem === reason).map(({ name }) => name);
    const more = names.length - NAMES_SHOWN_MAX;
    const shown = names.slice(0, NAMES_SHOWN_MAX).join(", ") + (more > 0 ? `, … and ${more} more` : "");
    return `${shown} cannot be watched: ${reason}`;
  });
}
