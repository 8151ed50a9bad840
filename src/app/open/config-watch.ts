/**
 * Notices that the config's file is changed while a worker runs, by its content: the file is read again only when its
 * time or size differ, and a change counts once two looks find the same, so that a half-written file is none.
 */
import { createHash } from "node:crypto";
import { readFile, stat } from "node:fs/promises";
import { setTimeout as sleep } from "node:timers/promises";

const LOOK_EVERY_MS = 2_000;
const BYTES_MAX = 10_000_000;

export interface ConfigWatch {
  /** When the file was changed; null: it is as it was read. */
  changedAt(): Date | null;
}

export interface ConfigWatchOptions {
  readonly file: string;
  readonly signal: AbortSignal;
  /** Called at each change, and with null when the file is again as it was. */
  readonly onChange: (changedAt: Date | null) => void;
  /** What `onChange` threw, after which the watch continues. It must not throw itself. */
  readonly onError: (error: unknown) => void;
  readonly everyMs?: number;
}

/** What one look found. `stamp`: cheap to read, differs whenever the content may; null: there is no such file. */
interface Look {
  readonly stamp: string | null;
  readonly hash: string | null;
  readonly changedAt: Date;
}

/** Begins with the file as it is now. Never rejects; only the signal ends it. */
export async function watchConfig(options: ConfigWatchOptions): Promise<ConfigWatch> {
  const first = await look(options.file, null);
  let changedAt: Date | null = null;
  const run = async (): Promise<void> => {
    let last = first;
    let known = first.hash;
    for (;;) {
      await rest(options);
      if (options.signal.aborted) return;
      const seen = await look(options.file, last);
      const isSettled = seen.hash === last.hash;
      last = seen;
      if (!isSettled || seen.hash === known) continue;
      known = seen.hash;
      changedAt = known === first.hash ? null : seen.changedAt;
      try {
        options.onChange(changedAt);
      } catch (error) {
        options.onError(error);
      }
    }
  };
  void run();
  return { changedAt: () => changedAt };
}

async function rest({ everyMs, signal }: ConfigWatchOptions): Promise<void> {
  await sleep(everyMs ?? LOOK_EVERY_MS, undefined, { signal, ref: false }).catch(() => undefined);
}

/** A file that cannot be read counts as one without content. */
async function look(file: string, last: Look | null): Promise<Look> {
  const now = new Date();
  try {
    const { mtimeMs, ctimeMs, size, ino } = await stat(file);
    const stamp = [mtimeMs, ctimeMs, size, ino].join();
    if (stamp === last?.stamp) return last;
    const hash =
      size > BYTES_MAX
        ? stamp
        : createHash("sha256")
            .update(await readFile(file))
            .digest("hex");
    return { stamp, hash, changedAt: now };
  } catch {
    return { stamp: null, hash: null, changedAt: last?.hash === null ? last.changedAt : now };
  }
}
