/** What the commands of the list are made of. */
import { Command, Option } from "commander";
import type { Cli } from "./cli.js";

export const JSON_OPTION = ["--json", "print one JSON object, for programs"] as const;
export const QUIET_OPTION = ["-q, --quiet", "hide progress; results, questions and problems still appear"] as const;
export const YES_OPTION = ["-y, --yes", "do not ask"] as const;

export const LOG_FORMAT = new Option(
  "--log-format <format>",
  "format of the messages on stderr: text, or a line of JSON each",
)
  .choices(["text", "json"])
  .default("text");

/** Of an option that can be repeated. */
export const collect = (text: string, before: readonly string[] = []) => [...before, text];

/** A command whose help ends with these examples. */
export function command(name: string, ...examples: readonly string[]): Command {
  const lines = examples.map((example) => `  rowmill ${example}`).join("\n");
  return new Command(name).addHelpText("after", `\n${examples.length === 1 ? "Example" : "Examples"}:\n${lines}`);
}

/** Loads the command when it runs. */
export function run<A extends unknown[]>(cli: Cli, load: () => Promise<(cli: Cli, ...args: A) => Promise<number>>) {
  return async (...args: A) => cli.finish(await (await load())(cli, ...args));
}
