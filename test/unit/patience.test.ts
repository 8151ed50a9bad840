import { expect, test } from "vitest";
import { patience, WAIT_MS_MAX } from "../../src/cli/screen/patience.js";
import { openTerminal } from "../../src/cli/screen/terminal.js";
import { explainDatabaseError } from "../../src/postgres/database.js";

test("A database that is away is waited for as long as is said, whatever of that the tries take themselves", async () => {
  const notes: string[] = [];
  const terminal = { ...openTerminal(), note: (text: string) => void notes.push(text) };
  const tryMs = 0.6 * WAIT_MS_MAX;
  let nowMs = 0;
  let tries = 0;
  const patient = patience(terminal, new AbortController().signal, () => nowMs);
  const failing = patient(() => {
    tries += 1;
    nowMs += tryMs;
    return Promise.reject(explainDatabaseError(new Error("Connection terminated due to connection timeout")));
  });
  await expect(failing).rejects.toThrow("Connection terminated");
  expect(tries).toBe(2);
  expect(notes.at(-1)).toContain("Waiting up to 10 minutes for the database.");
});
