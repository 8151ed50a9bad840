/**
 * Decides when a worker does what. It polls the database for what is due, and starts the concerns that the answer
 * names: side by side, and each at most once at a time. Without work it polls less often, and then only asks whether
 * the last answer still holds. A crash loses nothing: the next answer names what was not done.
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
  /** The pause after a run: what comes in the meantime is done together. */
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
  const rounds = new Rounds(context, options);
  const run = async (): Promise<void> => {
    while (!options.signal.aborted) await rounds.next();
    await rounds.end();
  };
  return {
    seen: () => rounds.seen,
    onSeen: (listener) => void rounds.listeners.push(listener),
    hasten: () => rounds.hasten(),
    ended: run(),
  };
}

class Rounds {
  seen: Seen = { due: null, trouble: null };
  readonly listeners: (() => void)[] = [];
  readonly #context: Pick<WorkerContext, "log" | "random">;
  readonly #options: AttendOptions;
  readonly #attended: readonly Attended[];
  readonly #alarm = new Alarm();
  #quietRounds = 0;
  #failures = 0;
  #startedAtMs = performance.now();
  #keptUntilMs = performance.now();

  constructor(context: Pick<WorkerContext, "log" | "random">, options: AttendOptions) {
    this.#context = context;
    this.#options = options;
    this.#attended = options.concerns.map(
      (concern) => new Attended(context, concern, (result) => this.#afterWork(result)),
    );
    options.signal.addEventListener("abort", () => this.#alarm.hasten(0), { once: true });
  }

  /** Asks, starts what is due, and rests. */
  async next(): Promise<void> {
    this.#startedAtMs = performance.now();
    this.#quietRounds++;
    const restMs = await this.#look().catch((error: unknown) => this.#afterFailure(error));
    if (!this.#options.signal.aborted) await this.#alarm.rest(this.#startedAtMs + restMs - performance.now());
  }

  async end(): Promise<void> {
    for (const one of this.#attended) await one.running;
  }

  hasten(): void {
    this.#quietRounds = 0;
    if (this.#failures === 0) this.#alarm.hasten(this.#startedAtMs + ASK_MS_MIN - performance.now());
  }

  #afterWork(result: unknown): void {
    if (this.#options.signal.aborted) return;
    this.hasten();
    if (result === MORE) this.#alarm.hasten(0);
  }

  /** Returns the milliseconds from this round's start until the next one. */
  async #look(): Promise<number> {
    if (!(await this.#mayKeep(this.seen))) await this.#ask();
    return Math.max(ASK_MS_MIN, Math.min(this.#keptUntilMs - this.#startedAtMs, this.#rhythmMs()));
  }

  #afterFailure(error: unknown): number {
    this.#failures++;
    this.#see({ ...this.seen, trouble: { error, sinceMs: this.seen.trouble?.sinceMs ?? this.#startedAtMs } });
    if (!this.#options.signal.aborted)
      this.#context.log.warn({ loop: "due", err: error }, "a round failed; trying again");
    return errorWaitMs(this.#failures, this.#context.random());
  }

  #rhythmMs(): number {
    return Math.min(ASK_MS_MIN * ASK_GROWTH ** this.#quietRounds, ASK_MS_MAX);
  }

  async #mayKeep({ due, trouble }: Seen): Promise<boolean> {
    if (due === null || trouble !== null) return false;
    const isQuiet = this.#rhythmMs() === ASK_MS_MAX && this.#startedAtMs < this.#keptUntilMs;
    return isQuiet && this.#options.holds(due);
  }

  async #ask(): Promise<void> {
    const { ask, nextMs, signal } = this.#options;
    const due = await ask();
    // Something happened, so more may be due soon.
    if (due.revision !== this.seen.due?.revision) this.#quietRounds = 0;
    const waitsMs = this.#attended.map((one) => (signal.aborted ? Infinity : one.start(due, signal)));
    if (waitsMs.includes(0)) this.#quietRounds = 0;
    this.#keptUntilMs = this.#startedAtMs + Math.min(ANSWER_MS_MAX, nextMs(due) ?? Infinity, ...waitsMs);
    this.#see({ due, trouble: null });
    this.#failures = 0;
  }

  #see(next: Seen): void {
    this.seen = next;
    for (const listener of this.listeners) listener();
  }
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
