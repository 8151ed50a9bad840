/**
 * Looks at every pipeline of the config as `up` would find it now. Nothing is sent, registered, installed or made: each
 * transaction is one in which the server refuses writes, except where a target's CHECKs are tried in a temporary table.
 */
import type { PipelineConfig, ProjectConfig } from "../../model/pipeline.js";
import { RowmillError } from "../../model/errors.js";
import { problem, type Finding } from "../../model/words/finding.js";
import type { Database } from "../../postgres/database.js";
import * as outputSizes from "../../store/batches/output-sizes.js";
import * as money from "../../store/batches/money.js";
import * as migrations from "../../store/ledger/migrations.js";
import * as overview from "../../store/ledger/overview.js";
import * as changes from "../../store/pipelines/changes.js";
import * as pipelines from "../../store/pipelines/pipelines.js";
import type { PipelineRow } from "../../store/pipelines/pipelines.js";
import * as planned from "../../store/requests/planned-rows.js";
import * as queue from "../../store/requests/queue.js";
import type { Asking } from "../../worker/context.js";
import { fileLimits } from "../../worker/rounds/file-limits.js";
import { judgeDatabaseRights, readDatabaseRights } from "../doctor/database-rights.js";
import { previewOf } from "../open/bind-pipeline.js";
import type { OpenedProviders } from "../open/providers.js";
import * as tryMoney from "../../store/tries/try-money.js";
import { countRows } from "./count-rows.js";
import { asksAnswered, decidePlan, type MoneyFacts } from "./decide-plan.js";
import { examineRows } from "./examine-rows.js";
import { demoFinding, findProblems, foundIn, keylessFinding, rowFindings, type Place } from "./find-problems.js";
import type { AskingPlan, DefinitionPlan, LedgerSetup, PipelinePlan, ProjectPlan } from "./pipeline-plan.js";
import { reading } from "./reading.js";

/** The longest that rows without a key are counted; the doctor takes longer. */
const KEYLESS_MS_MAX = 2_000;

export interface PlanParts {
  readonly config: ProjectConfig;
  readonly database: Database;
  /** Opened without a key. */
  readonly providers: OpenedProviders;
  /** Of each pipeline. */
  readonly requestsShown: number;
}

/** Of the pipelines `wanted`, in the config's order. */
export async function readPlan(parts: PlanParts, wanted: readonly PipelineConfig[]): Promise<ProjectPlan> {
  const { config, database } = parts;
  const { ledger, findings } = await lookAtLedger(database);
  const place: Place = { database, ledger, pipelines: config.pipelines };
  const plans: PipelinePlan[] = [];
  for (const pipeline of wanted) plans.push(await planOne(parts, place, pipeline));
  return { findings, ledger, pipelines: plans };
}

/** @throws RowmillError `refused` for a ledger of an earlier version */
async function lookAtLedger(database: Database): Promise<{ ledger: LedgerSetup; findings: readonly Finding[] }> {
  return reading(database, async (tx) => {
    const known = await knownLedger(() => overview.ledgerExists(tx));
    if (typeof known !== "boolean") return { ledger: "foreign", findings: [known] };
    if (known && (await migrations.pendingMigrations(tx)).length > 0)
      throw new RowmillError("refused", "The ledger in this database is from an earlier version of Rowmill.", {
        hints: ["Upgrade it: rowmill up"],
      });
    if (known) return { ledger: "ready", findings: [] };
    return { ledger: "missing", findings: judgeDatabaseRights(await readDatabaseRights(tx)) };
  });
}

/** The finding where another role owns it: reading it would run that role's code. */
async function knownLedger(look: () => Promise<boolean>): Promise<boolean | Finding> {
  try {
    return await look();
  } catch (error) {
    const { text, fixes } = foundIn(error);
    return problem(`${text} So Rowmill's records were not read: all rows count as new.`, { fixes });
  }
}

async function planOne(parts: PlanParts, place: Place, config: PipelineConfig): Promise<PipelinePlan> {
  const { name } = config;
  const { findings, setup, examined } = await findProblems(place, config);
  if (examined === null) return { name, findings, setup, asking: null };
  const row = place.ledger === "ready" ? await pipelines.byName(place.database, name) : null;
  const pipeline = previewOf(examined, parts.providers(config), row);
  try {
    const { asking, found } = await planAsking(parts, place, { pipeline, row });
    return { name, findings: [...findings, ...found], setup, asking };
  } catch (error) {
    const found = foundIn(error);
    // A missing right was found before, with its grant.
    const isKnown = findings.some(({ level }) => level === "problem");
    return { name, findings: isKnown ? findings : [...findings, found], setup, asking: null };
  }
}

interface Known {
  readonly pipeline: Asking;
  readonly row: PipelineRow | null;
}

async function planAsking(
  { database, requestsShown }: PlanParts,
  { ledger }: Place,
  { pipeline, row }: Known,
): Promise<{ asking: AskingPlan; found: readonly Finding[] }> {
  const { config, id } = pipeline;
  const rows = await countRows(database, pipeline, row);
  // Also of a pipeline that is not registered yet: its tries taught the size of answers.
  const facts = ledger === "ready" ? await readMoney(database, pipeline, row) : unknownMoney(pipeline);
  const limits = { ...facts.file, tokensWhole: facts.limits.enqueuedTokens };
  const { sizes, learned } = facts;
  const decision = row === null ? null : await decisionOf(database, pipeline, row);
  const examined = await examineRows(database, pipeline, {
    rows,
    asksAnswered: asksAnswered(decision),
    limits,
    sizes,
    learned,
    requestsShown,
  });
  const asking = decidePlan({
    pipeline,
    ledger,
    row,
    rows,
    decision,
    examined,
    money: facts,
    isApproved: row !== null && (await isApproved(database, pipeline)),
    oldestWaitMs: row === null ? null : (await queue.readyFacts(database, id)).oldestWaitMs,
  });
  const among = { read: examined.read, of: asking.rows.send };
  const found = [
    ...rowFindings(config, examined.faults, among),
    ...(await keyless(database, pipeline)),
    ...(row === null ? [] : await demo(database, pipeline)),
  ];
  return { asking, found };
}

/** As `up` would record it. */
async function decisionOf(
  database: Database,
  { config: { onChange }, definitionHash }: Asking,
  row: PipelineRow,
): Promise<DefinitionPlan["decision"]> {
  const present = onChange === "ask" ? "undecided" : onChange;
  if (row.definitionHash !== definitionHash) return present;
  const decision = (await reading(database, (tx) => changes.changeOf(tx, row.id)))?.decision ?? null;
  return decision === "undecided" ? present : decision;
}

function isApproved(database: Database, { id, config, definitionHash, provider }: Asking): Promise<boolean> {
  const { price } = config.request;
  const wanted = { definitionHash, account: provider.account, price: price === null ? null : { ...price } };
  return planned.isApproved(database, id, wanted);
}

const NOTHING_LEARNED: money.LearnedLimits = { enqueuedTokens: null, inputBytes: null, sizeGuesses: 0, waitMs: 0 };

function unknownMoney(pipeline: Asking): MoneyFacts {
  return {
    sizes: null,
    learned: { tokens: 0, nanoUsd: 0 },
    limits: NOTHING_LEARNED,
    file: fileLimits(pipeline, NOTHING_LEARNED),
    reservedTokens: 0,
    spending: { spentNanoUsd: 0, reservedNanoUsd: 0, batchesInFlight: 0 },
  };
}

function readMoney(database: Database, pipeline: Asking, row: PipelineRow | null): Promise<MoneyFacts> {
  const { id, config, provider, definitionHash } = pipeline;
  const { account } = provider;
  const { model } = config.request;
  return reading(database, async (tx) => {
    const limits = await money.learnedLimits(tx, account, model);
    // A budget per run starts with the next `up`.
    const period = { per: config.budget?.per ?? "total", runId: null, account };
    return {
      sizes: await outputSizes.sizesOf(tx, { pipeline: config.name, definitionHash }),
      learned: await money.lineMaxima(tx, id),
      limits,
      file: fileLimits(pipeline, limits),
      reservedTokens: await money.reservedTokens(tx, account, model),
      // Its tries may have come before it.
      spending:
        row === null ? await tryMoney.spentByTries(tx, config.name, period.per) : await money.spending(tx, id, period),
    };
  });
}

async function keyless(database: Database, { source }: Asking): Promise<readonly Finding[]> {
  const found = await reading(database, (tx) => source.countKeyless(tx, KEYLESS_MS_MAX));
  return found === null || found.rows === 0 ? [] : [keylessFinding(found.rows, found.reason)];
}

async function demo(database: Database, { id, config, provider }: Asking): Promise<readonly Finding[]> {
  const rows = await planned.demoAnswers(database, id, provider.account);
  return rows === 0 ? [] : [demoFinding(config.name, rows)];
}
