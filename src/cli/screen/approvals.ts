/**
 * Owns the approval that a new or changed pipeline needs before its first batch: shows the cost, then asks on a
 * terminal, takes `--yes`, or leaves it to `rowmill approve`. Approves only the definition that was estimated.
 */
import type { AllowChange } from "../../app/open/open-project.js";
import { safeSql } from "../../model/words/one-line.js";
import * as pipelines from "../../store/pipelines/pipelines.js";
import { approvalOf, approve, type Approval } from "../../worker/rounds/approval.js";
import type { Pipeline, WorkerContext } from "../../worker/context.js";
import type { Estimate } from "../../worker/rounds/estimate.js";
import { runIntake } from "../../worker/rounds/intake.js";
import { askYesNo } from "./ask.js";
import type { Terminal } from "./terminal.js";
import { describeEstimate, readEstimate } from "./text.js";

export class Approvals {
  readonly #terminal: Terminal;
  readonly #context: WorkerContext;
  readonly #yes: boolean;
  readonly #reported = new Set<number>();
  /** Pipelines that were undecided at the last look. */
  readonly #open = new Set<number>();

  constructor(terminal: Terminal, context: WorkerContext, yes: boolean) {
    this.#terminal = terminal;
    this.#context = context;
    this.#yes = yes;
  }

  /** Shows the cost of each new or changed pipeline, and asks, once arrived rows are counted. */
  async settleAtStart(signal: AbortSignal): Promise<void> {
    const asks = this.#terminal.interactive && !this.#yes;
    for (const pipeline of this.#context.pipelines.values()) {
      let approval = await approvalOf(this.#context, pipeline);
      if (asks && mayChange(approval)) {
        await runIntake(this.#context, signal, { arrived: [pipeline.id] });
        approval = await approvalOf(this.#context, pipeline);
      }
      await this.#settle(pipeline, approval, asks ? signal : null);
    }
  }

  /**
   * The same later, for new rows; of all, or of these. Does not ask: by then the screen shows the progress. False: some
   * are undecided until the arrived rows are counted.
   */
  async settleLater(ids?: ReadonlySet<number>): Promise<boolean> {
    let settled = true;
    for (const pipeline of this.#context.pipelines.values()) {
      const { id } = pipeline;
      if ((ids?.has(id) === false && !this.#open.has(id)) || this.#reported.has(id)) continue;
      const approval = await approvalOf(this.#context, pipeline);
      await this.#settle(pipeline, approval, null);
      if (approval.kind === "open" && !this.#yes) settled = false;
    }
    return settled;
  }

  async #settle(pipeline: Pipeline, approval: Approval, ask: AbortSignal | null): Promise<void> {
    const wasOpen = this.#open.delete(pipeline.id);
    if (approval.kind === "approved" && wasOpen) return this.#showApproved(pipeline);
    if (approval.kind === "approved" || approval.kind === "nothing") return;
    // Without anyone to ask, it is decided once the arrived rows are counted.
    if (approval.kind === "open" && ask === null && !this.#yes) return void this.#open.add(pipeline.id);
    const { name, approveAboveUsd } = pipeline.config;
    this.#show(pipeline, approval.estimate);
    if (approval.kind === "cheap")
      return this.#terminal.note(`✓ ${name}: approved, because it costs at most $${approveAboveUsd} (approveAboveUsd)`);
    if (this.#yes) return this.#approve(pipeline, "--yes");
    if (ask !== null && (await askYesNo(`Send the rows of ${name}?`, ask)))
      return this.#approve(pipeline, "rowmill up");
    this.#reported.add(pipeline.id);
    this.#terminal.note(`! ${name}: waits for approval. Approve it: rowmill approve ${name}`);
  }

  async #approve(pipeline: Pipeline, by: string): Promise<void> {
    await approve(this.#context, pipeline, by);
    this.#terminal.note(`✓ ${pipeline.config.name}: approved (${by})`);
  }

  async #showApproved(pipeline: Pipeline): Promise<void> {
    const row = await pipelines.byId(this.#context.read, pipeline.id);
    const estimate = readEstimate(row?.estimate);
    if (estimate !== null) this.#show(pipeline, estimate);
    this.#terminal.note(`✓ ${pipeline.config.name}: approved`);
  }

  #show(pipeline: Pipeline, estimate: Estimate): void {
    this.#terminal.note(`${pipeline.config.name}: ${describeEstimate(estimate, pipeline.config)}`);
  }
}

/** Arrived rows may change the estimate: all waiting ones may be among them. */
function mayChange(approval: Approval): boolean {
  if (approval.kind === "nothing") return true;
  return (approval.kind === "open" || approval.kind === "needed") && approval.estimate.arrived > 0;
}

export function askForChanges(terminal: Terminal, yes: boolean, signal: AbortSignal): AllowChange {
  return async ({ name }, { qualified, statements, asks }) => {
    terminal.note(`${name}: the target ${qualified} needs these changes:`);
    for (const statement of statements) terminal.note(`  ${safeSql(statement)};`);
    if (yes || !asks) return true;
    return terminal.interactive && askYesNo(`Run this on ${qualified}?`, signal);
  };
}
