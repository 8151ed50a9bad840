/**
 * Owns the frame of `rowmill status --watch`: never more lines than the terminal has rows, none longer than it is wide.
 * What needs your attention comes first, then what moves; what has ended is summed up. Pure.
 */
import { stripVTControlCharacters } from "node:util";
import { proseLine } from "../../model/words/one-line.js";
import { formatUsd } from "../../model/provider/pricing.js";
import type { EndedBatches } from "../../store/batches/batch-progress.js";
import { doneOf, timeOf } from "./batch-progress-text.js";
import { STATE_WORDS } from "./batch-text.js";
import { renderTable, type TableColumn } from "../screen/lay-out.js";
import type { StatusFacts } from "./status-text.js";
import { problemLines } from "./watch-problems.js";
import { counted, fit, formatCount, formatTime, shortId } from "../screen/text.js";

export interface WatchFacts extends StatusFacts {
  readonly ended: EndedBatches;
}

export interface FrameSize {
  readonly columns: number;
  readonly rows: number;
}

export interface FrameStyle {
  readonly bold: (line: string) => string;
  /** Spells commands as the reader types them: before a line is measured. */
  readonly spell: (text: string) => string;
  readonly now: Date;
}

/** Attention may take this share of the rows, */
const PROBLEMS_SHARE = 1 / 3;
/** and a name of a narrow table this many columns, before a column is left out. */
const NAME_COLUMNS_MIN = 10;
/** Of a name that is cut, the share of its end. */
const NAME_END_SHARE = 1 / 3;
const GAP = 2;

export function watchFrame(facts: WatchFacts, size: FrameSize, style: FrameStyle): string[] {
  const head = headLine(facts, size, style);
  const foot = endedText(facts.ended, size.columns);
  let left = Math.max(0, size.rows - 2);
  const pipelines = pipelineLines(facts, size, style);
  const batches = batchLines(facts, size, style);
  const lines = Math.floor(left * PROBLEMS_SHARE);
  const spare = left - pipelines.length - batches.length - lines;
  const problems = problemLines(facts, { columns: size.columns, lines, spare, spell: style.spell });
  left -= problems.length;
  const shownPipelines = cut(pipelines, Math.max(Math.ceil(left / 2), left - batches.length), "more pipelines");
  left -= shownPipelines.length;
  const shownBatches = cut(batches, left, "more unfinished batches");
  left -= shownBatches.length;
  const events = left < 2 ? [] : eventLines(facts, { ...size, rows: left }, style);
  return [head, ...problems, ...shownPipelines, ...shownBatches, foot, ...events]
    .slice(0, size.rows)
    .map((line) => within(line, size.columns));
}

/** The last line shown says how many are not. */
function cut(lines: readonly string[], room: number, what: string): string[] {
  if (lines.length <= room) return [...lines];
  if (room < 1) return [];
  return [...lines.slice(0, room - 1), `  … ${formatCount(lines.length - room + 1)} ${what}`];
}

/** For lines that hold no text of others, or hold it escaped: their spaces stay. */
function within(line: string, columns: number): string {
  const plain = stripVTControlCharacters(line);
  return plain.length <= columns ? line : `${plain.slice(0, Math.max(0, columns - 1))}…`;
}

function headLine({ workers, place }: WatchFacts, { columns }: FrameSize, { bold, now }: FrameStyle): string {
  const running = counted(workers.length, "worker");
  return bold(within(`rowmill  ${formatTime(now)}  ${running}  ${proseLine(place)}`, columns));
}

type Pipelines = WatchFacts["pipelines"];

/** Those with something in flight first, then those with waiting rows. */
function byActivity(pipelines: Pipelines): Pipelines {
  const rank = ({ batched, waiting }: Pipelines[number]) => (batched > 0 ? 0 : waiting > 0 ? 1 : 2);
  return pipelines.toSorted((a, b) => rank(a) - rank(b));
}

function pipelineLines(facts: WatchFacts, { columns }: FrameSize, style: FrameStyle): string[] {
  if (facts.pipelines.length === 0) return [style.spell("There are no pipelines yet. Set them up: rowmill up")];
  const money = new Map(facts.money.map((sum) => [sum.pipelineId, sum]));
  const titles = ["waiting", "batched", "succeeded", "failed", "spent"];
  const header = [left("pipeline"), ...titles.map(right)];
  const rows = byActivity(facts.pipelines).map((pipeline) => {
    const sum = money.get(pipeline.id);
    const { name, waiting, batched, succeeded, failed } = pipeline;
    const spent = (sum?.unpriced ?? 0) > 0 ? "unknown" : formatUsd(sum?.spentNanoUsd ?? 0);
    return [style.spell(name), ...[waiting, batched, succeeded, failed].map(formatCount), spent];
  });
  return tableWithin({ header, rows, flexible: 0 }, columns, style);
}

function batchLines({ progress }: WatchFacts, { columns }: FrameSize, style: FrameStyle): string[] {
  if (progress.length === 0) return [];
  const header = [left("batch"), left("pipeline"), left("state"), right("done"), right("elapsed/usual")];
  const rows = progress.map((batch) => [
    shortId(batch.id),
    style.spell(batch.pipeline),
    batch.cancelMs === null ? batch.state : "canceling",
    doneOf(batch),
    timeOf(batch),
  ]);
  return tableWithin({ header, rows, flexible: 1 }, columns, style);
}

function left(title: string): TableColumn {
  return { title, align: "left" };
}

function right(title: string): TableColumn {
  return { title, align: "right" };
}

interface Table {
  readonly header: readonly TableColumn[];
  readonly rows: readonly (readonly string[])[];
  /** The column that is cut where the others need the room. */
  readonly flexible: number;
}

/** Cuts the flexible column; where even that is too little, leaves out columns from the right. */
function tableWithin({ header, rows, flexible }: Table, columns: number, { bold }: FrameStyle): string[] {
  const widths = header.map(({ title }, at) =>
    Math.max(title.length, ...rows.map((row) => proseLine(row[at] ?? "").length)),
  );
  const others = (shown: number) =>
    widths.slice(0, shown).reduce((sum, width, at) => (at === flexible ? sum : sum + width + GAP), 0);
  let shown = header.length;
  while (shown > flexible + 1 && columns - others(shown) < NAME_COLUMNS_MIN) shown -= 1;
  const room = Math.max(1, columns - others(shown));
  const cells = rows.map((row) =>
    row.slice(0, shown).map((cell, at) => (at === flexible ? fitMiddle(cell, room) : cell)),
  );
  const titles = header
    .slice(0, shown)
    .map((column, at) => (at === flexible ? { ...column, title: fit(column.title, room) } : column));
  const [first = "", ...rest] = renderTable(titles, cells, Infinity).map((line) => within(line, columns));
  return [bold(first), ...rest];
}

/** Names often differ at their ends only. */
function fitMiddle(name: string, columns: number): string {
  const line = proseLine(name);
  if (line.length <= columns) return line;
  const end = Math.floor((columns - 1) * NAME_END_SHARE);
  return `${line.slice(0, Math.max(0, columns - 1 - end))}…${line.slice(line.length - end)}`;
}

/** With as many of the counts as fit. */
function endedText(
  { settled, rejected, cancelled, succeeded, failed, returned }: EndedBatches,
  columns: number,
): string {
  const shown = (counts: Readonly<Record<string, number>>) =>
    Object.entries(counts).flatMap(([what, many]) => (many === 0 ? [] : [`${formatCount(many)} ${what}`]));
  const batches = shown({
    [STATE_WORDS.settled]: settled,
    [STATE_WORDS.rejected]: rejected,
    [STATE_WORDS.cancelled]: cancelled,
  });
  if (batches.length === 0) return "Ended batches: none";
  const rows = shown({ succeeded, failed, "sent again": returned });
  const text = (many: number) =>
    `Ended batches: ${batches.join(", ")}${many === 0 ? "" : `; rows: ${rows.slice(0, many).join(", ")}`}`;
  let many = rows.length;
  while (many > 0 && text(many).length > columns) many -= 1;
  return text(many);
}

function eventLines({ events }: WatchFacts, { columns, rows }: FrameSize, { spell }: FrameStyle): string[] {
  return events.slice(-rows).map(({ at, pipeline, batchId, event, reason }) => {
    const batch = batchId === null ? "" : ` ${shortId(batchId)}`;
    const why = reason === null ? "" : ` (${reason})`;
    return fit(spell(`${at.toISOString().slice(11, 19)}  ${pipeline}${batch}: ${event}${why}`), columns);
  });
}
