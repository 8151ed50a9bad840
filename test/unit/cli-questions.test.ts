import { once } from "node:events";
import { syncBuiltinESMExports } from "node:module";
import { PassThrough } from "node:stream";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { askText, askYesNo } from "../../src/cli/screen/ask.js";
import { Interrupted } from "../../src/cli/screen/interruption.js";

const CTRL_D = "\u0004";
const SHOW_CURSOR = "\u001b[?25h";

/** Keys come from here, as from a terminal in raw mode. */
let keyboard: PassThrough;
let screen: string;
const stdin = Object.getOwnPropertyDescriptor(process, "stdin");

beforeEach(() => {
  keyboard = Object.assign(new PassThrough(), { isTTY: true, setRawMode: () => keyboard });
  Object.defineProperty(process, "stdin", { configurable: true, value: keyboard });
  syncBuiltinESMExports();
  screen = "";
  vi.spyOn(process.stderr, "write").mockImplementation((text) => {
    screen += String(text);
    return true;
  });
});

afterEach(() => {
  vi.restoreAllMocks();
  if (stdin !== undefined) Object.defineProperty(process, "stdin", stdin);
  syncBuiltinESMExports();
});

async function press(...keys: string[]): Promise<void> {
  if (keyboard.listenerCount("keypress") === 0)
    await vi.waitFor(() => expect(keyboard.listenerCount("keypress")).toBeGreaterThan(1));
  for (const key of keys) {
    const pressed = once(keyboard, "keypress");
    keyboard.write(key);
    await pressed;
  }
}

test("Ctrl-D ends a question of yes or no as Ctrl-C does, and the cursor is seen again", async () => {
  const ended = askYesNo("Spend it?").catch((error: unknown) => error);
  await press(CTRL_D);
  expect(await ended).toBeInstanceOf(Interrupted);
  expect(screen).toContain(SHOW_CURSOR);
});

test("Ctrl-D ends a question for a text, also behind what was typed", async () => {
  for (const typed of [[], ["a", "b"]]) {
    const ended = askText("Which model?").catch((error: unknown) => error);
    await press(...typed, CTRL_D);
    expect(await ended).toBeInstanceOf(Interrupted);
  }
});

test("a question that was answered writes nothing when the command is stopped later", async () => {
  const stop = new AbortController();
  const answer = askYesNo("Spend it?", stop.signal);
  await press("y");
  expect(await answer).toBe(true);
  screen = "";
  stop.abort();
  expect(screen).toBe("");
});

test("a command that is stopped while it asks has its question taken back", async () => {
  const stop = new AbortController();
  const reason = new Interrupted("SIGTERM");
  const ended = askYesNo("Spend it?", stop.signal).catch((error: unknown) => error);
  await vi.waitFor(() => expect(screen).toContain("Spend it?"));
  stop.abort(reason);
  expect(await ended).toBe(reason);
});

test("what a question suggests and what it says of an answer cannot steer the terminal", async () => {
  const attack = "x\u001b[2J\u202e\u3164";
  const ended = askText("Which table?", {
    initial: attack,
    check: (text) => `no table ${text}${attack}`,
  }).catch((error: unknown) => error);
  await press("\r");
  await vi.waitFor(() => expect(screen).toContain("no table"));
  await press(CTRL_D);
  await ended;
  for (const unsafe of ["\u001b[2J", "\u202e", "\u3164"]) expect(screen).not.toContain(unsafe);
  expect(screen).toContain("x\\x1b[2J\\u202e\\u3164");
});

test("a suggestion that is accepted as it is shown is what was suggested", async () => {
  const answer = askText("Which table?", {
    initial: "my\u00a0table",
    check: (text) => (text === "my\u00a0table" ? null : "another table"),
  });
  await press("\r");
  expect(await answer).toBe("my\u00a0table");
  expect(screen).toContain("my\\u00a0table");
});
