/**
 * Delivers answers by HTTP POST, signed as Standard Webhooks say. A delivery keeps its id however often it is sent, so
 * a crash may repeat it, and a receiver can tell by the id or, for each row, by the fence. No redirects and no proxy,
 * so that the guard sees every address.
 */
import { createHash } from "node:crypto";
import type { TargetConnector, Written, Change } from "../../model/connector.js";
import { openClient } from "./client.js";
import { readOptions, type Hook, type WebhookOptions } from "./options.js";
import { NOTHING, readReply } from "./reply.js";

const CHANGES_MAX = 500;
const BODY_BYTES_MAX = 1_000_000;

export function webhook(options: WebhookOptions): TargetConnector {
  // Only when it is used: other commands read the config without the variables of its secrets.
  let read: Hook | null = null;
  let opened: ReturnType<typeof openClient> | null = null;
  const hook = () => (read ??= readOptions(options));
  const client = () => (opened ??= openClient(hook()));
  return {
    name: "webhook",
    promise: "atLeastOnce",
    // Its path may hold a token.
    writes: createHash("sha256")
      .update(options.url ?? "")
      .digest("hex"),
    most: { changes: CHANGES_MAX, bytes: BODY_BYTES_MAX },
    diagnose: async () => (await import("./diagnose.js")).diagnose(options),
    prepare: async () => void (await client()),
    write: async (changes, { pipeline, id, signal }) => {
      const send = await client();
      const { parts, tooLarge } = partsOf(changes, pipeline);
      let written: Written = { ...NOTHING, failed: tooLarge };
      for (const [index, part] of parts.entries()) {
        const reply = await send({ id: index === 0 ? id : `${id}-${index + 1}`, body: part.body, signal });
        written = joined(written, readReply(reply, part.changes, hook().receiver));
      }
      return written;
    },
  };
}

function joined(one: Written, other: Written): Written {
  return {
    written: [...one.written, ...other.written],
    stale: [...one.stale, ...other.stale],
    changed: [],
    busy: [...one.busy, ...other.busy],
    failed: [...one.failed, ...other.failed],
  };
}

interface Part {
  readonly changes: readonly Change[];
  readonly body: string;
}

/** Always cut in the same places, because a part's id must mean the same changes. */
function partsOf(
  changes: readonly Change[],
  pipeline: string,
): { readonly parts: readonly Part[]; readonly tooLarge: Written["failed"] } {
  const head = `{"pipeline":${JSON.stringify(pipeline)},"results":[`;
  const frameBytes = Buffer.byteLength(head) + 2;
  const parts: { changes: Change[]; texts: string[]; bytes: number }[] = [];
  const tooLarge: { key: string; reason: string }[] = [];
  for (const change of changes) {
    const text = textOf(change);
    const bytes = Buffer.byteLength(text) + 1;
    if (frameBytes + bytes > BODY_BYTES_MAX) {
      tooLarge.push({ key: change.key, reason: `its answer has ${bytes} bytes; a web hook takes at most 1 MB` });
      continue;
    }
    const last = parts.at(-1);
    if (last === undefined || last.changes.length === CHANGES_MAX || last.bytes + bytes > BODY_BYTES_MAX)
      parts.push({ changes: [change], texts: [text], bytes: frameBytes + bytes });
    else {
      last.changes.push(change);
      last.texts.push(text);
      last.bytes += bytes;
    }
  }
  return { parts: parts.map(({ changes, texts }) => ({ changes, body: `${head}${texts.join(",")}]}` })), tooLarge };
}

function textOf(change: Change): string {
  const { key, fence } = change;
  if ("deleted" in change) return JSON.stringify({ key, fence, deleted: true });
  return JSON.stringify({ key, fence, model: change.model, cells: change.cells });
}
