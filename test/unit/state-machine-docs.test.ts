import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import {
  BATCH_BEGINNINGS,
  BATCH_EVENTS,
  BATCH_STATES,
  BATCH_TRANSITIONS,
} from "../../src/model/batch/batch-transitions.js";
import { BATCH_PHASES, HELD_PHASES } from "../../src/model/batch/holding.js";
import { REQUEST_EVENTS, REQUEST_STATES, REQUEST_TRANSITIONS } from "../../src/model/request/request-transitions.js";
import type { AttemptOutcome } from "../../src/model/words/what-next.js";
import { whatNext } from "../../src/model/words/what-next.js";

const repository = join(import.meta.dirname, "../..");
const page = await readFile(join(repository, "docs/internals/state-machine.md"), "utf8");

type Table = Readonly<Record<string, Readonly<Record<string, string>>>>;

const spellings: Readonly<Record<string, string>> = { "–": "keep", "×": "impossible", back: "restore" };

/** The cells of the first table after a mark, as text. */
function cellsAfter(mark: string): string[][] {
  const [, after = ""] = page.split(`<!-- ${mark} -->\n\n`);
  const [table = ""] = after.split("\n\n");
  const lines = table.split("\n").filter((line) => line.startsWith("|"));
  return lines
    .filter((line) => !line.startsWith("| ---"))
    .map((line) =>
      line
        .slice(1, -1)
        .split("|")
        .map((cell) => cell.trim()),
    );
}

/** Event → state → move, as the page says. */
function tableOf(mark: string): Table {
  const [[, ...states] = [], ...rows] = cellsAfter(mark);
  return Object.fromEntries(
    rows.map(([event = "", ...moves]) => [
      event.replaceAll("`", ""),
      Object.fromEntries(states.map((state, index) => [state, spelt(moves[index] ?? "")])),
    ]),
  );
}

function spelt(cell: string): string {
  return spellings[cell] ?? cell;
}

/** The words in backticks in the first column of the table under this header. */
function firstColumn(header: RegExp, within = page): string[] {
  const lines = within.slice(within.search(header)).split("\n");
  const end = lines.findIndex((line) => !line.startsWith("|"));
  const cells = lines.slice(2, end).map((line) => line.split("|")[1] ?? "");
  return cells.flatMap((cell) => [...cell.matchAll(/`(\w+)`/g)].map((match) => match[1] ?? ""));
}

describe("docs/internals/state-machine.md", () => {
  it("has the requests' table as the code has it, and no cell more", () => {
    const fromCode = Object.fromEntries(
      REQUEST_EVENTS.map((event) => [
        event,
        Object.fromEntries(REQUEST_STATES.map((state) => [state, REQUEST_TRANSITIONS[state][event]])),
      ]),
    );
    expect(tableOf("requests")).toEqual(fromCode);
  });

  it("has the batches' table as the code has it, and no cell more", () => {
    const fromCode = Object.fromEntries(
      BATCH_EVENTS.map((event) => [
        event,
        Object.fromEntries(BATCH_STATES.map((state) => [state, BATCH_TRANSITIONS[state][event]])),
      ]),
    );
    expect(tableOf("batches")).toEqual(fromCode);
  });

  it("has how batches begin as the code has it", () => {
    const rows = cellsAfter("beginnings").slice(1);
    const fromPage = Object.fromEntries(rows.map(([name = "", state]) => [name.replaceAll("`", ""), state]));
    expect(fromPage).toEqual(BATCH_BEGINNINGS);
  });

  it("has what each pause holds back as the code has it, and no cell more", () => {
    const [[, ...phases] = [], ...rows] = cellsAfter("pauses");
    expect(phases).toEqual([...BATCH_PHASES]);
    const fromPage = rows.map(([reason = "", ...marks]) => [
      reason.replaceAll("`", ""),
      phases.filter((_, index) => marks[index] === "×"),
    ]);
    expect(rows.flatMap(([, ...marks]) => marks).filter((mark) => !/^[×✓]$/.test(mark))).toEqual([]);
    expect(Object.fromEntries(fromPage)).toEqual(HELD_PHASES);
  });

  it("explains every state and every event", () => {
    expect(firstColumn(/\| state +\| meaning +\|/)).toEqual([...REQUEST_STATES]);
    expect(firstColumn(/\| state +\| meaning, and/)).toEqual([...BATCH_STATES]);
    expect(firstColumn(/\| event +\| it happens when/)).toEqual([...REQUEST_EVENTS]);
    const batches = page.slice(page.indexOf("\n## Batches\n"));
    expect(firstColumn(/\| event +\| it happens when/, batches)).toEqual([...BATCH_EVENTS]);
  });

  it("groups every outcome of an attempt, each once, as whatNext treats it", () => {
    const rows = page
      .slice(page.search(/\| outcome +\| caused by/))
      .split("\n")
      .slice(2);
    const policy = { triesMax: 3, baseDelayMs: 1_000, moreRoom: false };
    const groups = rows
      .slice(
        0,
        rows.findIndex((row) => !row.startsWith("|")),
      )
      .map((row) => {
        const [, outcomes = "", , ending = ""] = row.split("|");
        return { outcomes: [...outcomes.matchAll(/`(\w+)`/g)].map((match) => match[1] ?? ""), ending };
      });
    const named = groups.flatMap(({ outcomes }) => outcomes);
    expect(named.toSorted()).toEqual([...outcomeNames].toSorted());
    for (const { outcomes, ending } of groups) {
      for (const outcome of outcomes.filter((name) => isOutcome(name))) {
        const next = whatNext(outcome, { tries: 0, returns: 0 }, policy, 0.5);
        expect(ending.includes("with back-off")).toBe(next.delayMs > 0);
        expect(ending.trim().startsWith("`failed`")).toBe(next.ending === "failed");
      }
    }
  });

  it("names bounds that stand in the code with these values", async () => {
    const inProse = [...page.matchAll(/`([A-Z_]+)` =\s+(\d+)[^|`]*?\sin\s+`(src\/[\w./-]+)`/g)];
    const inTables = [...page.matchAll(/\| ([\d,]+ ?[A-Za-z]*) +\| `([A-Z_]+)` in `(src\/[\w./-]+)` +\|/g)];
    const bounds = [
      ...inProse.map(([, name = "", value = "", file = ""]) => ({ name, value, file })),
      ...inTables.map(([, value = "", name = "", file = ""]) => ({ name, value, file })),
    ];
    expect(bounds.length).toBeGreaterThan(100);
    for (const { name, value, file } of bounds) {
      const source = await readFile(join(repository, file), "utf8");
      const written = new RegExp(`const ${name}(?:: \\w+)? = ([^;]+);`).exec(source)?.[1] ?? "missing";
      expect(`${name} = ${product(written)} in ${file}`).toBe(`${name} = ${inUnits(value)} in ${file}`);
    }
  });

  it("links only to headings that it has", () => {
    const headings = [...page.matchAll(/^## (.+)$/gm)].map(([, title = ""]) =>
      title
        .toLowerCase()
        .replaceAll(/[^\w -]/g, "")
        .replaceAll(" ", "-"),
    );
    const links = [...page.matchAll(/\]\(#([\w-]+)\)/g)].map(([, anchor = ""]) => anchor);
    expect(links.length).toBeGreaterThan(8);
    expect(links.filter((anchor) => !headings.includes(anchor))).toEqual([]);
  });
});

/** In milliseconds or bytes. Constants in seconds and hours are spelled with the whole word, and are as they stand. */
const UNITS: Readonly<Record<string, number>> = { s: 1_000, min: 60_000, h: 3_600_000, MiB: 1_048_576 };

/** `1,000` or `5 min` as the constant has it. */
function inUnits(value: string): number {
  const [count = "", unit = ""] = value.split(" ");
  return Number(count.replaceAll(",", "")) * (UNITS[unit] ?? 1);
}

/** `5 * 60_000` as a number. */
function product(text: string): number {
  return text.split("*").reduce((result, factor) => result * Number(factor.replaceAll("_", "")), 1);
}

/** A name for each outcome, so that a new one does not compile before it stands here. */
const everyOutcome: Readonly<Record<AttemptOutcome, true>> = {
  answered: true,
  answeredGone: true,
  invalid: true,
  truncated: true,
  refused: true,
  cutShort: true,
  unshared: true,
  rateLimited: true,
  expired: true,
  cancelled: true,
  transient: true,
  missing: true,
  batchRefused: true,
  permanent: true,
  unwritable: true,
  stale: true,
  gone: true,
  empty: true,
  unrenderable: true,
  tooLarge: true,
  abandoned: true,
  withdrawn: true,
  noRoom: true,
  alreadyAnswered: true,
};
const outcomeNames = Object.keys(everyOutcome);

function isOutcome(name: string): name is AttemptOutcome {
  return Object.hasOwn(everyOutcome, name);
}
