/** Your own target in a config: the same that Rowmill's connectors are, with defaults. */
import type { Change, DeliveryOptions, DeliveryPromise, TargetConnector, Written } from "../model/connector.js";
import type { Json } from "../model/pipeline.js";

const CHANGES_DEFAULT = 500;
const BYTES_DEFAULT = 1024 * 1024;

type Cells = Readonly<Record<string, Json>>;

/** What `defineTarget` takes. */
export interface DefinedTarget<Answer = Cells> {
  /** How Rowmill calls it in messages. Default: `"custom"`. */
  readonly name?: string;
  /**
   * `"onceInEffect"` if `write` compares fences, so that a repeated or late delivery changes nothing. Default:
   * `"atLeastOnce"`.
   */
  readonly promise?: DeliveryPromise;
  /** What the source says as its `address`, if answers are written back into its rows. */
  readonly address?: string | null;
  readonly identity?: TargetConnector["identity"];
  /**
   * Says where it writes, without secrets, such as the name of an index: when it changes, workers that began with
   * another one deliver no more.
   */
  readonly writes?: string;
  /** The most of one `write`: changes, 1 to 10,000, and bytes of their JSON. Default: 500 changes, 1 MiB. */
  readonly most?: { readonly changes?: number; readonly bytes?: number };
  /** What `rowmill doctor` shows of it: changes and sends nothing, and takes some seconds at most. */
  readonly diagnose?: NonNullable<TargetConnector["diagnose"]>;
  /** Makes or checks what is written to. Called before the first write of a process, and after a failure. */
  readonly prepare?: TargetConnector["prepare"];
  /**
   * Writes changes to the target. Return nothing if it took all of them, or say what happened to some: those that you
   * do not name count as written, unless you list `written`. Throw if nothing can be said of single changes: Rowmill
   * delivers all of them again.
   */
  write(changes: readonly Change<Answer>[], options: DeliveryOptions): Promise<Partial<Written> | void>;
  /**
   * Called when no change is due any more: after the last write, again if it throws or a crash comes between, and once
   * at the start of `up`. For a target that collects changes and publishes them together.
   */
  readonly settle?: NonNullable<TargetConnector["settle"]>;
}

/** A target that you write yourself, for a config in TypeScript or JavaScript. */
export function defineTarget<Answer = Cells>(target: DefinedTarget<Answer>): TargetConnector<Answer> {
  const { name = "custom", promise = "atLeastOnce", address = null, identity, most = {} } = target;
  return {
    name,
    promise,
    address,
    ...(identity === undefined ? {} : { identity }),
    ...(target.writes === undefined ? {} : { writes: target.writes }),
    ...(target.diagnose === undefined ? {} : { diagnose: target.diagnose }),
    ...(target.settle === undefined ? {} : { settle: target.settle }),
    most: { changes: most.changes ?? CHANGES_DEFAULT, bytes: most.bytes ?? BYTES_DEFAULT },
    prepare: async (of) => target.prepare?.(of),
    write: async (changes, options) => completed(changes, (await target.write(changes, options)) ?? {}),
  };
}

function completed(changes: readonly Pick<Change, "key">[], said: Partial<Written>): Written {
  const { stale = [], changed = [], busy = [], failed = [] } = said;
  const named = new Set([...stale, ...failed].map(({ key }) => key));
  for (const key of [...changed, ...busy]) named.add(key);
  const others = changes.map(({ key }) => key).filter((key) => !named.has(key));
  return { written: said.written ?? others, stale, changed, busy, failed };
}
