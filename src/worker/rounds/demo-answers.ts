/**
 * Once a real account takes over, rows that the demo model answered are sent again, and the pipeline needs a new
 * approval: both in one transaction. The provider itself says whether it is the demo, and is asked only while there are
 * such rows. While it does not say, nothing changes.
 */
import { ProviderError, type Provider } from "../../model/provider/provider.js";
import * as pipelines from "../../store/pipelines/pipelines.js";
import * as requests from "../../store/requests/requests.js";
import type { Pipeline, WorkerContext } from "../context.js";

/** How long a provider's reply counts: another server may come to listen at its address. */
const ASK_AGAIN_MS = 60_000;

/** Whether to ask again: no reply yet, an old one, or a reply that it is not the demo while rows are left. */
export function mayAskAgain({ memory }: WorkerContext, provider: Provider): boolean {
  const last = memory.demoReplies.get(provider);
  return last === undefined || last.demo === false || performance.now() - last.atMs >= ASK_AGAIN_MS;
}

/** Returns how many rows wait again. Repeatable. */
export async function askAgainAfterDemo(
  context: WorkerContext,
  pipeline: Pipeline,
  signal: AbortSignal,
): Promise<number> {
  if (!(await requests.hasDemoAnswers(context.read, pipeline.id))) return 0;
  if ((await isDemo(context, pipeline.provider, signal)) !== false) return 0;
  const { provider } = pipeline;
  const reason = `rows that the demo model answered are sent again at ${provider.accountText(provider.account)}`;
  const rows = await context.step("sweep.chunk", () =>
    context.database.transaction(async (tx) => {
      // Locked before the rows, so that no planner takes some of them under the old approval.
      const row = await pipelines.lock(tx, pipeline.id);
      if (row === null || row.uninstalledAt !== null || row.pauseKind === "deployment") return 0;
      if (row.definitionHash !== pipeline.definitionHash) return 0;
      const reopened = await requests.reopenDemo(tx, pipeline.id);
      if (reopened > 0) await pipelines.withdrawApproval(tx, pipeline.id, reason);
      await pipelines.forgetAnswers(tx, pipeline.id);
      return reopened;
    }),
  );
  if (rows > 0) context.log.info({ pipeline: pipeline.config.name, rows }, reason);
  return rows;
}

async function isDemo(context: WorkerContext, provider: Provider, signal: AbortSignal): Promise<boolean | null> {
  const { demoReplies } = context.memory;
  const last = demoReplies.get(provider);
  if (last !== undefined && performance.now() - last.atMs < ASK_AGAIN_MS) return last.demo;
  const demo = await ask(context, provider, signal);
  demoReplies.set(provider, { atMs: performance.now(), demo });
  return demo;
}

async function ask(context: WorkerContext, provider: Provider, signal: AbortSignal): Promise<boolean | null> {
  try {
    return await context.step("sweep.demo", () => provider.servesDemo({ signal }));
  } catch (error) {
    signal.throwIfAborted();
    if (!(error instanceof ProviderError)) throw error;
    context.log.warn(
      { err: error },
      "rows have demo answers, and the provider does not say whether it is still the demo; asking again later",
    );
    return null;
  }
}
