/**
 * Decides when a worker does what. It asks the database again and again what is due, and starts the concerns that the
 * answer names, side by side and each at most once at a time. Without work it asks less often, and then only whether
 * the last answer still holds. A crash loses nothing: the next answer names again what was not done.
 */
import type { Due } from "../../store/ledger/due.js";
import type { WorkerContext } from "../context.js";
import { errorWaitMs } from "../loop.js";

/** Between two questions: while there is work, and after some rounds without any. */
const ASK_MS_MIN = 200;
const ASK_MS_MAX = 1_000;
const ASK_GROWTH = 1.5;
/** The longest that an answer is kept, even if it still holds. */
const ANSWER_MS_MAX = 5_000;

/** A concern returns this when it stopped before it was done: the next question follows at once. */
export const MORE = Symbol("more");

export interface Concern {
  readonly name: string;
  /** The pause after a run: what comes meanwhile is done together. */
  readonly restMs: number;
  /** It runs by the clock: a run does not mean that there was work. */
  readonly regular?: true;
  /** What this answer asks it to do; null: nothing. */
  readonly work: (due: Due) => (() => Promise<unknown>) | null;
}

export interface Seen {
  /** The last answer; null before the first one. */
  readonly due: Due | null;
  /** Why the last questions had no answer, and since when (`performance.now()`); null: the last one was answered. */
  readonly trouble: { readonly error: unknown; readonly sinceMs: number } | null;
}

export interface Attendance {
  seen(): Seen;
  /** Called at each answer and at each failed question. */
  onSeen(listener: () => void): void;
  /** Something may be due: ask soon. */
  hasten(): void;
  /** Resolves after the signal, when everything that was started has ended. Never rejects. */
  readonly ended: Promise<void>;
}

export interface AttendOptions {
  readonly ask: () => Promise<Due>;
  /** Whether nothing happened since that answer. */
  readonly holds: (due: Due) => Promise<boolean>;
  /** Milliseconds from the answer until something else becomes due; null: unknown. */
  readonly nextMs: (due: Due) => number | null;
  readonly concerns: readonly Concern[];
  readonly signal: AbortSignal;
}

export function attend(context: Pick<WorkerContext, "log" | "random">, options: AttendOptions): Attendance {
  const { signal } = options;
  const alarm = new Alarm();
  const listeners: (() => void)[] = [];
  let seen: Seen = { due: null, trouble: null };
  let quietRounds = 0;
  let failures = 0;
  let roundAtMs = performance.now();
  let keptUntilMs = roundAtMs;
  const see = (next: Seen): void => {
    seen = next;
    for (const listener of listeners) listener();
  };
  const hasten = (): void => {
    quietRounds = 0;
    if (failures === 0) alarm.hasten(roundAtMs + ASK_MS_MIN - performance.now());
  };
  const attended = options.concerns.map(
    (concern) =>
      new Attended(context, concern, (result) => {
        if (signal.aborted) return;
        hasten();
        if (result === MORE) alarm.hasten(0);
      }),
  );
  const rhythmMs = (): number => Math.min(ASK_MS_MIN * ASK_GROWTH ** quietRounds, ASK_MS_MAX);
  const ask = async (): Promise<void> => {
    const due = await options.ask();
    // Something happened, so more may be due soon.
    if (due.revision !== seen.due?.revision) quietRounds = 0;
    const waitsMs = attended.map((one) => (signal.aborted ? Infinity : one.start(due, signal)));
    if (waitsMs.includes(0)) quietRounds = 0;
    keptUntilMs = roundAtMs + Math.min(ANSWER_MS_MAX, options.nextMs(due) ?? Infinity, ...waitsMs);
    see({ due, trouble: null });
    failures = 0;
  };
  const mayKeep = async ({ due, trouble }: Seen): Promise<boolean> =>
    due !== null &&
    trouble === null &&
    rhythmMs() === ASK_MS_MAX &&
    roundAtMs < keptUntilMs &&
    (await options.holds(due));
  const round = async (): Promise<number> => {
    roundAtMs = performance.now();
    quietRounds++;
    try {
      if (!(await mayKeep(seen))) await ask();
      return Math.max(ASK_MS_MIN, Math.min(keptUntilMs - roundAtMs, rhythmMs()));
    } catch (error) {
      failures++;
      see({ ...seen, trouble: { error, sinceMs: seen.trouble?.sinceMs ?? roundAtMs } });
      if (!signal.aborted) context.log.warn({ loop: "due", err: error }, "a round failed; trying again");
      return errorWaitMs(failures, context.random());
    }
  };
  signal.addEventListener("abort", () => alarm.hasten(0), { once: true });
  const run = async (): Promise<void> => {
    while (!signal.aborted) {
      const restMs = await round();
      if (!signal.aborted) await alarm.rest(roundAtMs + restMs - performance.now());
    }
    for (const one of attended) await one.running;
  };
  return { seen: () => seen, onSeen: (listener) => void listeners.push(listener), hasten, ended: run() };
}

class Attended {
  /** Null: not running. Never rejects. */
  running: Promise<void> | null = null;
  readonly #context: Pick<WorkerContext, "log" | "random">;
  readonly #concern: Concern;
  readonly #worked: (result: unknown) => void;
  #failures = 0;
  #notBeforeMs = 0;

  constructor(context: Pick<WorkerContext, "log" | "random">, concern: Concern, worked: (result: unknown) => void) {
    this.#context = context;
    this.#concern = concern;
    this.#worked = worked;
  }

  /** Milliseconds until the next question should come: 0 while it works, infinite when it has no work. */
  start(due: Due, signal: AbortSignal): number {
    const { regular = false } = this.#concern;
    const busyMs = regular ? Infinity : 0;
    if (this.running !== null) return busyMs;
    const restMs = this.#notBeforeMs - performance.now();
    if (restMs > 0) return regular ? Infinity : restMs;
    const work = this.#concern.work(due);
    if (work === null) return Infinity;
    this.running = this.#run(work, signal);
    return busyMs;
  }

  async #run(work: () => Promise<unknown>, signal: AbortSignal): Promise<void> {
    try {
      const result = await work();
      this.#failures = 0;
      this.#notBeforeMs = result === MORE ? 0 : performance.now() + this.#concern.restMs;
      if (this.#concern.regular !== true) this.#worked(result);
    } catch (error) {
      if (signal.aborted) return;
      this.#failures++;
      this.#notBeforeMs = performance.now() + errorWaitMs(this.#failures, this.#context.random());
      this.#context.log.warn({ loop: this.#concern.name, err: error }, "a round failed; trying again");
    } finally {
      this.running = null;
    }
  }
}

/** A pause that can be cut short. */
export class Alarm {
  #timer: NodeJS.Timeout | null = null;
  #ring: () => void = () => undefined;
  #ringsAtMs = 0;

  rest(ms: number): Promise<void> {
    return new Promise((resolve) => {
      this.#ring = resolve;
      this.#set(ms);
    });
  }

  /** Ends the pause after this time, if it does not end sooner. */
  hasten(ms: number): void {
    if (this.#timer !== null && performance.now() + ms < this.#ringsAtMs) this.#set(ms);
  }

  #set(ms: number): void {
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#ringsAtMs = performance.now() + ms;
    this.#timer = setTimeout(
      () => {
        this.#timer = null;
        this.#ring();
      },
      Math.max(0, ms),
    );
  }
}
