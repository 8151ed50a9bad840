/** What commands are built of: their examples, how they start, and options that many of them have. */
import { Command, Option } from "commander";
import type { Cli } from "./cli.js";

export const JSON_OPTION = ["--json", "print one JSON object, for programs"] as const;
export const QUIET_OPTION = ["-q, --quiet", "hide progress; results, questions and problems still appear"] as const;
export const YES_OPTION = ["-y, --yes", "do not ask"] as const;

export const LOG_FORMAT = new Option(
  "--log-format <format>",
  "what stderr gets: text, or a line of JSON for each message",
)
  .choices(["text", "json"])
  .default("text");

/** A command whose help ends with these examples. */
export function command(name: string, ...examples: readonly string[]): Command {
  const lines = examples.map((example) => `  rowmill ${example}`).join("\n");
  return new Command(name).addHelpText("after", `\n${examples.length === 1 ? "Example" : "Examples"}:\n${lines}`);
}

/** Loads the command when it runs. */
export function run<A extends unknown[]>(cli: Cli, load: () => Promise<(cli: Cli, ...args: A) => Promise<number>>) {
  return async (...args: A) => cli.finish(await (await load())(cli, ...args));
}
