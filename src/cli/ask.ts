/** Questions to the person at the terminal. Where nobody sits, nothing is asked: the caller says what to do instead. */
import { Interrupted } from "./interruption.js";

/** @throws Interrupted when it is answered with Ctrl-C. */
export async function askYesNo(message: string, signal?: AbortSignal): Promise<boolean> {
  const { confirm } = await import("@clack/prompts");
  const answer = await confirm({
    message,
    initialValue: false,
    output: process.stderr,
    ...withSignal(signal),
  });
  if (typeof answer === "symbol") return interrupted(signal);
  return answer;
}

/** True when the person typed exactly `word`. @throws Interrupted when it is answered with Ctrl-C. */
export async function askTyped(message: string, word: string): Promise<boolean> {
  const { text } = await import("@clack/prompts");
  const answer = await text({ message: `${message} Type "${word}" to do it.`, output: process.stderr });
  if (typeof answer === "symbol") return interrupted();
  return answer === word;
}

function withSignal(signal: AbortSignal | undefined): { signal?: AbortSignal } {
  return signal === undefined ? {} : { signal };
}

/** A symbol is what the prompts answer for Ctrl-C and for an aborted signal. */
function interrupted(signal?: AbortSignal): never {
  signal?.throwIfAborted();
  throw new Interrupted("SIGINT");
}
