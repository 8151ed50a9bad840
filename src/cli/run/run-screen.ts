/** What `rowmill run` shows: the file's name where others show the pipeline's, a bar, and how it ended. */
import { basename } from "node:path";
import * as overview from "../../store/ledger/overview.js";
import type { FileReading } from "../../app/run/file-reading.js";
import type { FileLook } from "../../files/file-types.js";
import type { PipelineOverview } from "../../store/ledger/overview.js";
import type { Due } from "../../store/ledger/due.js";
import { formatUsd } from "../../model/provider/pricing.js";
import type { WorkerContext } from "../../worker/context.js";
import type { Terminal } from "../screen/terminal.js";
import { counted, formatCount, formatDuration, percentOf } from "../screen/text.js";

const BAR_CHARACTERS = 24;
/** Between two counts: in a log, and on a terminal. */
const PLAIN_EVERY_MS = 5_000;
const COUNT_EVERY_MS = 1_000;

/** `Reading films.csv: 12,000 lines, 34%` */
export function readingLabel(reading: FileReading, look: FileLook, title: string): string {
  const part = reading.partOf(look);
  const percent = part === null ? "" : `, ${Math.floor(part * 100)}%`;
  return reading.records === 0 ? `Reading ${title}` : `Reading ${title}: ${counted(reading.records, "line")}${percent}`;
}

export class RunProgress {
  readonly #terminal: Terminal;
  readonly #context: WorkerContext;
  readonly #title: string;
  readonly #startedAtMs = performance.now();
  #counted: { readonly row: PipelineOverview | null; readonly nanoUsd: number; readonly atMs: number };
  #printed = "";

  constructor(terminal: Terminal, context: WorkerContext, file: string) {
    this.#terminal = terminal;
    this.#context = context;
    this.#title = basename(file);
    this.#counted = { row: null, nanoUsd: 0, atMs: -Infinity };
  }

  get moves(): boolean {
    return this.#terminal.drawsOver && !this.#terminal.quiet;
  }

  async update(_due: Due): Promise<void> {
    const nowMs = performance.now();
    if (nowMs - this.#counted.atMs >= (this.moves ? COUNT_EVERY_MS : PLAIN_EVERY_MS)) await this.#count(nowMs);
    if (this.moves) this.#draw(nowMs);
  }

  async #count(atMs: number): Promise<void> {
    const [id = 0] = this.#context.pipelines.keys();
    const row = (await overview.pipelineOverviews(this.#context.database)).find((one) => one.id === id) ?? null;
    const money = (await overview.moneyOverviews(this.#context.database)).find((one) => one.pipelineId === id);
    this.#counted = { row, nanoUsd: money?.spentNanoUsd ?? 0, atMs };
    if (this.moves || this.#terminal.quiet || row === null) return;
    const text = `${this.#title}: ${this.#parts(row).join(", ")}`;
    if (text !== this.#printed) this.#terminal.note(text);
    this.#printed = text;
  }

  #draw(nowMs: number): void {
    const { row, nanoUsd } = this.#counted;
    if (row === null) return;
    const elapsed = formatDuration(nowMs - this.#startedAtMs);
    const { done, total } = tally(row);
    const filled = total === 0 ? 0 : Math.floor((BAR_CHARACTERS * done) / total);
    const bar = "█".repeat(filled) + "░".repeat(BAR_CHARACTERS - filled);
    const parts = [...this.#parts(row), elapsed, `${formatUsd(nanoUsd)} spent`];
    const [rows = ""] = parts;
    this.#terminal.live([
      [
        `${this.#title} ${bar} ${percentOf(done, total)} | ${parts.join(" | ")}`,
        `${bar} ${parts.join(" | ")}`,
        `${bar} ${rows} | ${elapsed}`,
        rows,
      ],
    ]);
  }

  #parts(row: PipelineOverview): string[] {
    const { done, total } = tally(row);
    const states = Object.entries(row.batches).map(([state, batches]) => `${batches} ${state}`);
    const failing = row.failing === 0 ? "" : ` (${row.failing} failing)`;
    const failed = row.failed === 0 ? [] : [`${formatCount(row.failed)} failed`];
    return [
      `${formatCount(done)} of ${counted(total, "row")}`,
      ...failed,
      ...(states.length === 0 ? [] : [`batches: ${states.join(", ")}${failing}`]),
    ];
  }
}

function tally({ waiting, batched, succeeded, failed }: PipelineOverview): { done: number; total: number } {
  const done = succeeded + failed;
  return { done, total: done + waiting + batched };
}
