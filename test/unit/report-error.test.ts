import { expect, it } from "vitest";
import { reportError } from "../../src/cli/report-error.js";
import { openTerminal, type Terminal } from "../../src/cli/terminal.js";

it("An error that has no words is told too, and told from the expected ones", () => {
  const notes: string[] = [];
  const terminal: Terminal = { ...openTerminal(), note: (text) => void notes.push(text) };
  reportError(terminal, Object.create(null));
  expect(notes).toEqual([
    "rowmill: unexpected error: an object without a message was thrown",
    expect.stringContaining("This is a mistake in Rowmill."),
    "an object without a message was thrown",
  ]);
});
