/** What `rowmill adopt` says. Pure. */
import type { Adopted, Adoption } from "../../app/adopt/adopt-batch.js";
import type { OpenedForAdoption } from "../../app/adopt/adopt-project.js";
import type { Json, PipelineConfig } from "../../model/pipeline.js";
import { counted, fit, formatCount } from "./text.js";

const NAME_CHARACTERS = 80;

/** What the batch is, and what will become of its lines. */
export function describeAdoption({ batch, lines, expected }: Adoption, config: PipelineConfig): string[] {
  const { source, request } = config;
  const others = lines.models.filter((model) => model !== request.model);
  const example = lines.unreadableExample;
  const such = example === null ? "" : `, such as "${fit(example, NAME_CHARACTERS)}"`;
  const rows: readonly (readonly [number, string])[] = [
    [expected.adopted, "waiting for an answer: adopted"],
    [expected.ended, "answered, failed or left out already: left alone"],
    [expected.inFlight, "in another batch: left alone"],
    [expected.noRow, `not in ${source.table}`],
    [lines.repeated, "named by an earlier line already"],
    [lines.unreadable, `with a name that does not fit${such}`],
  ];
  const shown = rows.filter(([count]) => count > 0);
  const width = Math.max(...shown.map(([count]) => formatCount(count).length));
  return [
    `${batch.id} is ${batch.statusText}: ${counted(lines.lines, "line")} for ${config.name}`,
    ...shown.map(([count, what]) => `  ${formatCount(count).padStart(width)} ${what}`),
    ...(others.length === 0
      ? []
      : [
          `Note: it asks ${others.join(", ")}, and the config ${request.model}; costs are counted at the price of ${request.model}.`,
        ]),
  ];
}

export function describeAdopted(
  adopted: Adopted,
  {
    adoption,
    config,
    worker,
  }: { adoption: Adoption; config: PipelineConfig; worker: OpenedForAdoption["worker"] },
): string[] {
  const { batch } = adoption;
  const next =
    worker === null
      ? "Next: rowmill up. It collects the answers, checks them, and sends only what is left."
      : `A worker runs (process ${worker.pid} on ${worker.host}). If ${config.name} is in its config, it collects the answers and checks them; to see it: rowmill status. If not: rowmill up`;
  return [
    `${config.name}: ${counted(adopted.adopted, "row")} of ${batch.id} adopted. Nothing was sent, and nothing is paid again.`,
    next,
  ];
}

/** For `--json`. */
export function adoptedJson({ batch, lines }: Adoption, adopted: Adopted, config: PipelineConfig): Json {
  return {
    pipeline: config.name,
    batch: adopted.batchId,
    providerBatchId: batch.id,
    status: batch.statusText,
    lines: lines.lines,
    adopted: adopted.adopted,
    ended: adopted.ended,
    inFlight: adopted.inFlight,
    noRow: adopted.noRow,
    repeated: lines.repeated,
    unreadable: lines.unreadable,
  };
}
