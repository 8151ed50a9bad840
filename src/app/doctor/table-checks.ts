/** Your tables: can each source be watched and each target be written? What a table needs, its own folder says. */
import type { PipelineConfig } from "../../model/pipeline.js";
import { notChecked, ok, type Finding } from "../../model/words/finding.js";
import { diagnoseOtherTriggers, diagnoseReplicaRole } from "../../sources/table/diagnose-triggers.js";
import { diagnoseSource } from "../../sources/table/diagnose.js";
import { inspectTable, type SourceTable } from "../../sources/table/inspection.js";
import { diagnoseReplica, isReplicaMissing, plannedReplica } from "../../sources/table/replica.js";
import { diagnoseTarget } from "../../targets/table/diagnose.js";
import { examineTarget, type TargetPlan } from "../../targets/table/ensure.js";
import { wantedTarget } from "../open/bind-pipeline.js";
import { eachPipeline, known, readOnly, type Check, type Look } from "./look.js";

const TABLES = { group: "Tables", needs: ["version", "encoding"] } as const;

export const TABLE_CHECKS: readonly Check[] = [
  {
    ...TABLES,
    id: "source",
    title: "Source",
    otherwise: "a source cannot be watched",
    run: (look) => eachPipeline(look, checkSource),
  },
  {
    ...TABLES,
    id: "target",
    title: "Target",
    otherwise: "a target cannot be written",
    run: (look) =>
      eachPipeline(look, async (pipeline) => {
        const { name, source } = pipeline;
        const table = look.tables.get(name) ?? (source.replica === null ? null : plannedReplica(pipeline));
        if (table === null) return [notChecked(`${name}: its source was not found`)];
        const plan = await targetPlan(look, pipeline, table);
        return readOnly(look, (tx) => diagnoseTarget(tx, name, plan));
      }),
  },
  { ...TABLES, id: "foreign-triggers", title: "Other triggers", otherwise: "", run: checkOtherTriggers },
];

/** Those whose source was not found cannot be checked. */
function eachTable(
  look: Look,
  work: (found: { pipeline: PipelineConfig; table: SourceTable }) => Promise<readonly Finding[]>,
): Promise<readonly Finding[]> {
  return eachPipeline(look, async (pipeline) => {
    const table = look.tables.get(pipeline.name);
    if (table === undefined)
      return [
        notChecked(`${pipeline.name}: ${pipeline.source.replica === null ? "its source was not found" : MADE_FIRST}`),
      ];
    return work({ pipeline, table });
  });
}

const MADE_FIRST = "rowmill up first creates the table for its rows";

async function checkSource(pipeline: PipelineConfig, look: Look): Promise<readonly Finding[]> {
  const { name, source } = pipeline;
  const pushed = await readOnly(look, (tx) => diagnoseReplica(tx, pipeline));
  if (await readOnly(look, (tx) => isReplicaMissing(tx, pipeline)))
    return [...pushed, ok(`${name}: rowmill up creates ${source.table} for its rows`)];
  const table = await readOnly(look, (tx) => inspectTable(tx, pipeline.source));
  look.tables.set(pipeline.name, table);
  return [...pushed, ...(await readOnly(look, (tx) => diagnoseSource(tx, pipeline, table)))];
}

export async function targetPlan(look: Look, pipeline: PipelineConfig, table: SourceTable): Promise<TargetPlan> {
  const wanted = await readOnly(look, (tx) => wantedTarget(tx, pipeline, table));
  return examineTarget(known(look.opened, "a database").database, wanted);
}

async function checkOtherTriggers(look: Look): Promise<readonly Finding[]> {
  const findings = await eachTable(look, ({ pipeline, table }) =>
    readOnly(look, (tx) => diagnoseOtherTriggers(tx, pipeline.name, table)),
  );
  const all = [...findings, ...(await readOnly(look, diagnoseReplicaRole))];
  return all.length > 0 ? all : [ok("none sends rows over HTTP, and no setting disables triggers")];
}
