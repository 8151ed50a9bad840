/** What the ledger knows: version, triggers, pipelines that left the config, pauses, waiting work, orphan batches. */
import type { Provider, ProviderBatch } from "../../model/provider/provider.js";
import { overdueText } from "../../model/batch/overdue.js";
import { heldText } from "../../model/provider/account.js";
import { asSentence } from "../../model/words/as-sentence.js";
import { counted } from "../../model/words/counted.js";
import { pauseCommand } from "../../model/words/pause-text.js";
import { replicaTable } from "../../model/replica-name.js";
import type { PipelineConfig } from "../../model/pipeline.js";
import { notChecked, ok, problem, warning, type Finding } from "../../model/words/finding.js";
import { diagnoseOurTriggers } from "../../sources/table/diagnose-triggers.js";
import * as arrivals from "../../store/requests/arrivals.js";
import * as deployment from "../../store/ledger/deployment.js";
import * as stuckBatches from "../../store/batches/stuck-batches.js";
import * as migrations from "../../store/ledger/migrations.js";
import * as overview from "../../store/ledger/overview.js";
import * as pipelines from "../../store/pipelines/pipelines.js";
import * as duplicates from "../../store/batches/duplicates.js";
import * as replicas from "../../store/replicas/replicas.js";
import * as uninstallation from "../../store/ledger/uninstallation.js";
import { listOurs } from "../../worker/rounds/duplicates.js";
import { CLOCKS_APART_SECONDS } from "../../worker/rounds/provider-clock.js";
import * as refusedPushes from "../../store/replicas/refused-pushes.js";
import { refusedPushText } from "../../model/words/refused-push-text.js";
import { accountWords, choiceOf } from "../open/providers.js";
import { eachPipeline, known, readOnly, type Check, type Look } from "./look.js";

/** Batches are created a moment after their intent is recorded; younger ones may be on their way into the ledger. */
const ORPHAN_SECONDS_MIN = 300;
const ORPHAN_SECONDS_MAX = 86_400;
const ORPHANS_SHOWN_MAX = 5;
/** For the whole of the list. */
const LIST_MS_MAX = 30_000;
const OVERDUE_SHOWN_MAX = 5;
const HELD_SHOWN_MAX = 5;
const REFUSED_SHOWN_MAX = 5;

const LEDGER = { group: "Pipelines", needs: ["ledger"], otherwise: "the ledger cannot be used" } as const;

export const PIPELINE_CHECKS: readonly Check[] = [
  { ...LEDGER, id: "ledger", title: "Ledger", needs: ["version", "encoding"], run: checkLedger },
  { ...LEDGER, id: "triggers", title: "Triggers", run: checkTriggers },
  { ...LEDGER, id: "unconfigured", title: "Config", run: checkUnconfigured },
  { ...LEDGER, id: "pauses", title: "Pauses", run: checkPauses },
  { ...LEDGER, id: "work", title: "Work", run: checkWork },
  { ...LEDGER, id: "orphans", title: "Batches", needs: ["ledger", "key"], run: checkOrphans },
];

async function checkLedger(look: Look): Promise<readonly Finding[]> {
  return readOnly(look, async (tx) => {
    if (!(await overview.ledgerExists(tx)))
      return [ok("Rowmill is not set up in this database yet; rowmill up sets it up", { stops: true })];
    const pending = await migrations.pendingMigrations(tx);
    if (pending.length === 0) return [ok("up to date")];
    return [ok(`of an earlier version; rowmill up upgrades it (${counted(pending.length, "migration")})`)];
  });
}

async function checkTriggers(look: Look): Promise<readonly Finding[]> {
  const rows = await readOnly(look, pipelines.all);
  return eachPipeline(look, async ({ name }) => {
    const row = rows.find((candidate) => candidate.name === name);
    const table = look.tables.get(name);
    if (row === undefined) return [ok(`${name}: rowmill up creates its triggers`)];
    if (row.uninstalledAt !== null)
      return [warning(`${name} is uninstalled and has no triggers.`, { fixes: ["To install it again: rowmill up"] })];
    if (table === undefined) return [notChecked(`${name}: its source was not found`)];
    const { count, findings } = await readOnly(look, (tx) => diagnoseOurTriggers(tx, row, table));
    return findings.length > 0 ? findings : [ok(`${name}: ${counted(count, "trigger")} on ${table.qualified}`)];
  });
}

async function checkUnconfigured(look: Look): Promise<readonly Finding[]> {
  const { pipelines: wanted } = known(look.config, "a config");
  const rows = await readOnly(look, pipelines.all);
  const left = rows.filter(
    (row) => row.uninstalledAt === null && !wanted.some((pipeline) => pipeline.name === row.name),
  );
  const pushed = (await readOnly(look, replicas.all)).filter(({ pipeline }) =>
    wanted.every((one) => !isPushOf(one, pipeline)),
  );
  if (left.length + pushed.length === 0) return [ok("every pipeline in the database is in the config")];
  return [...pushed.map(leftBehind), ...left.map(leftPipeline)];
}

function isPushOf({ name, source }: PipelineConfig, pipeline: string): boolean {
  return name === pipeline && source.replica !== null;
}

/** Renamed, removed, or of another source since. */
function leftBehind({ pipeline }: replicas.Replica): Finding {
  return warning(
    `Rows were pushed to ${pipeline}, which has no source push() in the config: its table ` +
      `${replicaTable(pipeline)} is left behind, and takes more rows.`,
    {
      fixes: [
        "Did you rename the pipeline? Give it its previous name. Under a new name it starts without rows.",
        `Or drop the rows, of which this is the only copy: rowmill uninstall ${pipeline} --pushed-rows`,
      ],
    },
  );
}

function leftPipeline({ name }: pipelines.PipelineRow): Finding {
  return warning(
    `${name} is in the database, but not in the config: its triggers still record changed rows, and no ` +
      "worker reads them.",
    {
      fixes: [
        "Put it back into the config under the same name. Under a new name it is a new pipeline, which sends " +
          "every row again.",
        `Or remove its triggers: rowmill uninstall ${name}`,
      ],
    },
  );
}

async function checkPauses(look: Look): Promise<readonly Finding[]> {
  const paused = (await readOnly(look, pipelines.all)).filter((row) => row.pauseKind !== null);
  if (paused.length === 0) return [ok("none")];
  const suspected = paused.find(({ pauseKind }) => pauseKind === "deployment");
  if (suspected !== undefined)
    return [
      problem(`All pipelines are paused: ${asSentence(suspected.pauseReason ?? "")}`, {
        fixes: ["See what Rowmill knows about it: rowmill deployment"],
      }),
    ];
  return paused.map(({ name, pauseKind, pauseReason }) =>
    warning(`${name} is paused: ${asSentence(pauseReason ?? "no reason was given")}`, {
      fixes: [
        pauseKind === "person"
          ? `To resume it: rowmill resume ${name}`
          : `When you have fixed the cause: ${pauseCommand({ name, pauseKind })}`,
      ],
    }),
  );
}

async function checkWork(look: Look): Promise<readonly Finding[]> {
  const overdue = await readOnly(look, (tx) => stuckBatches.overdue(tx, { max: OVERDUE_SHOWN_MAX }));
  const findings = overdue.map(overdueText).map(({ wrong, fix }) => warning(wrong, { fixes: [fix] }));
  const held = await readOnly(look, (tx) => stuckBatches.held(tx, { max: HELD_SHOWN_MAX }));
  const project = { config: known(look.config, "a config") };
  const waiting = held.map((batch) => {
    const words = { of: accountWords(project, batch.provider), present: choiceOf(project, batch.pipeline).dialect };
    const { wrong, fixes } = heldText(batch, words);
    return warning(wrong, { fixes });
  });
  return [...(await checkWorker(look)), ...waiting, ...findings, ...(await refusedLately(look))];
}

/** Their callers may not look at the reply, as a trigger does not. */
async function refusedLately(look: Look): Promise<readonly Finding[]> {
  const refused = await readOnly(look, (tx) => refusedPushes.listRecent(tx, REFUSED_SHOWN_MAX));
  return refused.map((refusal) => {
    const { wrong, fix } = refusedPushText(refusal);
    const when = `${refusal.lastAt.toISOString().slice(0, 16).replace("T", " ")} UTC`;
    return warning(`${refusal.pipeline ?? "Unknown caller"}: ${asSentence(wrong)} Last at ${when}.`, {
      fixes: [asSentence(fix)],
    });
  });
}

async function checkWorker(look: Look): Promise<readonly Finding[]> {
  return readOnly(look, async (tx) => {
    const workers = await overview.livingWorkers(tx);
    if (workers.length > 0) return [ok(`${counted(workers.length, "worker")} running`)];
    let changes = 0;
    for (const row of await pipelines.all(tx)) changes += await arrivals.countArrivals(tx, row.id);
    return [judgeIdle({ changes, batches: await uninstallation.countInFlightBatches(tx) })];
  });
}

/** Without a worker. */
function judgeIdle({ changes, batches }: { changes: number; batches: number }): Finding {
  const waiting = [
    ...(changes > 0 ? [counted(changes, "recorded change")] : []),
    ...(batches > 0 ? [`${counted(batches, "batch")} in flight`] : []),
  ];
  if (waiting.length === 0) return ok("no worker is running, and nothing is waiting for one");
  return warning(`No worker is running, but work is waiting: ${waiting.join(", ")}.`, {
    fixes: ["Start one: rowmill up. From cron: rowmill up --once"],
  });
}

/** Provider batches of the last day that bear this ledger's name, and are not in it. */
async function checkOrphans(look: Look): Promise<readonly Finding[]> {
  const seen = known(look.seen, "an answer of the provider");
  const ledgerId = await readOnly(look, deployment.deploymentId);
  // A provider that refused the key shows no list.
  const accepted = seen.filter(({ findings }) =>
    findings.every(({ about, level }) => about !== "key" || level === "ok"),
  );
  const [silent, showing] = [true, false].map((isSilent) =>
    accepted.filter(({ provider }) => (provider.recovery.find === "circumstance") === isSilent),
  ) as [typeof accepted, typeof accepted];
  const untold = silent.map(({ provider: { title } }) =>
    ok(`${title} stores no name with a batch, so Rowmill cannot search it for orphan batches`),
  );
  const orphans: ProviderBatch[] = [];
  for (const { provider } of showing) orphans.push(...(await orphansAt(look, provider, ledgerId)));
  if (orphans.length === 0)
    return showing.length === 0 && untold.length > 0
      ? untold
      : [ok("the provider has no orphan batch of the last day"), ...untold];
  const names = orphans.slice(0, ORPHANS_SHOWN_MAX).map((batch) => `${batch.id} (${batch.statusText})`);
  return [
    problem(
      `The provider has ${counted(orphans.length, "orphan batch")}, named after this ledger but not recorded ` +
        `in it: ${names.join(", ")}.`,
      {
        fixes: [
          "Did you restore this database from a backup, or copy it? A worker that finds such a batch sends " +
            "nothing until you say which.",
          "If the previous database is gone: rowmill deployment --restored. If it is still in use: rowmill " +
            "deployment --copy",
        ],
      },
    ),
    ...untold,
  ];
}

async function orphansAt(look: Look, provider: Provider, ledgerId: string): Promise<readonly ProviderBatch[]> {
  const clockSeconds = provider.clockSeconds();
  const now = clockSeconds ?? Math.floor(Date.now() / 1_000);
  const ageMin = clockSeconds === null ? CLOCKS_APART_SECONDS : ORPHAN_SECONDS_MIN;
  const signal = AbortSignal.timeout(LIST_MS_MAX);
  const listed = await listOurs(provider.list(now - ORPHAN_SECONDS_MAX, { signal }), {
    deployment: ledgerId,
    recovery: provider.recovery,
  });
  const ours = listed.ours.filter((batch) => (batch.createdAt ?? now) < now - ageMin);
  const ids = ours.map((batch) => batch.id);
  const found = await readOnly(look, (tx) => duplicates.knownProviderBatches(tx, provider.account, { ids }));
  return ours.filter((batch) => !found.has(batch.id));
}
