/** What `rowmill plan` says about a pipeline: plain data, made by `decidePlan`. Money in nano-dollars. */
import type { BudgetPeriod, Json } from "../../model/pipeline.js";
import type { NoRoom } from "../../model/batch/room.js";
import type { PlanningDecision } from "../../model/batch/schedule.js";
import type { Finding } from "../../model/words/finding.js";
import type { DefinitionChange } from "../../store/pipelines/changes.js";
import type { PauseKind } from "../../store/pipelines/pipelines.js";
import type { Estimate } from "../../worker/rounds/estimate.js";

export interface ProjectPlan {
  /** What concerns the whole database. */
  readonly findings: readonly Finding[];
  readonly ledger: LedgerSetup;
  readonly pipelines: readonly PipelinePlan[];
}

/** `foreign`: another role owns it, so it was not read. */
export type LedgerSetup = "ready" | "missing" | "foreign";

export interface PipelinePlan {
  readonly name: string;
  readonly findings: readonly Finding[];
  /** Null: it could not be looked at, and `findings` says why. */
  readonly setup: SetupPlan | null;
  /** Null, as all below: nothing can be asked before a finding is fixed. */
  readonly asking: AskingPlan | null;
}

/** What the next `up` would make. */
export interface SetupPlan {
  readonly target: { readonly table: string; readonly exists: boolean; readonly statements: readonly string[] } | null;
  /** Tables that would get triggers. */
  readonly triggers: readonly string[];
}

export interface AskingPlan {
  readonly model: string;
  readonly definition: DefinitionPlan;
  readonly rows: RowsPlan;
  readonly packing: PackingPlan;
  readonly start: StartPlan;
  readonly estimate: Estimate;
  /** Rows whose requests were measured for batches, tokens and cost. */
  readonly measured: Sampled;
  /** Null: no row that was read asks what another one asks, or the provider takes no small batch. */
  readonly repeated: RepeatedPlan | null;
  readonly budget: BudgetPlan | null;
  readonly approval: { readonly state: "given" | "notNeeded" | "needed"; readonly aboveUsd: number };
  readonly pause: { readonly kind: PauseKind; readonly reason: string } | null;
  readonly requests: readonly PlannedRequest[];
}

/** Part of a whole, by chance; all of it where `read` is `of`. */
export interface Sampled {
  readonly read: number;
  readonly of: number;
}

/** `unknown`: the records could not be read. */
export interface DefinitionPlan {
  readonly state: "new" | "unchanged" | "changed" | "unknown";
  /** Answered and failed rows whose request was compared with what was asked; null: there was no need. */
  readonly compared: Sampled | null;
  /** Of these rows, how many it sends again, and what that likely costs; null: the price is unknown. */
  readonly asksAgain: number;
  readonly likelyNanoUsd: number | null;
  /** What happens to answered rows that it would ask something else; null: no definition came before it. */
  readonly decision: DefinitionChange["decision"];
  /** Of them, those that keep their answers by `onChange` or your decision. */
  readonly keepsAnswer: number;
  /** Rows in flight for the previous definition, which their answers count for; null: there are none. */
  readonly inFlight: InFlightPlan | null;
}

/** `asksAgain`: at most this many once they are answered, if they are sent again, and what that likely costs. */
export interface InFlightPlan {
  readonly rows: number;
  readonly asksAgain: number;
  readonly likelyNanoUsd: number | null;
}

export interface RowsPlan {
  /** What would go out, in all: at most this many where `arrived` is not 0, or `counted` is an estimate. */
  readonly send: number;
  /** Never asked. */
  readonly fresh: number;
  readonly changed: number;
  readonly redefined: number;
  /** Asked before, without an answer that counts. */
  readonly again: number;
  /** Recorded changes that no worker has looked at yet: at most this many rows more. */
  readonly arrived: number;
  /** New rows that `limit` holds back. */
  readonly heldByLimit: number;
  readonly answered: number;
  readonly failed: number;
  readonly inFlight: number;
  /** There before the pipeline, with `existing: "skip"`. */
  readonly skipped: number;
  /** Rows without a usable key. */
  readonly refused: number;
  /** How the rows that Rowmill does not know yet were counted; null: there was no need. */
  readonly counted: "exactly" | "estimated" | null;
  /** How the reasons of the waiting rows were found. */
  readonly reasons: Sampled | null;
}

export type BatchLimit =
  | "rows"
  | "maxRequests"
  | "providerRequests"
  | "maxBytes"
  | "providerBytes"
  | "learnedBytes"
  | "enqueuedTokens"
  | "budget";

export interface PackingPlan {
  /** As limits and money allow now, before any of them has ended. */
  readonly batches: number;
  readonly requests: number;
  /** Of the first one. */
  readonly requestsEach: number;
  readonly bytesEach: number;
  readonly decidedBy: BatchLimit;
  /** The rest, in batches of the same size, and what it waits for; null: nothing is left. */
  readonly later: { readonly batches: number; readonly requests: number; readonly because: LaterBecause } | null;
}

/** `tooFew`: fewer fit into a file than the provider takes. `fewRows`: it takes no batch that small. */
export type LaterBecause = Exclude<NoRoom, "limit"> | "fewRows" | "guessedBytes";

/** `waits`: until this many rows wait, or this long. */
export type StartPlan =
  | { readonly kind: "nothing" }
  | { readonly kind: "now"; readonly because: Extract<PlanningDecision, { plan: true }>["because"] }
  | { readonly kind: "waits"; readonly rows: number; readonly waitMs: number }
  /** The provider named a time. */
  | { readonly kind: "provider"; readonly waitMs: number };

/** Equal questions among the rows that were read: more than go out where a limit holds some back. */
export interface RepeatedPlan extends Sampled {
  /** How many ask what another one of them asks. */
  readonly rows: number;
  /** Those that get into one batch share a line. */
  readonly shared: boolean;
}

export interface BudgetPlan {
  readonly usd: number;
  readonly per: BudgetPeriod;
  readonly spentNanoUsd: number;
  readonly reservedNanoUsd: number;
  readonly leftNanoUsd: number;
  /** Likely: the budget ends before the last row. */
  readonly stops: boolean;
}

export interface PlannedRequest {
  readonly key: string;
  readonly model: string;
  readonly maxOutputTokens: number;
  readonly system: string | null;
  readonly user: string;
  readonly schema: Json;
  /** The line of the batch's file; its name is an example. */
  readonly line: string;
}
