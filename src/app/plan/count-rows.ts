/** How many rows there are in which state, by the ledger where it knows them, else by the source. Only reads. */
import type { Database, Queryable } from "../../postgres/database.js";
import * as overview from "../../store/ledger/overview.js";
import type { PipelineRow } from "../../store/pipelines/pipelines.js";
import * as planned from "../../store/requests/planned-rows.js";
import type { WaitingReasons } from "../../store/requests/planned-rows.js";
import * as requests from "../../store/requests/requests.js";
import type { Asking } from "../../worker/context.js";
import { compareDefinition, type Compared } from "./compare-definition.js";
import { reading } from "./reading.js";

/** Waiting requests whose reasons are read; of more, about as many by chance. */
const WAITING_READ_MAX = 5_000;

export interface RowFacts {
  readonly waiting: number;
  readonly inFlight: number;
  readonly answered: number;
  readonly failed: number;
  readonly skipped: number;
  /** Rows without a usable key, as the last sweep counted them. */
  readonly refused: number;
  readonly arrived: number;
  readonly reasons: WaitingReasons;
  /** Rows that the ledger has not recorded; null: it knows all but the arrivals. */
  readonly unrecorded: { readonly rows: number; readonly how: "exactly" | "estimated" } | null;
  /** Null: no answer is of another definition. */
  readonly compared: Compared | null;
  /** Ever asked, which `limit` counts; 0 without a `limit`. */
  readonly asked: number;
}

const NOTHING: RowFacts = {
  waiting: 0,
  inFlight: 0,
  answered: 0,
  failed: 0,
  skipped: 0,
  refused: 0,
  arrived: 0,
  reasons: { read: 0, fresh: 0, changed: 0, redefined: 0, again: 0 },
  unrecorded: null,
  compared: null,
  asked: 0,
};

/** `row`: null where the ledger does not know the pipeline. */
export async function countRows(database: Database, pipeline: Asking, row: PipelineRow | null): Promise<RowFacts> {
  if (row === null) return countUnrecorded(database, pipeline, NOTHING);
  const { id, config, definitionHash } = pipeline;
  const { facts, swept } = await reading(database, async (tx) => ({
    facts: await recorded(tx, pipeline),
    swept: await planned.sweptDefinition(tx, id),
  }));
  const isWhole = swept !== null && row.uninstalledAt === null;
  const counted = isWhole ? facts : await countUnrecorded(database, pipeline, facts);
  const asked = facts.answered + facts.failed + redefinedOf(facts);
  const isSettled = swept === definitionHash || asked === 0;
  const compared = isSettled ? null : await compareDefinition(database, pipeline, asked);
  const limited = config.limit === null ? 0 : await reading(database, (tx) => requests.countAsked(tx, id));
  return { ...counted, compared, asked: limited };
}

async function recorded(tx: Queryable, { id }: Asking): Promise<RowFacts> {
  const found = (await overview.pipelineOverviews(tx)).find((one) => one.id === id);
  if (found === undefined) return NOTHING;
  const { waiting, batched, succeeded, failed, refused, cancelled, arrivals } = found;
  const reasons = await planned.waitingReasons(tx, id, { waiting, max: WAITING_READ_MAX });
  return {
    ...NOTHING,
    waiting,
    inFlight: batched,
    answered: succeeded,
    failed: failed - refused,
    skipped: cancelled,
    refused,
    arrived: arrivals,
    reasons,
  };
}

/** Of all that wait, those that only another definition asks. */
export function redefinedOf({ waiting, reasons }: Pick<RowFacts, "waiting" | "reasons">): number {
  return reasons.read === 0 ? 0 : Math.round((waiting * reasons.redefined) / reasons.read);
}

/** Before the first sweep has ended: its arrivals are rows of the source too. */
async function countUnrecorded(database: Database, { source, config }: Asking, facts: RowFacts): Promise<RowFacts> {
  const { rows, how } = await reading(database, async (tx) => {
    const exact = await source.countRows(tx);
    return exact === null
      ? ({ rows: await source.estimateRows(tx), how: "estimated" } as const)
      : ({ rows: exact, how: "exactly" } as const);
  });
  const known = facts.waiting + facts.inFlight + facts.answered + facts.failed + facts.skipped;
  const unrecorded = Math.max(0, rows - known);
  const isSkipped = config.source.existing === "skip" && facts === NOTHING;
  return isSkipped
    ? { ...facts, skipped: unrecorded, unrecorded: { rows: 0, how } }
    : { ...facts, arrived: 0, unrecorded: { rows: unrecorded, how } };
}
