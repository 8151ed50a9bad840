import { readFile } from "node:fs/promises";
import { resolve } from "node:path";
import type { Command } from "commander";
import { describe, expect, it } from "vitest";
import { EXIT_STATUS } from "../../src/cli/screen/exit-status.js";
import { buildProgram } from "../../src/cli/program.js";
import { openTerminal } from "../../src/cli/screen/terminal.js";

const guide = await readFile(resolve(import.meta.dirname, "../../docs/cli.md"), "utf8");
const program = buildProgram({ terminal: openTerminal(), finish: () => undefined });

/** The text below a heading, up to the next one of the same depth. */
function section(heading: string): string {
  const from = guide.indexOf(`\n${heading}\n`);
  const depth = heading.split(" ")[0] ?? "";
  const to = guide.indexOf(`\n${depth} `, from + 1);
  return from < 0 ? "" : guide.slice(from, to < 0 ? undefined : to);
}

/** The first column of a table of options. */
function optionsIn(text: string): string[] {
  return [...text.matchAll(/^\| `(-[^`]+)`/gm)].map(([, flags = ""]) => flags);
}

function usage(command: Command): string {
  const parts = command.registeredArguments.map((argument) => {
    const name = `${argument.name().toUpperCase()}${argument.variadic ? "…" : ""}`;
    return argument.required ? name : `[${name}]`;
  });
  return ["rowmill", command.name(), ...parts].join(" ");
}

describe("docs/cli.md", () => {
  it("has a section for every command, and for no other", () => {
    const described = [...guide.matchAll(/^### `(.+)`$/gm)].map((match) => match[1] ?? "");
    expect(described.toSorted()).toEqual(program.commands.map(usage).toSorted());
  });

  const common = optionsIn(section("## Common options"));

  it("lists the common options once", () => {
    expect(common).toEqual(["-c, --config <file>", "--log-level <level>"]);
  });

  it.each(program.commands.map((command) => [command.name(), command] as const))(
    "lists the options of %s, and no others",
    (_, command) => {
      const own = command.options.map((option) => option.flags).filter((flags) => !common.includes(flags));
      expect(optionsIn(section(`### \`${usage(command)}\``)).toSorted()).toEqual(own.toSorted());
    },
  );

  it("names the commands without --config", () => {
    const without = program.commands.filter(({ options }) => !options.some(({ long }) => long === "--config"));
    const names = without.map((command) => `\`${command.name()}\``);
    expect(section("## Common options")).toContain(`${names.slice(0, -1).join(", ")} and ${names.at(-1)} have no`);
  });

  it("has every exit status of ours", () => {
    const listed = [...section("## Exit statuses").matchAll(/^\| (\d+) /gm)].map((match) => Number(match[1]));
    expect(listed).toEqual([...Object.values(EXIT_STATUS), 130, 143]);
  });
});
