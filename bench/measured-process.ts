/** Owns processes of a bench: each has a time-out, a bounded tail of what it said, and is ended by its id. */
import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { resolve } from "node:path";
import { endWithBench } from "./clean-up.js";
import { endedChildrenMs, peakMemory } from "./usage.js";

export const repository = resolve(import.meta.dirname, "..");
const SAMPLE_MS = 50;
const SAID_CHARACTERS_MAX = 4_000;
const START_MS_MAX = 30_000;
const STOP_MS_MAX = 30_000;
/** Whatever takes longer is an error of the bench. */
const RUN_MS_MAX = 3_600_000;

export interface Command {
  /** Arguments of this Node.js. */
  readonly args: readonly string[];
  readonly cwd: string;
  readonly env?: Readonly<Record<string, string>>;
}

export interface Measured {
  /** From the start of the first process to the end of the last. */
  readonly wallMs: number;
  readonly beganAt: number;
  /** User and system time of all of them and of what they started and waited for; null: not to be had here. */
  readonly cpuMs: number | null;
  /** Of the largest one, sampled until its end. */
  readonly peakBytes: number | null;
}

/** TypeScript of this folder, run as it is. */
export function script(name: string, ...args: readonly string[]): readonly string[] {
  return ["--import", "jiti/register", resolve(import.meta.dirname, name), ...args];
}

/**
 * Runs them at the same time to their ends. No other child of this process may end meanwhile: its CPU would be counted.
 * @throws Error with the end of what one said, when it ends with another status than 0.
 */
export async function runMeasured(commands: readonly Command[]): Promise<Measured> {
  const before = endedChildrenMs();
  const beganAt = Date.now();
  const began = performance.now();
  const children = commands.map((command) => start(command));
  const peaks = await Promise.all(children.map(watch));
  const wallMs = performance.now() - began;
  const after = endedChildrenMs();
  return {
    wallMs,
    beganAt,
    cpuMs: before === null || after === null ? null : after - before,
    peakBytes: peaks.reduce((most, peak) => (peak === null ? most : Math.max(most ?? 0, peak)), null),
  };
}

export async function run(command: Command): Promise<void> {
  await watch(start(command));
}

export interface Running {
  readonly pid: number;
  /** @throws Error with the end of what it said, when it has ended */
  requireAlive(): void;
  stop(): Promise<void>;
}

/** Until it is stopped. */
export function runBeside(command: Command): Running {
  const { child, what, said } = start(command);
  const ended = once(child, "close");
  return {
    pid: child.pid ?? 0,
    requireAlive: () => {
      if (child.exitCode !== null) throw new Error(`${what} ended with ${child.exitCode}:\n${said()}`);
    },
    stop: async () => {
      child.kill("SIGTERM");
      const late = setTimeout(() => child.kill("SIGKILL"), STOP_MS_MAX);
      await ended.finally(() => clearTimeout(late));
    },
  };
}

interface Started {
  readonly child: ChildProcess;
  readonly what: string;
  said(): string;
}

function start({ args, cwd, env }: Command): Started {
  const variables = { PATH: process.env["PATH"] ?? "", HOME: process.env["HOME"] ?? "", ...env };
  const child = spawn(process.execPath, args, { cwd, env: variables, stdio: ["pipe", "ignore", "pipe"] });
  endWithBench(child);
  let tail = "";
  child.stderr?.on("data", (chunk: Buffer) => {
    tail = (tail + chunk.toString()).slice(-SAID_CHARACTERS_MAX);
  });
  return { child, what: args.join(" "), said: () => tail };
}

async function watch({ child, what, said }: Started): Promise<number | null> {
  let peak: number | null = null;
  const sampler = setInterval(() => (peak = peakMemory(child.pid ?? 0) ?? peak), SAMPLE_MS);
  const timer = setTimeout(() => child.kill("SIGKILL"), RUN_MS_MAX);
  try {
    const [status]: unknown[] = await once(child, "close");
    if (status !== 0) throw new Error(`${what} ended with ${String(status)}:\n${said()}`);
    return peak;
  } finally {
    clearInterval(sampler);
    clearTimeout(timer);
  }
}

export interface Serving {
  readonly url: string;
  stop(): Promise<void>;
}

/** A server that says its URL as JSON on its first line, and ends when its standard input does. */
export async function serve(args: readonly string[]): Promise<Serving> {
  const child = spawn(process.execPath, args, { cwd: repository, stdio: ["pipe", "pipe", "inherit"] });
  endWithBench(child);
  const ended = once(child, "exit");
  const lines = createInterface({ input: child.stdout });
  try {
    const [line]: unknown[] = await Promise.race([
      once(lines, "line", { signal: AbortSignal.timeout(START_MS_MAX) }),
      ended.then(() => {
        throw new Error(`${args.join(" ")} ended before it listened`);
      }),
    ]);
    const { url }: { url: string } = JSON.parse(String(line));
    return { url, stop: async () => void (child.kill("SIGTERM"), await ended) };
  } catch (error) {
    child.kill("SIGKILL");
    throw error;
  }
}
