/** The yes that `rowmill demo --live` needs before it spends: what it costs is said first, however little it is. */
import { approve } from "../../worker/rounds/approval.js";
import type { WorkerContext } from "../../worker/context.js";
import { estimatePipeline } from "../../worker/rounds/estimate.js";
import * as counts from "../../store/requests/counts.js";
import { askYesNo } from "../screen/ask.js";
import type { Terminal } from "../screen/terminal.js";
import { describeEstimate } from "../words/text.js";

/** True: go on; also when a former run asked everything already. */
export async function agreeToSpend(
  terminal: Terminal,
  context: WorkerContext,
  options: { yes: boolean | undefined; signal: AbortSignal },
): Promise<boolean> {
  for (const pipeline of context.pipelines.values()) {
    const waiting = await counts.countState(context.database, pipeline.id, "waiting");
    if (waiting === 0) continue;
    const estimate = await estimatePipeline(context, pipeline, { waiting, arrived: 0 });
    terminal.note(
      `This asks ${pipeline.provider.accountText(pipeline.provider.account)}: ${describeEstimate(estimate, pipeline.config)}.`,
    );
    if (!(await saysYes(terminal, options))) return false;
    await approve(context, pipeline, options.yes ? "--yes" : "a person, asked by rowmill demo");
  }
  return true;
}

async function saysYes(
  terminal: Terminal,
  { yes, signal }: { yes: boolean | undefined; signal: AbortSignal },
): Promise<boolean> {
  if (yes) return true;
  if (terminal.interactive) {
    const agreed = await askYesNo("Spend it?", signal);
    if (!agreed) terminal.note("Nothing was sent. To be asked again: rowmill demo --live");
    return agreed;
  }
  terminal.note("Nobody can be asked here, so nothing was sent. To agree: rowmill demo --live --yes");
  return false;
}
