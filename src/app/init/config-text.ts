/** Writes the first config of a project as you would, and reads it back as Rowmill will before it is put in place. */
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { evaluateConfig } from "../../config/load/evaluate.js";
import { validateConfig } from "../../config/read/validate.js";
import type { ProjectConfig } from "../../model/pipeline.js";
import { parseTableName, writeTableName } from "../../model/table-name.js";
import type { AnswerFieldChoice } from "./answer-fields.js";

/** A system whose rows and answers are read and written by a connector. */
export interface Elsewhere {
  /** The connector's function. */
  readonly call: "mysql" | "sqlite";
  /** The package that it needs. */
  readonly driver: string;
  /** Of the environment, with the URL. */
  readonly variable: string;
}

export interface Choices {
  readonly name: string;
  /** A table, or the path of a file. */
  readonly table: string;
  readonly isFile: boolean;
  /** Null: the rows are in the database, or in a file. */
  readonly elsewhere: Elsewhere | null;
  readonly key: readonly string[];
  readonly columns: readonly string[];
  /** Elsewhere: the column by which changes are found. Null: all rows are read each time. */
  readonly cursor: string | null;
  readonly model: string;
  /** What the model should do: a template if it names a column, else the system message. */
  readonly prompt: string;
  /** The columns as a function of the row, and not as a template. */
  readonly asFunction: boolean;
  /** Null: the model's text as it is. */
  readonly answer: readonly AnswerFieldChoice[] | null;
  readonly target: string;
  readonly embedded: boolean;
}

/** Words that cannot name a constant, that the loader of configs takes, or that the config imports. */
const TAKEN = new Set([
  ..."arguments await break case catch class const continue debugger default delete do else enum eval".split(" "),
  ..."export exports extends false finally for function if implements import in instanceof interface".split(" "),
  ..."let module new null package private protected public require return static super switch this".split(" "),
  ..."throw true try typeof undefined var void while with yield".split(" "),
  ..."defineConfig files mysql pipeline process sqlite z".split(" "),
]);

export function configText(choices: Choices): string {
  const { name, answer, embedded, isFile, elsewhere } = choices;
  const variable = variableOf(name);
  const named = variable === name ? name : `${JSON.stringify(name)}: ${variable}`;
  const imports = [
    "defineConfig",
    isFile ? "files" : null,
    elsewhere?.call ?? null,
    "pipeline",
    answer === null ? null : "z",
  ]
    .filter((name) => name !== null)
    .join(", ");
  const database = embedded ? `database: "embedded", ` : "";
  const where = embedded ? "" : "// Connects to DATABASE_URL, from the environment or from .env next to this file.\n";
  const fields = answer === null ? "" : answerText(answer);
  return `import { ${imports} } from "rowmill";
${elsewhere === null ? "" : PROCESS}
const ${variable} = pipeline({
  source: ${sourceText(choices)},
  // Start a batch after this many rows, or after this long, whichever comes first.
  when: { rows: 1000, maxWait: "10m" },
  request: {
    model: ${JSON.stringify(choices.model)},
${messages(choices).join("\n")}
  },
${fields}  // Rowmill creates this table with a column for each field of the answer, and adds columns for new fields.
  target: ${targetText(choices)},
});

${where}export default defineConfig({ ${database}pipelines: { ${named} } });
`;
}

function variableOf(name: string): string {
  const word = name.replaceAll("-", "_");
  return TAKEN.has(word) ? `${word}_rows` : word;
}

/** Of the source. A longer one is written over several lines. */
const LINE_CHARACTERS_MAX = 85;

/** Your editor knows it only with the package @types/node. */
const PROCESS = "\ndeclare const process: { readonly env: Readonly<Record<string, string | undefined>> };\n";

function targetText({ elsewhere, target }: Choices): string {
  const table = `table: ${JSON.stringify(target)}, addColumns: true`;
  return elsewhere === null ? `{ ${table} }` : `${elsewhere.call}({ ${urlText(elsewhere)} ${table} })`;
}

function urlText({ variable }: Elsewhere): string {
  return `url: process.env[${JSON.stringify(variable)}],`;
}

function sourceText({ table, isFile, elsewhere, key, columns, cursor }: Choices): string {
  const list = (names: readonly string[]) => `[${names.map((name) => JSON.stringify(name)).join(", ")}]`;
  const keyText = `key: ${key.length === 1 ? JSON.stringify(key[0]) : list(key)},`;
  const where = [
    ...(elsewhere === null ? [] : [urlText(elsewhere)]),
    ...(isFile ? [] : [`table: ${JSON.stringify(table)},`]),
  ];
  const more = cursor === null ? [] : [`cursor: ${JSON.stringify(cursor)},`];
  const call = isFile ? `files(${JSON.stringify(table)}, ` : elsewhere === null ? "" : `${elsewhere.call}(`;
  const end = call === "" ? "" : ")";
  const line = [...where, keyText, `columns: ${list(columns)},`, ...more].join(" ").slice(0, -1);
  if (call.length + line.length <= LINE_CHARACTERS_MAX) return `${call}{ ${line} }${end}`;
  const names = ["columns: [", ...columns.map((name) => `  ${JSON.stringify(name)},`), "],"];
  return `${call}{\n${[...where, keyText, ...names, ...more].map((one) => `    ${one}\n`).join("")}  }${end}`;
}

function messages({ prompt, columns, asFunction }: Choices): string[] {
  if (/\{\{|\{%/.test(prompt)) return [`    user: ${JSON.stringify(prompt)},`];
  const user = asFunction ? functionText(columns) : JSON.stringify(templateText(columns));
  return [`    system: ${JSON.stringify(prompt)},`, `    user: ${user},`];
}

/** What a template does not read as a column: its literals and operators, and the row as a whole. */
const TEMPLATE_WORDS = new Set("empty nil null true false blank and or not contains row".split(" "));

export function templateText(columns: readonly string[]): string {
  const cell = (name: string) =>
    isWord(name) && !TEMPLATE_WORDS.has(name) ? `{{ ${name} }}` : `{{ row[${JSON.stringify(name)}] }}`;
  const [only] = columns;
  if (columns.length === 1 && only !== undefined) return cell(only);
  return columns.map((name) => `${withoutBraces(name)}: ${cell(name)}`).join("\n");
}

function functionText(columns: readonly string[]): string {
  const cell = (name: string) => (isWord(name) ? `row.${name}` : `row[${JSON.stringify(name)}]`);
  const [only] = columns;
  if (columns.length === 1 && only !== undefined) return `(row) => ${cell(only)}`;
  const lines = columns.map((name) => `${escaped(name)}: \${${cell(name)} ?? ""}`);
  return `(row) => \`${lines.join("\\n")}\``;
}

function escaped(text: string): string {
  return text.replaceAll(/[\\`$]/g, String.raw`\$&`);
}

function withoutBraces(name: string): string {
  return name.replaceAll(/[{}%]/g, " ");
}

function isWord(name: string): boolean {
  return /^[A-Za-z_][A-Za-z0-9_]*$/.test(name);
}

function answerText(fields: readonly AnswerFieldChoice[]): string {
  return `  answer: z.object({
${fields.map(({ name, zod }) => `    ${name}: ${zod},`).join("\n")}
  }),
`;
}

/** A pipeline's name made of a table's: a lower-case letter first, at most 40 characters. */
export function nameFor(table: string): string {
  const { name } = parseTableName(table) ?? { name: table };
  const plain = name.toLowerCase().replaceAll(/[^a-z0-9_-]+/g, "_");
  const letters = plain.replace(/^[^a-z]+/, "").slice(0, 40);
  return letters === "" ? "rows" : letters;
}

/** Room for the ending in PostgreSQL's 63 bytes. */
const TARGET_STEM_CHARACTERS_MAX = 40;

export function targetFor(table: string): string {
  const schema = parseTableName(table)?.schema ?? null;
  const stem = nameFor(table).replaceAll("-", "_").slice(0, TARGET_STEM_CHARACTERS_MAX);
  return writeTableName({ schema, name: `${stem}_answers` });
}

/** @throws ConfigError (`config_invalid`) in the name of `file`, where the text will stand. */
export async function checkConfigText(
  text: string,
  origin: { file: string; databaseUrl: string | null },
): Promise<ProjectConfig> {
  const folder = await mkdtemp(join(tmpdir(), "rowmill-init-"));
  try {
    const draft = join(folder, "rowmill.config.ts");
    await writeFile(draft, text, { mode: 0o600 });
    return validateConfig(await evaluateConfig(draft), { ...origin, language: "script" });
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}
