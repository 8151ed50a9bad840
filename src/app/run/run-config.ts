/** Makes the config of a run: one pipeline from a file to a table next to it, as if you had written it. */
import { stat } from "node:fs/promises";
import { answerSchema } from "../init/answer-fields.js";
import { templateText } from "../init/config-text.js";
import { validateConfig } from "../../config/read/validate.js";
import { contentKeyName, promptNames, type RowShape } from "../../connectors/files/file-row.js";
import { fileSource, type FileFollower } from "../../connectors/files/source.js";
import type { FileLook } from "../../files/file-types.js";
import { RowmillError } from "../../model/errors.js";
import type { PipelineConfig, ProjectConfig } from "../../model/pipeline.js";
import { templateColumns, templateProblems } from "../../model/request/template.js";
import { answersOf, configFileOf, type RunRecord } from "./run-folder.js";

const WEEK_MS = 7 * 86_400_000;

export { promptNames, type RowShape };

export interface RunFile {
  readonly look: FileLook;
  /** Changes when the file does. */
  readonly identity: string;
  readonly limit: number | null;
  /** Null: no one counts what is read. */
  readonly reading: FileFollower | null;
}

/** What tells the file as it is now from what it was. */
export async function identityOf(path: string): Promise<string> {
  const { size, mtimeMs, ino } = await stat(path);
  return `${size} ${mtimeMs} ${ino}`;
}

/** A prompt with columns is the whole message; any other says what to do with the columns. */
export function messagesOf(
  { prompt, columns }: Pick<RunRecord, "prompt" | "columns">,
  names: ReadonlyMap<string, string>,
): { readonly system?: string; readonly user: string; readonly columns: readonly string[] } {
  const text = prompt ?? "";
  const all = [...names.keys()];
  if (!/\{\{|\{%/.test(text)) {
    const shown = columns === null ? all : columnsNamed(columns, names, "--columns");
    return { system: text, user: templateText(shown), columns: shown };
  }
  const [problem] = templateProblems(text, all);
  if (problem !== undefined) {
    const said = problem.replace("which is not a declared column", "which the file does not have");
    throw new RowmillError("usage", `--prompt: ${said.replace(/; the columns are: .*/, ".")}`, {
      hints: [columnsText(names)],
    });
  }
  const named = templateColumns(text) ?? all;
  if (named.length > 0) return { user: text, columns: named };
  throw new RowmillError("usage", "--prompt names no column, so every line would be the same question.", {
    hints: [`Name one, as in {{ ${all[0] ?? "column"} }}`],
  });
}

/** As prompts call them. @throws RowmillError `usage` */
function columnsNamed(given: readonly string[], names: ReadonlyMap<string, string>, option: string): readonly string[] {
  return given.map((text) => {
    const found = names.has(text) ? text : [...names].find(([, column]) => column === text)?.[0];
    if (found !== undefined) return found;
    throw new RowmillError("usage", `${option}: the file has no column ${JSON.stringify(text)}.`, {
      hints: [columnsText(names)],
    });
  });
}

const NAME_CHARACTERS = 40;

function columnsText(names: ReadonlyMap<string, string>): string {
  const shown = [...names].map(([name, column]) => shownName(name, column));
  return `Its columns: ${shown.join(", ")}`;
}

/** `column_3 (How satisfied are you with …)` where it has another name in prompts than in the file. */
export function shownName(name: string, column: string): string {
  return name === column ? name : `${name} (${column.slice(0, NAME_CHARACTERS)}…)`;
}

/** @throws RowmillError `usage` for a column that the file does not have */
export function shapeFor(record: RunRecord, { columns: all }: FileLook, theirs: PipelineConfig | null): RowShape {
  const names = promptNames(all);
  const [key = null] = record.key === null ? [] : columnsNamed([record.key], names, "--key");
  const columns =
    theirs === null
      ? messagesOf(record, names).columns
      : columnsNamed(theirs.source.columns, names, `--pipeline ${theirs.name}`);
  const keyColumn = key === null ? null : (names.get(key) ?? key);
  return { keyColumn, key: key ?? contentKeyName(all), columns, names };
}

/** A project of one pipeline. `theirs`: of the config that has its request and answer. @throws RowmillError */
export function runConfig(
  folder: string,
  record: RunRecord,
  file: RunFile,
  {
    theirs,
    shape,
    polling,
    approveAboveUsd,
  }: {
    readonly theirs: PipelineConfig | null;
    readonly shape: RowShape;
    readonly polling?: { readonly min: string; readonly max: string };
    readonly approveAboveUsd?: number;
  },
): { readonly config: ProjectConfig; readonly pipeline: PipelineConfig } {
  const messages = theirs === null ? messagesOf(record, shape.names) : null;
  const { columns } = shape;
  const connector = fileSource({ path: record.file, shape, ...file, look: () => Promise.resolve(file.look) });
  const spec = {
    source: { elsewhere: connector, key: shape.key, columns, every: "7d", fullEvery: "30d", onGone: "keepAnswer" },
    request: {
      model: record.model ?? "",
      ...(messages?.system === undefined ? {} : { system: messages.system }),
      user: messages?.user ?? "",
      ...(record.maxOutputTokens === undefined ? {} : { maxOutputTokens: record.maxOutputTokens }),
    },
    ...answerOf(record),
    target: { table: answersOf(record.name), addColumns: true },
    ...(polling === undefined ? {} : { polling }),
    ...(approveAboveUsd === undefined ? {} : { approveAboveUsd }),
  };
  const given = theirs === null ? spec : { ...spec, request: { model: "-", user: "-" } };
  const origin = { file: configFileOf(folder), language: "script", databaseUrl: null } as const;
  const config = validateConfig({ database: "embedded", pipelines: { [record.name]: given } }, origin);
  const [read] = config.pipelines;
  if (read === undefined) throw new RowmillError("internal", "The config of a run has no pipeline.");
  const pipeline = withTheirs(atOnce(read), theirs);
  return { config: { ...config, pipelines: [pipeline] }, pipeline };
}

function answerOf({ answer }: RunRecord): { readonly answer?: unknown } {
  const schema = answer === null ? null : answerSchema(answer);
  return schema === null ? {} : { answer: schema };
}

/** A file is read as a whole at one moment: what is not in it is gone. */
function atOnce(read: PipelineConfig): PipelineConfig {
  const { replica } = read.source;
  const sync = replica?.sync;
  if (replica === null || sync == null) return read;
  return {
    ...read,
    source: { ...read.source, replica: { ...replica, sync: { ...sync, everyMs: WEEK_MS, goneAtOnce: true } } },
  };
}

function withTheirs(own: PipelineConfig, theirs: PipelineConfig | null): PipelineConfig {
  if (theirs === null) return own;
  const { name, source, target, polling, approveAboveUsd } = own;
  return {
    ...theirs,
    name,
    source,
    target,
    polling,
    approveAboveUsd: Math.min(approveAboveUsd, theirs.approveAboveUsd),
    limit: null,
  };
}
