import { expect, it } from "vitest";
import { reportError } from "../../src/cli/screen/report-error.js";
import { RowmillError } from "../../src/model/errors.js";
import { openTerminal, type Terminal } from "../../src/cli/screen/terminal.js";

it("An error without a message is reported too, and differs from the expected ones", () => {
  const notes: string[] = [];
  const terminal: Terminal = { ...openTerminal(), drawsOver: false, note: (text) => void notes.push(text) };
  reportError(terminal, Object.create(null));
  expect(notes).toEqual([
    "rowmill: unexpected error: an object without a message was thrown",
    expect.stringContaining("This is a bug in Rowmill."),
    "  an object without a message was thrown",
  ]);
});

it("A message of several lines is shown line by line, and what a stack quotes is indented", () => {
  const notes: string[] = [];
  const terminal: Terminal = {
    ...openTerminal(),
    drawsOver: false,
    debug: true,
    note: (text) => void notes.push(text),
  };
  const cause = new Error("from afar\nevil: ok");
  reportError(terminal, new RowmillError("refused", "No.", { lines: ["one", "two"], hints: ["Try."], cause }));
  expect(notes.slice(0, 4)).toEqual(["rowmill: No.", "  one", "  two", "  Hint: Try."]);
  expect(notes).toContain("  evil: ok");
});
