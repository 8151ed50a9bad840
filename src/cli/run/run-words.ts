/**
 * What the engine says of a pipeline, in the words of a run: the file instead of the pipeline's name, options instead
 * of keys of a config, and commands that can be pasted. Pure.
 */
import { basename } from "node:path";
import type { RunRecord } from "../../app/run/run-folder.js";
import { shownPath } from "./shown-path.js";

export type RunNames = Pick<RunRecord, "name" | "file" | "label">;

/** `rowmill run films.csv`, with what tells this run from others of the file. */
export function runCommand({ file, label }: RunNames, isGlobal: boolean): string {
  const named = label === null ? "" : ` --name ${shownPath(label, "")}`;
  return `rowmill run ${shownPath(file)}${named}${isGlobal ? " --global" : ""}`;
}

type Words = (text: string) => string;

/** For each text about this run. */
export function runWords(names: RunNames, isGlobal: boolean): Words {
  const rules = rulesOf(names, runCommand(names, isGlobal));
  return (text) => rules.reduce((said, [found, instead]) => said.replace(found, instead), text);
}

function rulesOf({ name, file }: RunNames, command: string): readonly (readonly [RegExp, string])[] {
  // In a replacement `$` is special.
  const [run, title] = [command, basename(file)].map((text) => text.replaceAll("$", "$$$$"));
  const key = `pipelines\\.${name}`;
  return [
    [new RegExp(`^((?:[!✓✗] )?)${name}: `), `$1${title}: `],
    [/\bthe config changed\./, "the question changed."],
    [/\bto the previous config until\b/, "to the question before until"],
    [
      new RegExp(`Raise ${key}\\.request\\.maxOutputTokens.*?or lower request\\.reasoningEffort`),
      "Ask for shorter answers, with --prompt or --answer, or choose another --model",
    ],
    [new RegExp(`raise ${key}\\.request\\.maxOutputTokens`, "i"), "ask for shorter answers, with --prompt or --answer"],
    [
      /, describe its fields in answer, loosen answer or validate, or change request\.model/,
      ", or change --answer or --model",
    ],
    [new RegExp(`Change the messages or the model in ${key}\\.request`), "Change --prompt or --model"],
    [new RegExp(`, in ${key}\\.request or in the row\\.`), ", with --prompt or --model or in the line."],
    [new RegExp(`${key}\\.request(?:\\.user)?\\b`, "g"), "--prompt, --model or --answer"],
    [new RegExp(`${key}\\.(?:source\\.)?columns`, "g"), "--columns"],
    [new RegExp(`${key}\\.(\\w+)`, "g"), "$1 of the pipeline"],
    [/, and start rowmill up again\./g, `. Then: ${run}.`],
    [/\bthen restart the worker: rowmill up\b/i, `Then: ${run}`],
    [/\bstart rowmill up(?: again)?/g, `run ${run}`],
    [/\bIf this many failures are normal:/, "To continue all the same, and let such lines fail:"],
    [new RegExp(`To try again unchanged: rowmill resume ${name}\\.? ?`), ""],
    [new RegExp(`rowmill resume ${name} --accept`, "g"), `${run} --yes`],
    [new RegExp(`(costs money again: |create it again: |Resume it: )rowmill resume ${name}`, "g"), `$1${run} --yes`],
    [new RegExp(`rowmill resume ${name}`, "g"), run],
    [new RegExp(`rowmill approve ${name}`, "g"), `${run} --yes`],
    [new RegExp(`rowmill retry ${name}(?: --reason \\w+)?`, "g"), `${run} --retry`],
    [new RegExp(`rowmill try ${name} -n (\\d+)`, "g"), `${run} --try $1`],
    [new RegExp(`rowmill try ${name}`, "g"), `${run} --try 5`],
    [/\browmill (?:up|sweep)(?: --yes)?(?![\w-])/g, run],
    // Other commands need the name as it is.
    [new RegExp(`(?<!rowmill \\w+ )(?<![\\w-])${name}(?![\\w-])`, "g"), title],
  ] as [RegExp, string][];
}
