/**
 * What must not be left behind, whatever ends the bench but kill -9: processes that it started, by their ids, and
 * folders.
 */
import type { ChildProcess } from "node:child_process";
import { rmSync } from "node:fs";

const leftovers = new Set<() => void>();

process.once("exit", () => {
  for (const remove of leftovers) remove();
});
for (const [signal, number] of [
  ["SIGINT", 2],
  ["SIGTERM", 15],
] as const)
  process.once(signal, () => process.exit(128 + number));

/** Ended with the bench, if it has not ended by itself. */
export function endWithBench(child: ChildProcess): void {
  const end = () => void child.kill("SIGKILL");
  leftovers.add(end);
  child.once("exit", () => leftovers.delete(end));
}

/** Removes the folder at the bench's end; the function that it gives does so at once. */
export function removeWithBench(folder: string): () => void {
  const remove = () => {
    rmSync(folder, { recursive: true, force: true });
    leftovers.delete(remove);
  };
  leftovers.add(remove);
  return remove;
}
