import { PassThrough } from "node:stream";
import { expect, test, vi } from "vitest";
import { openLiveBoard } from "../../src/cli/screen/live/live-board.js";
import { briefLine } from "../../src/cli/screen/live/progress.js";

const rowsUp = (text: string): number => text.split("\u001b[1A").length - 1;

/** A terminal so wide, and what was written to it since it was last asked. */
async function openScreen(columns: number) {
  const stream = Object.assign(new PassThrough(), { columns, rows: 24 });
  const board = openLiveBoard(stream);
  const written = (): string => {
    let text = "";
    // Since Node 26 a read gives one chunk; before, all of them.
    for (let chunk: unknown; (chunk = stream.read()) !== null;) text += String(chunk);
    return text;
  };
  board.show(["first"]);
  await vi.waitFor(() => expect(stream.readableLength).toBeGreaterThan(0));
  written();
  return { stream, board, written };
}

test("lines that a narrower window broke into more rows are all drawn over", async () => {
  const { stream, board, written } = await openScreen(40);
  board.show(["a".repeat(40), "b".repeat(15)]);
  written();
  stream.columns = 15;
  board.show(["short"]);
  expect(rowsUp(written())).toBe(3 + 1);
});

test("lines that a shell wrote below are left alone after fg", async () => {
  const { board, written } = await openScreen(40);
  process.emit("SIGCONT");
  board.show(["second"]);
  const text = written();
  expect(text).toContain("second");
  expect(rowsUp(text)).toBe(0);
});

test("a line that does not fit is shown in fewer words, and its styles count for nothing", async () => {
  const { board, written } = await openScreen(12);
  board.show([["far too long for it", "brief enough"], "cut off at its end", "\u001b[1mtwelve chars\u001b[22m"]);
  const text = written();
  expect(text).toContain("brief enough\n");
  expect(text).toContain("cut off at …\n");
  expect(text).toContain("\u001b[1mtwelve chars\u001b[22m\n");
});

test("the brief line of a pipeline leaves out counts of nothing and most of a long name", () => {
  const none = { waiting: 0, batched: 0, succeeded: 0, failed: 0, batches: {}, failing: 0 };
  const films = { ...none, name: "films", batched: 1_000, batches: { running: 2 } };
  expect(briefLine(films, " | next check: 2 s")).toBe("films: 1,000 batched | 2 running | next check: 2 s");
  expect(briefLine({ ...films, failing: 1 }, " | next try: 9 s")).toBe(
    "films: 1,000 batched | 2 running (1 failing) | next try: 9 s",
  );
  const long = { ...none, name: "films_by_category_and_year", succeeded: 3, failed: 1 };
  expect(briefLine(long, "")).toBe("films_by_category_a…: 3 succeeded, 1 failed");
});
