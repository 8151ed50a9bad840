/**
 * Owns the yes that a new or changed pipeline needs before its first batch: said what it will cost, asked where a person sits,
 * taken from `--yes`, and otherwise left to `rowmill approve`. Approves nothing but the definition that was estimated.
 */
import type { AllowChange } from "../../app/open/open-project.js";
import { safeSql } from "../../model/words/one-line.js";
import * as pipelines from "../../store/pipelines/pipelines.js";
import { approvalOf, approve, type Approval } from "../../worker/rounds/approval.js";
import type { Pipeline, WorkerContext } from "../../worker/context.js";
import type { Estimate } from "../../worker/rounds/estimate.js";
import { runIntake } from "../../worker/rounds/intake.js";
import { askYesNo } from "../screen/ask.js";
import type { Terminal } from "../screen/terminal.js";
import { describeEstimate, readEstimate } from "../words/text.js";

export class Approvals {
  readonly #terminal: Terminal;
  readonly #context: WorkerContext;
  readonly #yes: boolean;
  /** Pipelines whose waiting was already told. */
  readonly #told = new Set<number>();
  /** Pipelines that were open when they were last looked at. */
  readonly #open = new Set<number>();

  constructor(terminal: Terminal, context: WorkerContext, yes: boolean) {
    this.#terminal = terminal;
    this.#context = context;
    this.#yes = yes;
  }

  /** Says what each new or changed pipeline will cost, and asks: of a person, once it is known what has arrived. */
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
   * The same later on, for rows that came since; of all, or of these. Asks nobody: the screen belongs to the progress by then. False: of some
   * it is open until what has arrived was looked at.
   */
  async settleLater(ids?: ReadonlySet<number>): Promise<boolean> {
    let settled = true;
    for (const pipeline of this.#context.pipelines.values()) {
      const { id } = pipeline;
      if ((ids?.has(id) === false && !this.#open.has(id)) || this.#told.has(id)) continue;
      const approval = await approvalOf(this.#context, pipeline);
      await this.#settle(pipeline, approval, null);
      if (approval.kind === "open" && !this.#yes) settled = false;
    }
    return settled;
  }

  async #settle(pipeline: Pipeline, approval: Approval, ask: AbortSignal | null): Promise<void> {
    const wasOpen = this.#open.delete(pipeline.id);
    if (approval.kind === "approved" && wasOpen) return this.#sayApproved(pipeline);
    if (approval.kind === "approved" || approval.kind === "nothing") return;
    // Without anybody to ask it is decided when what has arrived was looked at.
    if (approval.kind === "open" && ask === null && !this.#yes) return void this.#open.add(pipeline.id);
    const { name, approveAboveUsd } = pipeline.config;
    this.#say(pipeline, approval.estimate);
    if (approval.kind === "cheap")
      return this.#terminal.note(`${name}: approved, not above $${approveAboveUsd}`);
    if (this.#yes) return this.#approve(pipeline, "--yes");
    if (ask !== null && (await askYesNo(`Send the rows of ${name}?`, ask)))
      return this.#approve(pipeline, "a person, asked by rowmill up");
    this.#told.add(pipeline.id);
    this.#terminal.note(`${name}: waits for approval. To approve it: rowmill approve ${name}`);
  }

  async #approve(pipeline: Pipeline, by: string): Promise<void> {
    await approve(this.#context, pipeline, by);
    this.#terminal.note(`${pipeline.config.name}: approved by ${by}`);
  }

  /** By a worker, whose estimate it was. */
  async #sayApproved(pipeline: Pipeline): Promise<void> {
    const row = await pipelines.byId(this.#context.read, pipeline.id);
    const estimate = readEstimate(row?.estimate);
    if (estimate !== null) this.#say(pipeline, estimate);
    this.#terminal.note(`${pipeline.config.name}: approved`);
  }

  #say(pipeline: Pipeline, estimate: Estimate): void {
    this.#terminal.note(`${pipeline.config.name}: ${describeEstimate(estimate, pipeline.config)}`);
  }
}

/** By what has arrived: all that waits may be among it. */
function mayChange(approval: Approval): boolean {
  if (approval.kind === "nothing") return true;
  return (approval.kind === "open" || approval.kind === "needed") && approval.estimate.arrived > 0;
}

/** Shows how a target is changed, and asks unless the config or `--yes` allows it. */
export function askForChanges(terminal: Terminal, yes: boolean, signal: AbortSignal): AllowChange {
  return async ({ name }, { qualified, statements, asks }) => {
    terminal.note(`${name}: the target ${qualified} must be changed:`);
    for (const statement of statements) terminal.note(`  ${safeSql(statement)};`);
    if (yes || !asks) return true;
    return terminal.interactive && askYesNo(`Run this on ${qualified}?`, signal);
  };
}
