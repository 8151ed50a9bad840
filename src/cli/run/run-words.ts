/**
 * What the engine says of a pipeline, in the words of a run: the file instead of the pipeline's name, options instead
 * of keys of a config, and commands that can be pasted. Pure.
 */
import { basename } from "node:path";
import type { RunRecord } from "../../app/run/run-folder.js";
import { shownPath } from "./shown-path.js";

export type RunNames = Pick<RunRecord, "name" | "file" | "label" | "pipeline">;

/** `rowmill run films.csv`, with what tells this run from others of the file. */
export function runCommand({ file, label }: RunNames, isGlobal: boolean): string {
  const named = label === null ? "" : ` --name ${shownPath(label, "")}`;
  return `rowmill run ${shownPath(file)}${named}${isGlobal ? " --global" : ""}`;
}

type Words = (text: string) => string;
type Rule = readonly [RegExp, Words];

/** For texts about these runs. */
export function runWords(runs: readonly RunNames[], isGlobal: boolean): Words {
  const commands = runs.map((run) => runCommand(run, isGlobal));
  const [only = "rowmill run FILE", ...others] = commands;
  const rules = [
    ...runs.flatMap((run) => rulesOf(run, runCommand(run, isGlobal))),
    ...rulesOfAll(others.length === 0 ? only : "rowmill run FILE"),
  ];
  return (text) => rules.reduce((said, [found, instead]) => said.replace(found, instead), text);
}

/** What a command for a pipeline, with its last option, is for its file. */
const COMMANDS: Readonly<Record<string, (run: string, option: string | undefined) => string>> = {
  resume: (run, option) => (option === "--accept" ? `${run} --yes` : run),
  approve: (run) => `${run} --yes`,
  retry: (run) => `${run} --retry`,
  try: (run, option) => `${run} --try ${option?.replace("-n ", "") ?? "5"}`,
};

/** The first that a key begins with. */
const KEYS: readonly (readonly [string, string])[] = [
  ["request.maxOutputTokens", "--max-output-tokens"],
  ["request", "--prompt, --model or --answer"],
  ["source.columns", "--columns"],
  ["columns", "--columns"],
];

function rulesOf({ name, file, label, pipeline }: RunNames, run: string): readonly Rule[] {
  const title = label === null ? basename(file) : `${basename(file)} (${label})`;
  const found = (pattern: string, flags = "g") => new RegExp(pattern.replaceAll("NAME", name), flags);
  return [
    [found(String.raw`((?:again|Resume it): )rowmill resume NAME(?! --)`), (text) => `${before(text)}${run} --yes`],
    [
      found(String.raw`rowmill (?:${Object.keys(COMMANDS).join("|")}) NAME(?: --accept| --reason \w+| -n \d+)?`),
      (text) => {
        const [, verb = "", option] = /^rowmill (\w+) \S+(?: (.+))?$/.exec(text) ?? [];
        return COMMANDS[verb]?.(run, option) ?? text;
      },
    ],
    [
      found(String.raw`pipelines\.NAME\.\w+(?:\.\w+)*`),
      (text) => {
        const key = text.slice(`pipelines.${name}.`.length);
        if (pipeline !== null) return `pipelines.${pipeline}.${key}`;
        return KEYS.find(([begins]) => key.startsWith(begins))?.[1] ?? `${key} of the pipeline`;
      },
    ],
    // A cell of a table.
    [found(String.raw`(?<![\w-])NAME(?=  )`), () => title.padEnd(name.length)],
    // Other commands need the name as it is.
    [found(String.raw`(?<!rowmill \w+ )(?<![\w-])NAME(?![\w-])`), () => title],
  ];
}

/** Without the command at its end. */
function before(text: string): string {
  return text.slice(0, text.indexOf("rowmill "));
}

function rulesOfAll(run: string): readonly Rule[] {
  return [
    [/\bthe (?:previous )?config(?= changed\.| until\b)/, (text) => text.replace("config", "question")],
    [/, or lower request\.reasoningEffort|, describe its fields in answer, loosen answer or validate/, () => ""],
    [/\bchange request\.model\b/, () => "change --answer or --model"],
    [/\b(S|s)tart rowmill up(?: again)?/g, (text) => `${text.startsWith("S") ? "R" : "r"}un ${run}`],
    [/\browmill (?:up|sweep)(?: --yes)?(?![\w-])/g, () => run],
  ];
}
