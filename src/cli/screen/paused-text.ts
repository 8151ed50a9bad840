/** Owns the text that says why a pipeline sends nothing, for `status`, `up` and `flush`. Pure. */
import type { PipelineConfig } from "../../model/pipeline.js";
import { pauseText } from "../../model/words/pause-text.js";
import type { PipelineOverview } from "../../store/ledger/overview.js";
import { describeEstimate, readEstimate } from "./text.js";

const NANO_USD_PER_USD = 1e9;

type Facts = Pick<
  PipelineOverview,
  "name" | "waiting" | "pauseKind" | "pauseReason" | "definitionHash" | "approvedHash" | "estimate" | "uninstalledAt"
>;

type Config = Pick<PipelineConfig, "approveAboveUsd" | "budget" | "request">;

/** Null: it sends. `config` is absent for a pipeline that only the database knows. */
export function pausedText(pipeline: Facts, config: Config | undefined): string | null {
  if (pipeline.uninstalledAt !== null) return "uninstalled. To install its triggers again: rowmill up";
  if (pipeline.pauseReason !== null) return pauseText(pipeline);
  if (!waitsForApproval(pipeline, config)) return null;
  const estimate = readEstimate(pipeline.estimate);
  const what = estimate === null ? "" : `: ${describeEstimate(estimate, config)}`;
  return `waits for approval${what}. Approve it: rowmill approve ${pipeline.name}`;
}

/** A worker approves rows below `approveAboveUsd` when their batch is due; nothing waits before an estimate. */
function waitsForApproval(pipeline: Facts, config: Config | undefined): boolean {
  if (pipeline.waiting === 0 || pipeline.approvedHash === pipeline.definitionHash) return false;
  const estimate = readEstimate(pipeline.estimate);
  if (estimate === null) return false;
  if (config === undefined || estimate.likelyNanoUsd === null) return true;
  // Arrived rows may turn out to need no request.
  const share = (estimate.rows - estimate.arrived) / estimate.rows;
  return estimate.likelyNanoUsd * share > config.approveAboveUsd * NANO_USD_PER_USD;
}
