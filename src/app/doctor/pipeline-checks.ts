/** What the ledger knows: pipelines that the config does not, triggers, pauses, work that nobody does, batches that nobody knows. */
import type { Provider, ProviderBatch } from "../../model/provider/provider.js";
import { overdueText } from "../../model/batch/overdue.js";
import { heldText } from "../../model/provider/account.js";
import { countArrivals } from "../../store/requests/arrivals.js";
import { deploymentId } from "../../store/ledger/deployment.js";
import * as stuckBatches from "../../store/batches/stuck-batches.js";
import * as migrations from "../../store/ledger/migrations.js";
import * as overview from "../../store/ledger/overview.js";
import * as pipelines from "../../store/pipelines/pipelines.js";
import * as duplicates from "../../store/batches/duplicates.js";
import * as uninstallation from "../../store/ledger/uninstallation.js";
import { listOurs } from "../../worker/rounds/duplicates.js";
import { CLOCKS_APART_SECONDS } from "../../worker/rounds/provider-clock.js";
import { counted, notChecked, ok, problem, sentence, warning, type Check, type Finding } from "./check.js";
import { known, readOnly, type Look } from "./look.js";
import { eachPipeline } from "./table-checks.js";
import { accountWords, choiceOf } from "../open/providers.js";
import {
  judgeForeignTriggers,
  judgeOurTriggers,
  judgeReplicaRole,
  lookAtForeignTriggers,
  lookAtOurTriggers,
  lookForReplicaRole,
} from "./triggers.js";

/** Batches are created a moment after they are recorded as intended; younger ones may be on their way into the ledger. */
const ORPHAN_SECONDS_MIN = 300;
const ORPHAN_SECONDS_MAX = 86_400;
const ORPHANS_SHOWN_MAX = 5;
/** For the whole of the list. */
const LIST_MS_MAX = 30_000;
const OVERDUE_SHOWN_MAX = 5;
const HELD_SHOWN_MAX = 5;

const LEDGER = { group: "Pipelines", otherwise: "Rowmill's schema cannot be used" } as const;

export const foreignTriggersCheck: Check = {
  id: "foreign-triggers",
  group: "Tables",
  title: "Other triggers",
  needs: ["version", "encoding"],
  otherwise: "",
  run: async (look) => {
    const findings = await eachPipeline(look, async ({ name }) => {
      const table = look.tables.get(name);
      if (table === undefined) return [notChecked(`${name}: its source was not found`)];
      const oids = table.relations.map((relation) => relation.oid);
      return judgeForeignTriggers(name, await readOnly(look, (tx) => lookAtForeignTriggers(tx, oids)));
    });
    const replica = judgeReplicaRole(await readOnly(look, lookForReplicaRole));
    const all = [...findings, ...replica];
    return all.length > 0 ? all : [ok("none sends rows over HTTP, and no session switches triggers off")];
  },
};

export const PIPELINE_CHECKS: readonly Check[] = [
  { ...LEDGER, id: "ledger", title: "Ledger", needs: ["version", "encoding"], run: lookAtLedger },
  { ...LEDGER, id: "triggers", title: "Triggers", needs: ["ledger"], run: lookAtTriggers },
  { ...LEDGER, id: "unconfigured", title: "Config", needs: ["ledger"], run: lookForUnconfigured },
  { ...LEDGER, id: "pauses", title: "Pauses", needs: ["ledger"], run: lookAtPauses },
  { ...LEDGER, id: "work", title: "Work", needs: ["ledger"], run: lookAtWork },
  { ...LEDGER, id: "orphans", title: "Batches", needs: ["ledger", "key"], run: lookForOrphans },
];

async function lookAtLedger(look: Look): Promise<readonly Finding[]> {
  return readOnly(look, async (tx) => {
    if (!(await overview.ledgerExists(tx)))
      return [ok("Rowmill is not set up in this database yet; rowmill up does it", { stops: true })];
    const pending = await migrations.pendingMigrations(tx);
    if (pending.length === 0) return [ok("of this version")];
    return [
      ok(`of an earlier version; rowmill up brings it to this one (${counted(pending.length, "step")})`),
    ];
  });
}

async function lookAtTriggers(look: Look): Promise<readonly Finding[]> {
  const rows = await readOnly(look, pipelines.all);
  return eachPipeline(look, async ({ name }) => {
    const row = rows.find((candidate) => candidate.name === name);
    const table = look.tables.get(name);
    if (row === undefined) return [ok(`${name}: rowmill up puts its triggers in place`)];
    if (row.uninstalledAt !== null)
      return [
        warning(`${name} is uninstalled: it has no triggers.`, { mends: ["rowmill up puts them back."] }),
      ];
    if (table === undefined) return [notChecked(`${name}: its source was not found`)];
    const found = await readOnly(look, (tx) => lookAtOurTriggers(tx, row.id));
    const findings = judgeOurTriggers(name, table, found);
    return findings.length > 0
      ? findings
      : [ok(`${name}: ${counted(found.length, "trigger")} on ${table.qualified}`)];
  });
}

async function lookForUnconfigured(look: Look): Promise<readonly Finding[]> {
  const { pipelines: wanted } = known(look.config, "a config");
  const rows = await readOnly(look, pipelines.all);
  const left = rows.filter(
    (row) => row.uninstalledAt === null && !wanted.some((pipeline) => pipeline.name === row.name),
  );
  if (left.length === 0) return [ok("every pipeline of the database is in the config")];
  return left.map(({ name }) =>
    warning(
      `${name} is in the database, but not in the config: its triggers go on noting keys, and nobody takes them.`,
      {
        mends: [
          "Put it back into the config; under a new name it is another pipeline, and asks for every row anew.",
          `Or take its triggers off: rowmill uninstall ${name}`,
        ],
      },
    ),
  );
}

async function lookAtPauses(look: Look): Promise<readonly Finding[]> {
  const paused = (await readOnly(look, pipelines.all)).filter((row) => row.pauseKind !== null);
  if (paused.length === 0) return [ok("none")];
  const suspected = paused.find(({ pauseKind }) => pauseKind === "deployment");
  if (suspected !== undefined)
    return [
      problem(`All are paused: ${sentence(suspected.pauseReason ?? "")}`, {
        mends: ["What is known of it: rowmill deployment"],
      }),
    ];
  return paused.map(({ name, pauseKind, pauseReason }) =>
    warning(`${name} is paused: ${sentence(pauseReason ?? "no reason was given")}`, {
      mends: [
        pauseKind === "person"
          ? `To go on: rowmill resume ${name}`
          : `When what it says is mended: rowmill resume ${name}`,
      ],
    }),
  );
}

async function lookAtWork(look: Look): Promise<readonly Finding[]> {
  const overdue = await readOnly(look, (tx) => stuckBatches.overdue(tx, { max: OVERDUE_SHOWN_MAX }));
  const findings = overdue.map(overdueText).map(({ wrong, fix }) => warning(wrong, { mends: [fix] }));
  const held = await readOnly(look, (tx) => stuckBatches.held(tx, { max: HELD_SHOWN_MAX }));
  const project = { config: known(look.config, "a config") };
  const waiting = held.map((batch) => {
    const words = {
      of: accountWords(project, batch.provider),
      present: choiceOf(project, batch.pipeline).dialect,
    };
    const { wrong, mends } = heldText(batch, words);
    return warning(wrong, { mends: [...mends] });
  });
  return [...(await lookForWorker(look)), ...waiting, ...findings];
}

async function lookForWorker(look: Look): Promise<readonly Finding[]> {
  return readOnly(look, async (tx) => {
    const workers = await overview.livingWorkers(tx);
    if (workers.length > 0) return [ok(`${counted(workers.length, "worker")} running`)];
    let arrivals = 0;
    for (const row of await pipelines.all(tx)) arrivals += await countArrivals(tx, row.id);
    return [judgeIdle({ arrivals, batches: await uninstallation.countInFlightBatches(tx) })];
  });
}

/** Without a worker. */
export function judgeIdle({ arrivals, batches }: { arrivals: number; batches: number }): Finding {
  const waiting = [
    ...(arrivals > 0 ? [`${counted(arrivals, "note")} of changed rows`] : []),
    ...(batches > 0 ? [`${counted(batches, "batch")} in flight`] : []),
  ];
  if (waiting.length === 0) return ok("no worker runs, and nothing waits for one");
  return warning(`No worker runs; waiting for one: ${waiting.join(", ")}.`, {
    mends: ["Start one: rowmill up, or from cron: rowmill up --once"],
  });
}

/** Provider batches of the last day that carry this ledger's name, and that it does not know. */
async function lookForOrphans(look: Look): Promise<readonly Finding[]> {
  const seen = known(look.seen, "an answer of the provider");
  const deployment = await readOnly(look, deploymentId);
  // One whose key was not accepted has no list for us.
  const accepted = seen.filter(({ findings }) =>
    findings.every(({ about, level }) => about !== "key" || level === "ok"),
  );
  const [silent, showing] = [true, false].map((isSilent) =>
    accepted.filter(({ provider }) => (provider.recovery.find === "circumstance") === isSilent),
  ) as [typeof accepted, typeof accepted];
  const untold = silent.map(({ provider: { title } }) =>
    ok(
      `${title} shows nothing of ours with a batch, so whether it has any that this ledger does not know cannot be told`,
    ),
  );
  const orphans: ProviderBatch[] = [];
  for (const { provider } of showing) orphans.push(...(await orphansAt(look, provider, deployment)));
  if (orphans.length === 0)
    return showing.length === 0 && untold.length > 0
      ? untold
      : [ok("every batch of ours of the last day is known"), ...untold];
  const names = orphans.slice(0, ORPHANS_SHOWN_MAX).map((batch) => `${batch.id} (${batch.statusText})`);
  return [
    problem(
      `${counted(orphans.length, "batch")} of this ledger's name that it does not know, at the provider: ${names.join(", ")}.`,
      {
        mends: [
          "Was the database restored from a backup, or copied? A worker that meets this sends nothing until a person says which.",
          "If the former database is gone: rowmill deployment --restored. If it lives on: rowmill deployment --copy",
        ],
      },
    ),
    ...untold,
  ];
}

async function orphansAt(
  look: Look,
  provider: Provider,
  deployment: string,
): Promise<readonly ProviderBatch[]> {
  const clockSeconds = provider.clockSeconds();
  const now = clockSeconds ?? Math.floor(Date.now() / 1_000);
  const ageMin = clockSeconds === null ? CLOCKS_APART_SECONDS : ORPHAN_SECONDS_MIN;
  const signal = AbortSignal.timeout(LIST_MS_MAX);
  const listed = await listOurs(provider.list(now - ORPHAN_SECONDS_MAX, { signal }), {
    deployment,
    recovery: provider.recovery,
  });
  const ours = listed.ours.filter((batch) => (batch.createdAt ?? now) < now - ageMin);
  const ids = ours.map((batch) => batch.id);
  const found = await readOnly(look, (tx) => duplicates.knownProviderBatches(tx, provider.account, { ids }));
  return ours.filter((batch) => !found.has(batch.id));
}
