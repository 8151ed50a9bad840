/** Shows how a worker gets on: one live line a pipeline on a terminal, else a line for each change, at a calm pace. */
import * as overview from "../../store/ledger/overview.js";
import type { PipelineOverview } from "../../store/ledger/overview.js";
import type { Due } from "../../store/ledger/due.js";
import type { WorkerContext } from "../../worker/context.js";
import { pausedText } from "../words/paused-text.js";
import type { Terminal } from "./terminal.js";
import { fit, formatCount, formatWait } from "../words/text.js";

/** Between two counts, while something happens: for a log, and for a terminal, where counting may take a third of the time at most. */
const PLAIN_EVERY_MS = 5_000;
const REST_FACTOR = 2;
/** Also where nothing seems to happen. */
const COUNT_EVERY_MS = 60_000;
/** Of a pipeline's name, where its whole line does not fit. */
const NAME_CHARACTERS = 20;

interface Counted {
  readonly overviews: readonly PipelineOverview[];
  /** As the answer was by which it was counted, as are the pauses. */
  readonly revision: string;
  readonly pauses: string;
  readonly atMs: number;
  readonly lastedMs: number;
}

export class WorkProgress {
  readonly #terminal: Terminal;
  readonly #context: WorkerContext;
  /** All that waits is sent anyway, so no deadline matters. */
  readonly #flush: boolean;
  readonly #printed = new Map<number, string>();
  readonly #pauses = new Map<number, string | null>();
  #counted: Counted = { overviews: [], revision: "", pauses: "", atMs: -Infinity, lastedMs: 0 };

  constructor(terminal: Terminal, context: WorkerContext, options: { flush: boolean }) {
    this.#terminal = terminal;
    this.#context = context;
    this.#flush = options.flush;
  }

  /** It changes with the time, also where nothing happens. */
  get moves(): boolean {
    return this.#terminal.drawsOver;
  }

  async update(due: Due): Promise<void> {
    const nowMs = performance.now();
    if (this.#isNews(due, nowMs)) await this.#count(due, nowMs);
    else if (this.#terminal.drawsOver) this.#draw(nowMs);
  }

  /** Something happened since the last count, and that one was long enough ago. A pause is news at once. */
  #isNews({ revision, pipelines }: Due, nowMs: number): boolean {
    const { atMs, lastedMs } = this.#counted;
    const ageMs = nowMs - atMs;
    if (ageMs >= COUNT_EVERY_MS || pausesOf(pipelines) !== this.#counted.pauses) return true;
    if (revision === this.#counted.revision) return false;
    return ageMs >= (this.#terminal.drawsOver ? lastedMs * REST_FACTOR : PLAIN_EVERY_MS);
  }

  async #count({ revision, pipelines }: Due, atMs: number): Promise<void> {
    const all = await overview.pipelineOverviews(this.#context.database);
    const overviews = all.filter((pipeline) => this.#context.pipelines.has(pipeline.id));
    const lastedMs = performance.now() - atMs;
    this.#counted = { overviews, revision, pauses: pausesOf(pipelines), atMs, lastedMs };
    for (const pipeline of overviews) this.#tellPause(pipeline);
    if (this.#terminal.drawsOver) return this.#draw(atMs);
    for (const pipeline of overviews) this.#printChange(pipeline);
  }

  /** What was counted, with times that have gone on since. */
  #draw(nowMs: number): void {
    const agoMs = nowMs - this.#counted.atMs;
    const lines = this.#counted.overviews.map((counted) => {
      const { deadlineMs, nextLookMs } = counted;
      const pipeline = {
        ...counted,
        deadlineMs: deadlineMs === null ? null : deadlineMs - agoMs,
        nextLookMs: nextLookMs === null ? null : nextLookMs - agoMs,
      };
      return [this.#line(pipeline, true), briefLine(pipeline, this.#times(pipeline))];
    });
    this.#terminal.live(lines);
  }

  #printChange(pipeline: PipelineOverview): void {
    const text = this.#line(pipeline, false);
    if (this.#printed.get(pipeline.id) === text) return;
    this.#printed.set(pipeline.id, text);
    this.#terminal.note(text);
  }

  /** A pause is told once, in full: the live line has no room for its reason. */
  #tellPause(pipeline: PipelineOverview): void {
    const reason = pipeline.pauseReason;
    const before = this.#pauses.get(pipeline.id) ?? null;
    this.#pauses.set(pipeline.id, reason);
    if (reason === before) return;
    this.#terminal.note(`${pipeline.name}: ${reason === null ? "goes on" : `paused: ${reason}`}`);
  }

  #line(pipeline: PipelineOverview, withTimes: boolean): string {
    const { name, waiting, batched, succeeded, failed } = pipeline;
    const counts = `waiting ${formatCount(waiting)}, batched ${formatCount(batched)}, succeeded ${formatCount(succeeded)}, failed ${formatCount(failed)}`;
    const states = Object.entries(pipeline.batches).map(([state, batches]) => `${batches} ${state}`);
    const batches = states.length === 0 ? "" : ` | batches: ${states.join(", ")}`;
    return `${name}: ${counts}${batches}${withTimes ? this.#times(pipeline) : ""}`;
  }

  #times(pipeline: PipelineOverview): string {
    if (pipeline.pauseReason !== null) return " | paused";
    if (pausedText(pipeline, this.#context.pipelines.get(pipeline.id)?.config) !== null)
      return " | waits for approval";
    if (pipeline.nextLookMs !== null) return ` | next look: ${formatWait(pipeline.nextLookMs)}`;
    if (pipeline.deadlineMs === null || this.#flush) return "";
    return ` | next batch: ${formatWait(pipeline.deadlineMs)}`;
  }
}

function pausesOf(pipelines: Due["pipelines"]): string {
  return [...pipelines.values()].map(({ pauseKind }) => pauseKind ?? "").join();
}

/** For narrow terminals: no counts of nothing, and no name that leaves no room for them. */
export function briefLine(
  pipeline: Pick<PipelineOverview, "name" | "waiting" | "batched" | "succeeded" | "failed" | "batches">,
  times: string,
): string {
  const counts = (["waiting", "batched", "succeeded", "failed"] as const)
    .filter((state) => pipeline[state] > 0)
    .map((state) => `${formatCount(pipeline[state])} ${state}`);
  const batches = Object.entries(pipeline.batches).map(([state, many]) => `${many} ${state}`);
  const parts = [counts, batches].filter((part) => part.length > 0).map((part) => part.join(", "));
  return `${fit(pipeline.name, NAME_CHARACTERS)}: ${parts.join(" | ")}${times}`;
}
