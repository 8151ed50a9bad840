/** Shows how a worker gets on: one live line a pipeline on a terminal, else a line for each change, at a calm pace. */
import { pipelineOverviews, type PipelineOverview } from "../store/overview.js";
import type { WorkerContext } from "../worker/context.js";
import { pausedText } from "./paused-text.js";
import type { Terminal } from "./terminal.js";
import { fit, formatCount, formatWait } from "./text.js";

/** Between two lines about one pipeline in a log. */
const PLAIN_EVERY_MS = 5_000;
/** Of a pipeline's name, where its whole line does not fit. */
const NAME_CHARACTERS = 20;

export class WorkProgress {
  readonly #terminal: Terminal;
  readonly #context: WorkerContext;
  /** All that waits is sent anyway, so no deadline matters. */
  readonly #flush: boolean;
  readonly #printed = new Map<number, { text: string; atMs: number }>();
  readonly #pauses = new Map<number, string | null>();

  constructor(terminal: Terminal, context: WorkerContext, options: { flush: boolean }) {
    this.#terminal = terminal;
    this.#context = context;
    this.#flush = options.flush;
  }

  async update(): Promise<void> {
    const all = await pipelineOverviews(this.#context.database);
    const ours = all.filter((pipeline) => this.#context.pipelines.has(pipeline.id));
    for (const pipeline of ours) this.#tellPause(pipeline);
    if (this.#terminal.drawsOver)
      return this.#terminal.live(
        ours.map((pipeline) => [this.#line(pipeline, true), briefLine(pipeline, this.#times(pipeline))]),
      );
    for (const pipeline of ours) this.#printChange(pipeline);
  }

  #printChange(pipeline: PipelineOverview): void {
    const text = this.#line(pipeline, false);
    const before = this.#printed.get(pipeline.id);
    if (before?.text === text || performance.now() - (before?.atMs ?? -Infinity) < PLAIN_EVERY_MS) return;
    this.#printed.set(pipeline.id, { text, atMs: performance.now() });
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
