/** planned → settled, uploading or submitting → rejected: a batch that is not sent, and shall not be. Its requests wait again; nothing was spent. */
import { endAll } from "./ending.js";
import { DONE, LOST, type BatchIn, type Next, type Turn } from "./turn.js";

export async function withdraw(
  turn: Turn<BatchIn<"planned"> | BatchIn<"uploading"> | BatchIn<"submitting">>,
  reason: string,
  wait: { delayMs?: number } = {},
): Promise<Next> {
  const facts = () => ({ outcome: "noRoom" as const, detail: reason, ...wait });
  const event = turn.batch.state === "planned" ? "nothingToSend" : "refused";
  const ended = await endAll(turn.context, { ...turn, facts, event, reason });
  return ended === "lost" ? LOST : DONE;
}
