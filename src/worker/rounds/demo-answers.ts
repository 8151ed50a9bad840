/**
 * Answers of the demo model are no answers once a real account takes over: its rows are asked again, and what was approved for the demo
 * is asked for anew, in one transaction. Whether the provider is the demo is asked of the provider itself, and only where such rows are;
 * while it does not say, nothing changes.
 */
import { ProviderError, type Provider } from "../../model/provider/provider.js";
import * as pipelines from "../../store/pipelines/pipelines.js";
import * as requests from "../../store/requests/requests.js";
import type { Pipeline, WorkerContext } from "../context.js";

/** What a provider said holds for so long: another server may come to listen at its address. */
const ASK_AGAIN_MS = 60_000;

/** The last word of each provider, by a clock that never jumps. Null: it did not say. */
const words = new WeakMap<Provider, { readonly atMs: number; readonly demo: boolean | null }>();

/** Whether to ask again: nothing was said yet, or it was long ago, or it is not the demo, and rows are left. */
export function mayAskAgain(provider: Provider): boolean {
  const last = words.get(provider);
  return last === undefined || last.demo === false || performance.now() - last.atMs >= ASK_AGAIN_MS;
}

/** Returns how many rows wait again by it. Repeatable. */
export async function askAgainAfterDemo(
  context: WorkerContext,
  pipeline: Pipeline,
  signal: AbortSignal,
): Promise<number> {
  if (!(await requests.hasDemoAnswers(context.read, pipeline.id))) return 0;
  if ((await isDemo(context, pipeline.provider, signal)) !== false) return 0;
  const reason = `rows that the demo model answered are asked again of ${pipeline.provider.accountText(pipeline.provider.account)}`;
  const rows = await context.step("sweep.chunk", () =>
    context.database.transaction(async (tx) => {
      // Before the rows: no planner takes some of them under the former approval.
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

async function isDemo(
  context: WorkerContext,
  provider: Provider,
  signal: AbortSignal,
): Promise<boolean | null> {
  const last = words.get(provider);
  if (last !== undefined && performance.now() - last.atMs < ASK_AGAIN_MS) return last.demo;
  const demo = await ask(context, provider, signal);
  words.set(provider, { atMs: performance.now(), demo });
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
      "rows were answered by the demo model, and the provider does not say whether it is still the demo; asking again later",
    );
    return null;
  }
}
