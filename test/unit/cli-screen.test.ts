import { afterEach, describe, expect, it, vi } from "vitest";
import { reportLines } from "../../src/cli/commands/start/doctor.js";
import { buildProgram } from "../../src/cli/program.js";
import { failureLines } from "../../src/cli/commands/inspect/failures.js";
import { invocationOf, layOut, spellCommands } from "../../src/cli/screen/lay-out.js";
import { reportError } from "../../src/cli/screen/report-error.js";
import { withSpinner } from "../../src/cli/screen/live/live-board.js";
import { openTerminal, type Terminal } from "../../src/cli/screen/terminal.js";
import { RowmillError } from "../../src/model/errors.js";
import { fixOf } from "../../src/model/words/failure-fixes.js";

const COLUMNS = 60;
const GREEN = "\u001b[32m";

afterEach(() => {
  vi.restoreAllMocks();
  vi.unstubAllEnvs();
});

/** A terminal of this width, and what is written to it. */
function openScreen(columns: number, isTTY = true): { terminal: Terminal; text(): string } {
  let text = "";
  const streams = [process.stdout, process.stderr];
  const kept = streams.map(({ isTTY: was, columns: wide }) => ({ isTTY: was, columns: wide }));
  for (const stream of streams) {
    Object.assign(stream, { isTTY, columns });
    vi.spyOn(stream, "write").mockImplementation((written) => {
      text += String(written);
      return true;
    });
  }
  vi.stubEnv("TERM", "xterm");
  const terminal = openTerminal();
  const widths = streams.map((stream, index) => () => Object.assign(stream, kept[index]));
  screens.push(() => widths.forEach((restore) => restore()));
  return { terminal, text: () => text };
}

const screens: (() => void)[] = [];
afterEach(() => screens.splice(0).forEach((restore) => restore()));

/** Words that no line may be broken in, and the lines that are longer than the terminal without having to be. */
function broken(text: string, words: readonly string[]): readonly string[] {
  const lines = text.split("\n");
  const lost = words.filter((word) => !lines.some((line) => line.includes(word)));
  const tooLong = lines.filter((line) => line.length > COLUMNS && line.trim().includes(" "));
  return [...lost, ...tooLong];
}

const name = "a_pipeline_with_a_name_of_forty_characters";
const message = `The target of ${name} cannot hold every answer, because its column categories_of_films is too short.`;
const command = "rowmill doctor --config config/production.rowmill.config.ts";

describe("On a terminal of 60 columns, no word is broken and no line is too long", () => {
  const { commands } = buildProgram({ terminal: openTerminal(), finish: () => undefined });

  it.each(["", ...commands.map((each) => each.name())])("in the help of rowmill %s", (asked) => {
    const screen = openScreen(COLUMNS);
    const program = buildProgram({ terminal: screen.terminal, finish: () => undefined });
    const meant = program.commands.find((each) => each.name() === asked) ?? program;
    expect(() => meant.parse(["--help"], { from: "user" })).toThrow("(outputHelp)");
    const words = [program, ...program.commands].includes(meant)
      ? meant.options.filter((option) => !option.hidden).map((option) => option.long ?? "")
      : [];
    expect(broken(screen.text(), [...words, "Common options:"])).toEqual([]);
    expect(screen.text().lastIndexOf("Common options:")).toBeGreaterThan(screen.text().indexOf("Usage:"));
  });

  it("in the hints of a wrong command, which are commands as the reader types them", () => {
    const screen = openScreen(COLUMNS);
    const program = buildProgram({ terminal: screen.terminal, finish: () => undefined });
    expect(() => program.parse(["upp"], { from: "user" })).toThrow("unknown command");
    expect(screen.terminal.commands).toEqual([...commands.map((each) => each.name()), "help"]);
    const { commands: names } = screen.terminal;
    for (const hint of ["rowmill --help", "rowmill help COMMAND", "rowmill help deployment"]) {
      expect(spellCommands(hint, "npx rowmill", names)).toBe(`npx ${hint}`);
      expect(
        layOut(`  Hint: ${"x".repeat(COLUMNS - 12)} ${hint}`, COLUMNS)
          .at(-1)
          ?.trim(),
      ).toBe(hint);
    }
    expect(screen.text()).toMatch(/See all commands: (?:npx )?rowmill --help/);
  });

  it("in an error with a hint, whose command stays on one line", () => {
    const screen = openScreen(COLUMNS);
    reportError(screen.terminal, new RowmillError("refused", message, { hints: [`To see all of them: ${command}`] }));
    expect(broken(screen.text().replaceAll(/\u001b\[\d+m/g, ""), [name, "categories_of_films"])).toEqual([]);
    expect(layOut(`  Hint: To see more: rowmill show ${name.slice(0, 30)} 42`, COLUMNS)).toEqual([
      "  Hint: To see more:",
      "    rowmill show a_pipeline_with_a_name_of_fort 42",
    ]);
  });

  it("in the report of the doctor", () => {
    const screen = openScreen(COLUMNS);
    const finding = {
      level: "problem",
      text: message,
      fixes: [`Fix it: ${command}`],
      sql: [],
      stops: true,
    } as const;
    const check = {
      id: "x",
      group: "Tables",
      title: "Target",
      needs: [],
      otherwise: "",
      run: async () => [],
    } as const;
    for (const line of reportLines([{ check, findings: [finding] }], screen.terminal)) screen.terminal.print(line);
    expect(broken(screen.text().replaceAll(/\u001b\[\d+m/g, ""), [name])).toEqual([]);
  });

  it("in failures, and in the text of a row", () => {
    const screen = openScreen(COLUMNS);
    const failure = { pipeline: name, reason: "unwritable", rows: 12, kept: 1, key: "42", message } as const;
    const fix = fixOf("unwritable", { name });
    for (const line of failureLines({ ...failure, fix, retryNanoUsd: 1_200_000 }, screen.terminal))
      screen.terminal.print(line);
    screen.terminal.quote(`  description  ${message}`);
    expect(broken(screen.text().replaceAll(/\u001b\[\d+m/g, ""), [name])).toEqual([]);
  });
});

describe("What the CLI prints", () => {
  it("has its sign in color on a terminal, without a color where NO_COLOR is set, and none in a file", () => {
    vi.stubEnv("NO_COLOR", "");
    const colored = openScreen(COLUMNS);
    colored.terminal.print("✓ done");
    expect(colored.text()).toBe(`${GREEN}✓\u001b[39m done\n`);
    vi.stubEnv("NO_COLOR", "1");
    const plain = openScreen(COLUMNS);
    plain.terminal.print("✓ done");
    expect(plain.text()).toBe("✓ done\n");
    const file = openScreen(COLUMNS, false);
    file.terminal.print("✓ done");
    expect(file.text()).toBe("done\n");
  });

  it("never breaks a line for a program, and gives a time as a date where no terminal shows it", () => {
    const screen = openScreen(COLUMNS);
    const json = JSON.stringify({ message, more: `${message}   ${message}` });
    screen.terminal.data(json);
    expect(screen.text()).toBe(`${json}\n`);
    expect(screen.terminal.ago(new Date(Date.now() - 180_000))).toBe("3 min ago");
    expect(openScreen(COLUMNS, false).terminal.ago(new Date())).toBeNull();
  });

  it.each([
    ["a global install", "/usr/bin/rowmill", {}, "rowmill"],
    ["a global install of another folder", "/usr/lib/node_modules/rowmill/dist/cli/main.js", {}, "rowmill"],
    ["a checkout, even below npx", "/src/rowmill/dist/cli/main.js", { npm_command: "exec" }, "rowmill"],
    ["a project's node_modules/.bin", "/srv/app/node_modules/.bin/rowmill", {}, "npx rowmill"],
    ["a project's package", "/srv/app/node_modules/rowmill/dist/cli/main.js", {}, "npx rowmill"],
    ["npx, from its cache", "/root/.npm/_npx/1f/node_modules/.bin/rowmill", { npm_command: "exec" }, "npx rowmill"],
    ["npx, with a global install", "/usr/bin/rowmill", { npm_command: "exec" }, "npx rowmill"],
  ])("names commands as they are started from %s", (_, script, env, expected) => {
    expect(invocationOf(script, { cwd: "/srv/app/packages/web", env })).toBe(expected);
  });

  it("spells every command in a text, and leaves paths and schemas alone", () => {
    const text =
      "Fix it: rowmill up. See rowmill status; the schema rowmill and docs/rowmill up stay, npx rowmill up too.";
    expect(spellCommands(text, "npx rowmill", ["up", "status"])).toBe(
      "Fix it: npx rowmill up. See npx rowmill status; the schema rowmill and docs/rowmill up stay, npx rowmill up too.",
    );
    expect(spellCommands(text, "rowmill", ["up"])).toBe(text);
    const hint = "See all commands: rowmill --help, or rowmill help COMMAND. Usage: rowmill COMMAND; rowmill --helped";
    expect(spellCommands(hint, "npx rowmill", ["up", "help"])).toBe(
      "See all commands: npx rowmill --help, or npx rowmill help COMMAND. Usage: npx rowmill COMMAND; rowmill --helped",
    );
  });

  it("shows a spinner only for work that takes longer than 300 ms, and takes it away", async () => {
    vi.useFakeTimers();
    const shown: string[] = [];
    const board = {
      show: (lines: readonly unknown[]) => void shown.push(lines.join()),
      clear: () => undefined,
    };
    await withSpinner(board, "Checking", async () => vi.advanceTimersByTimeAsync(290));
    expect(shown).toEqual([""]);
    await withSpinner(board, "Checking", async () => vi.advanceTimersByTimeAsync(2_500));
    expect(shown).toContainEqual(expect.stringMatching(/^. Checking …$/));
    expect(shown).toContainEqual(expect.stringMatching(/^. Checking … 2 s$/));
    expect(shown.at(-1)).toBe("");
    vi.useRealTimers();
  });
});
