/**
 * Delivers answers by HTTP POST, signed as Standard Webhooks say. A delivery keeps its id however often it is sent, so
 * a crash may repeat it, and a receiver can tell by the id or, for each row, by the fence. No redirects and no proxy,
 * so that the guard sees every address.
 */
import { createHash } from "node:crypto";
import type { TargetConnector, Written } from "../../model/connector.js";
import { openClient } from "./client.js";
import { readOptions, type Hook, type WebhookOptions } from "./options.js";
import { BODY_BYTES_MAX, CHANGES_MAX, partsOf } from "./parts.js";
import { NOTHING, readReply } from "./reply.js";

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
