/** Shows the progress of a worker, as live lines on a terminal and elsewhere as a line per change, and of a sweep. */
import * as overview from "../../../store/ledger/overview.js";
import type { PipelineOverview } from "../../../store/ledger/overview.js";
import type { Due } from "../../../store/ledger/due.js";
import type { WorkerContext } from "../../../worker/context.js";
import { pauseText } from "../../../model/words/pause-text.js";
import type { Terminal } from "../terminal.js";
import { counted, fit, formatCount, formatDuration, formatWait, pausedText, percentOf } from "../text.js";

/** Between two counts while something happens: in a log; on a terminal counting may take a third of the time. */
const PLAIN_EVERY_MS = 5_000;
const REST_FACTOR = 2;
const COUNT_EVERY_MS = 60_000;
/** Of a pipeline's name, where its full line does not fit. */
const NAME_CHARACTERS = 20;

interface Counted {
  readonly overviews: readonly PipelineOverview[];
  /** Of the worker's look that led to this count, like the pauses. */
  readonly revision: string;
  readonly pauses: string;
  readonly atMs: number;
  readonly lastedMs: number;
}

export class WorkProgress {
  readonly #terminal: Terminal;
  readonly #context: WorkerContext;
  /** All waiting rows are sent anyway, so no deadline matters. */
  readonly #flush: boolean;
  readonly #startedAtMs = performance.now();
  readonly #printed = new Map<number, string>();
  readonly #pauses = new Map<number, string | null>();
  #counted: Counted = { overviews: [], revision: "", pauses: "", atMs: -Infinity, lastedMs: 0 };

  constructor(terminal: Terminal, context: WorkerContext, options: { flush: boolean }) {
    this.#terminal = terminal;
    this.#context = context;
    this.#flush = options.flush;
  }

  /** It changes with time, also where nothing happens. */
  get moves(): boolean {
    return this.#terminal.drawsOver && !this.#terminal.quiet;
  }

  async update(due: Due): Promise<void> {
    const nowMs = performance.now();
    if (this.#isNews(due, nowMs)) await this.#count(due, nowMs);
    else if (this.moves) this.#draw(nowMs);
  }

  /** Something happened since the last count, which was long enough ago. A pause is news at once. */
  #isNews({ revision, pipelines }: Due, nowMs: number): boolean {
    const { atMs, lastedMs } = this.#counted;
    const ageMs = nowMs - atMs;
    if (ageMs >= COUNT_EVERY_MS || pausesOf(pipelines) !== this.#counted.pauses) return true;
    if (revision === this.#counted.revision) return false;
    return ageMs >= (this.moves ? lastedMs * REST_FACTOR : PLAIN_EVERY_MS);
  }

  async #count({ revision, pipelines }: Due, atMs: number): Promise<void> {
    const all = await overview.pipelineOverviews(this.#context.database);
    const overviews = all.filter((pipeline) => this.#context.pipelines.has(pipeline.id));
    const lastedMs = performance.now() - atMs;
    this.#counted = { overviews, revision, pauses: pausesOf(pipelines), atMs, lastedMs };
    for (const pipeline of overviews) this.#notePause(pipeline);
    if (this.moves) return this.#draw(atMs);
    if (this.#terminal.quiet) return;
    for (const pipeline of overviews) this.#printChange(pipeline);
  }

  /** The last count, with the times of now. */
  #draw(nowMs: number): void {
    const agoMs = nowMs - this.#counted.atMs;
    const lines = this.#counted.overviews.map((counted) => {
      const { deadlineMs, nextLookMs } = counted;
      const pipeline = {
        ...counted,
        deadlineMs: deadlineMs === null ? null : deadlineMs - agoMs,
        nextLookMs: nextLookMs === null ? null : nextLookMs - agoMs,
      };
      const share = this.#share(pipeline);
      const times = share + this.#times(pipeline);
      return [this.#line(pipeline, times), briefLine(pipeline, times), briefLine(pipeline, share)];
    });
    this.#terminal.live(lines);
  }

  #printChange(pipeline: PipelineOverview): void {
    const text = this.#line(pipeline, "");
    if (this.#printed.get(pipeline.id) === text) return;
    this.#printed.set(pipeline.id, text);
    this.#terminal.note(text);
  }

  /** Once, in full: the live line has no room for the reason. */
  #notePause(pipeline: PipelineOverview): void {
    const reason = pauseText(pipeline);
    const before = this.#pauses.get(pipeline.id) ?? null;
    this.#pauses.set(pipeline.id, reason);
    if (reason === before) return;
    this.#terminal.note(reason === null ? `✓ ${pipeline.name}: resumed` : `! ${pipeline.name}: paused: ${reason}`);
  }

  #line(pipeline: PipelineOverview, times: string): string {
    const { name, waiting, batched, succeeded, failed } = pipeline;
    const counts = Object.entries({ waiting, batched, succeeded, failed })
      .map(([state, rows]) => `${state} ${formatCount(rows)}`)
      .join(", ");
    const states = Object.entries(pipeline.batches).map(([state, batches]) => `${batches} ${state}`);
    const batches = states.length === 0 ? "" : ` | batches: ${states.join(", ")}${failingText(pipeline)}`;
    return `${name}: ${counts}${batches}${times}`;
  }

  #share({ waiting, batched, succeeded, failed }: PipelineOverview): string {
    const done = succeeded + failed;
    const elapsed = formatDuration(performance.now() - this.#startedAtMs);
    return ` | ${percentOf(done, waiting + batched + done)} after ${elapsed}`;
  }

  #times(pipeline: PipelineOverview): string {
    if (pipeline.pauseReason !== null) return " | paused";
    if (pausedText(pipeline, this.#context.pipelines.get(pipeline.id)?.config) !== null) return " | waits for approval";
    if (pipeline.nextLookMs !== null) {
      const next = pipeline.failing > 0 ? "next try" : "next check";
      return ` | ${next}: ${formatWait(pipeline.nextLookMs)}`;
    }
    if (pipeline.deadlineMs === null || this.#flush) return "";
    return ` | next batch: ${formatWait(pipeline.deadlineMs)}`;
  }
}

function pausesOf(pipelines: Due["pipelines"]): string {
  return [...pipelines.values()].map(({ pauseKind }) => pauseKind ?? "").join();
}

/** For narrow terminals: no zero counts, and a short name. */
export function briefLine(
  pipeline: Pick<PipelineOverview, "name" | "waiting" | "batched" | "succeeded" | "failed" | "batches" | "failing">,
  times: string,
): string {
  const counts = (["waiting", "batched", "succeeded", "failed"] as const)
    .filter((state) => pipeline[state] > 0)
    .map((state) => `${formatCount(pipeline[state])} ${state}`);
  const batches = Object.entries(pipeline.batches).map(([state, many]) => `${many} ${state}`);
  const parts = [counts, batches].filter((part) => part.length > 0).map((part) => part.join(", "));
  return `${fit(pipeline.name, NAME_CHARACTERS)}: ${parts.join(" | ")}${failingText(pipeline)}${times}`;
}

/** `status` has the reason, and the log. */
function failingText({ failing }: Pick<PipelineOverview, "failing">): string {
  return failing === 0 ? "" : ` (${failing} failing)`;
}

/** One live line while a pipeline is swept, and one permanent line at its end. */
export class SweepProgress {
  readonly #terminal: Terminal;
  readonly #done: string;
  #pipeline: string | null = null;
  #rows = 0;
  readonly #startedAtMs = performance.now();

  /** `done`: to the rows. */
  constructor(
    terminal: Terminal,
    done: "compared" | "read from its source" | "copied for the new target" = "compared",
  ) {
    this.#terminal = terminal;
    this.#done = done;
  }

  readonly onChunk = (pipeline: string, rows: number): void => {
    if (pipeline !== this.#pipeline) this.end();
    this.#pipeline = pipeline;
    this.#rows = rows;
    if (!this.#terminal.drawsOver || this.#terminal.quiet) return;
    const elapsed = formatDuration(performance.now() - this.#startedAtMs);
    this.#terminal.live([`${pipeline}: ${counted(rows, "row")} ${this.#done} … ${elapsed}`]);
  };

  end(): void {
    if (this.#pipeline === null) return;
    this.#terminal.endLive();
    // A source elsewhere has no copies before it was first read.
    if (!this.#terminal.quiet && this.#rows > 0)
      this.#terminal.note(`✓ ${this.#pipeline}: ${counted(this.#rows, "row")} ${this.#done}`);
    this.#pipeline = null;
  }
}
