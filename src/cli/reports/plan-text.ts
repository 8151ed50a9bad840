/** Owns the words of `rowmill plan`. Pure. */
import type {
  AskingPlan,
  BatchLimit,
  DefinitionPlan,
  LaterBecause,
  LedgerSetup,
  PipelinePlan,
  PlannedRequest,
  ProjectPlan,
  Sampled,
} from "../../app/plan/pipeline-plan.js";
import type { Finding, Level } from "../../model/words/finding.js";
import { proseLine, safeSql } from "../../model/words/one-line.js";
import { budgetWords, formatUsd } from "../../model/provider/pricing.js";
import type { Terminal } from "../screen/terminal.js";
import { counted, describeCost, fitKey, formatCount, formatWait } from "../screen/text.js";

type Style = Pick<Terminal, "bold">;

/** `quoted`: words of rows and prompts, in which no command of ours is spelled. */
export interface PlanLine {
  readonly text: string;
  readonly quoted: boolean;
}

/** What concerns the whole database, then each pipeline, with an empty line before each. */
export function planLines(plan: ProjectPlan, style: Style): PlanLine[] {
  const blocks = [
    plan.findings.flatMap((finding) => findingLines(finding, "")).map(ours),
    ...plan.pipelines.map((pipeline) => [
      ...pipelineLines(pipeline, plan.ledger, style).map(ours),
      ...requestLines(pipeline.asking?.requests ?? []).map((text) => ({ text, quoted: true })),
    ]),
  ].filter((block) => block.length > 0);
  return blocks.flatMap((block, at) => (at === 0 ? block : [ours(""), ...block]));
}

function ours(text: string): PlanLine {
  return { text, quoted: false };
}

function pipelineLines(plan: PipelinePlan, ledger: LedgerSetup, { bold }: Style): string[] {
  const { name, asking, findings } = plan;
  const body = [
    ...(asking === null ? [] : askingLines(name, asking)),
    ...setupLines(plan, ledger),
    ...findings.flatMap((finding) => findingLines(finding, "  ")),
  ];
  return [bold(`${name}: ${headline(asking)}`), ...body];
}

function headline(asking: AskingPlan | null): string {
  if (asking === null) return "nothing can be planned yet";
  const { send, arrived, counted: how } = asking.rows;
  const { state, compared } = asking.definition;
  if (send === 0) return "no row would go out";
  const isMost = arrived > 0 || state === "unknown";
  const isAbout = how === "estimated" || (compared !== null && compared.read < compared.of);
  return `${isMost ? "up to " : ""}${isAbout ? "about " : ""}${counted(send, "row")} would go out`;
}

function askingLines(name: string, asking: AskingPlan): string[] {
  const { rows, pause } = asking;
  return [
    ...reasonLines(asking),
    ...restLines(asking),
    ...definitionLines(name, asking),
    ...(rows.send === 0 ? [] : sendingLines(asking)),
    ...(pause === null ? [] : [`  Paused: ${proseLine(pause.reason)}${resumeText(name, pause.kind)}`]),
  ];
}

/** Other reasons say it themselves. */
function resumeText(name: string, kind: NonNullable<AskingPlan["pause"]>["kind"]): string {
  return kind === "person" ? `. To resume it: rowmill resume ${name}` : "";
}

function reasonLines({ rows }: AskingPlan): string[] {
  const reasons = [
    ["new", rows.fresh, "never asked"],
    ["changed content", rows.changed, "answered before the row changed"],
    ["changed config", rows.redefined, "answered, but the config now asks something else"],
    ["another try", rows.again, "sent before, without a usable answer"],
    ["recorded changes", rows.arrived, "no worker has looked at them yet; at most this many"],
  ] as const;
  const shown = reasons.filter(([, count]) => count > 0);
  const width = Math.max(0, ...shown.map(([, count]) => formatCount(count).length));
  const nameWidth = Math.max(0, ...shown.map(([reason]) => reason.length));
  const notes = [
    ...(rows.counted === "estimated" ? ["New rows by the database's statistics: counting takes over 5 seconds."] : []),
    ...(rows.reasons === null ? [] : [`Why rows wait: ${sampleText(rows.reasons)}.`]),
  ];
  return [
    ...shown.map(
      ([reason, count, why]) => `  ${reason.padEnd(nameWidth)}  ${formatCount(count).padStart(width)}  ${why}`,
    ),
    ...notes.map((note) => `  ${note}`),
  ];
}

function sampleText({ read, of }: Sampled): string {
  return `by a sample of ${formatCount(read)} of ${counted(of, "row")}`;
}

function restLines({ rows }: AskingPlan): string[] {
  const parts = [
    [rows.answered, "answered"],
    [rows.failed, "failed"],
    [rows.inFlight, "in flight"],
    [rows.skipped, 'there before the pipeline (existing: "skip")'],
    [rows.refused, "without a usable key"],
    [rows.heldByLimit, "held back by limit"],
  ] as const;
  const shown = parts.filter(([count]) => count > 0).map(([count, what]) => `${formatCount(count)} ${what}`);
  return shown.length === 0 ? [] : [`  Not sent: ${shown.join(", ")}`];
}

function definitionLines(name: string, { definition }: AskingPlan): string[] {
  const { state, compared, asksAgain, likelyNanoUsd, keepsAnswer } = definition;
  const isEdited = state === "changed";
  const what = isEdited ? "Your edit of the config" : "The config, changed since these answers,";
  const later = inFlightLines(definition);
  if (compared === null) return isEdited ? [`  ${what} sends no answered row again`, ...later] : later;
  // A sweep that has not ended compares answers of the same definition too.
  if (!isEdited && asksAgain + keepsAnswer === 0) return later;
  const by = compared.read < compared.of ? ` (${sampleText(compared)})` : "";
  const rows = asksAgain === 0 ? "no row" : counted(asksAgain, "row");
  return [
    `  ${what} sends ${rows} again${aboutText(asksAgain, likelyNanoUsd)}${by}`,
    ...decisionLines(name, definition),
    ...later,
  ];
}

function aboutText(rows: number, likelyNanoUsd: number | null): string {
  return likelyNanoUsd === null || rows === 0 ? "" : `, about ${formatUsd(likelyNanoUsd)}`;
}

function decisionLines(name: string, { decision, asksAgain, keepsAnswer }: DefinitionPlan): string[] {
  const have = keepsAnswer === 1 ? "keeps its answer" : "keep their answers";
  if (keepsAnswer > 0)
    return [`    ${counted(keepsAnswer, "answered row")} ${have}: onChange is "${decision}", or you decided so`];
  return decision === "undecided" && asksAgain > 0
    ? [`    rowmill up asks first. Without a terminal, answered rows wait for your yes: rowmill approve ${name}`]
    : [];
}

function inFlightLines({ decision, inFlight }: DefinitionPlan): string[] {
  if (inFlight === null) return [];
  const { rows, asksAgain, likelyNanoUsd } = inFlight;
  const [are, their, they] =
    rows === 1 ? ["is", "its answer counts", "it is"] : ["are", "their answers count", "they are"];
  const cost = aboutText(asksAgain, likelyNanoUsd);
  const then =
    asksAgain === 0
      ? `${they} not sent again`
      : decision === "undecided"
        ? `you decide with the answered rows whether ${they} sent again then${cost}`
        : `then ${they} sent again if the config asks something else${cost} at most`;
  return [`  ${counted(rows, "row")} ${are} in flight: ${their} for the previous config; ${then}`];
}

function sendingLines(asking: AskingPlan): string[] {
  const { estimate, measured, model } = asking;
  const tokens = `about ${formatCount(estimate.inputTokens)} input and ${formatCount(estimate.outputTokens)} output`;
  const cost =
    estimate.likelyNanoUsd === null
      ? `unknown, because Rowmill has no price for ${model}`
      : describeCost(estimate, null);
  return [
    `  Batches: ${batchesText(asking)}`,
    ...laterLines(asking),
    `  Start: ${startText(asking)}`,
    `  Tokens: ${tokens}${measuredText(measured)}`,
    `  Cost: ${cost}`,
    ...repeatedLines(asking),
    ...budgetLines(asking),
    `  Approval: ${approvalText(asking)}`,
  ];
}

/** The estimate counts each of these rows, because a sample does not say how many share a line. */
function repeatedLines({ repeated }: AskingPlan): string[] {
  if (repeated === null) return [];
  const { rows, read, of, shared } = repeated;
  const among = read === of ? counted(read, "row") : `${formatCount(read)} sampled rows`;
  const ask = rows === 1 ? "asks" : "ask";
  const what = shared
    ? "a batch sends such rows once, for less (dedupe)"
    : "to send such rows once per batch: dedupe: true";
  return [`  Equal questions: ${formatCount(rows)} of ${among} ${ask} the same as another one; ${what}`];
}

function measuredText(measured: Sampled): string {
  if (measured.read === 0) return ", a guess: Rowmill could not measure any row";
  return measured.read < measured.of ? `, ${sampleText(measured)}` : "";
}

const LIMITS: Readonly<Record<BatchLimit, string>> = {
  rows: "all rows fit",
  maxRequests: "by batch.maxRequests",
  providerRequests: "the provider's limit of requests",
  maxBytes: "by batch.maxBytes",
  providerBytes: "the provider's limit of bytes",
  learnedBytes: "the largest file that your account accepted",
  enqueuedTokens: "the token limit of your account's queue",
  budget: "by the budget",
};

function batchesText({ packing }: AskingPlan): string {
  const { batches, requests, requestsEach, bytesEach, decidedBy, later } = packing;
  if (batches === 0) return "none now";
  const size = `about ${bytesText(requestsEach * bytesEach)}`;
  const each = batches === 1 ? counted(requests, "request") : `up to ${counted(requestsEach, "request")}`;
  const first = later === null ? formatCount(batches) : `${formatCount(batches)} at first,`;
  return `${first} of ${each}, ${size}${batches === 1 ? "" : " each"} (${LIMITS[decidedBy]})`;
}

const KB = 1_000;
const KB_SHOWN_MAX = 9_999;

function bytesText(bytes: number): string {
  const kB = Math.ceil(bytes / KB);
  return kB <= KB_SHOWN_MAX ? `${formatCount(kB)} kB` : `${formatCount(Math.round(kB / KB))} MB`;
}

const LATER: Readonly<Record<LaterBecause, string>> = {
  noTokens: "when batches in flight leave the token queue",
  noMoney: "when the budget has room again",
  tooFew: "never: a batch holds fewer requests than the provider accepts. Raise batch.maxRequests and batch.maxBytes",
  fewRows: "when more rows wait: the provider accepts no batch that small",
  guessedBytes: "one at a time, until the provider accepts a file of this size",
};

function laterLines({ packing: { later } }: AskingPlan): string[] {
  if (later === null) return [];
  const { requests, batches, because } = later;
  return [`  Later: ${counted(requests, "request")} in about ${counted(batches, "batch")}, ${LATER[because]}`];
}

function startText({ start, rows }: AskingPlan): string {
  switch (start.kind) {
    case "nothing":
      return "nothing waits";
    case "provider":
      return `in ${formatWait(start.waitMs)}, when the provider accepts requests of this account again`;
    case "waits": {
      const enough = `when ${counted(start.rows, "row")} wait (when.rows; now ${formatCount(rows.send)})`;
      return `in ${formatWait(start.waitMs)} (when.maxWait), or ${enough}`;
    }
    case "now": {
      const why = start.because === "threshold" ? "when.rows is reached" : "the oldest row has waited for when.maxWait";
      return `as soon as a worker runs: ${why}`;
    }
  }
}

function budgetLines({ budget }: AskingPlan): string[] {
  if (budget === null) return [];
  const { spentNanoUsd, reservedNanoUsd, leftNanoUsd, stops } = budget;
  const used = `${formatUsd(spentNanoUsd)} spent, ${formatUsd(reservedNanoUsd)} reserved`;
  const left = `${formatUsd(leftNanoUsd)} left`;
  const verdict = stops ? "likely not enough for these rows" : "likely enough";
  return [`  Budget: ${budgetWords(budget)}: ${used}, ${left}; ${verdict}`];
}

function approvalText({ approval, estimate }: AskingPlan): string {
  const above = `above $${approval.aboveUsd} (approveAboveUsd)`;
  if (approval.state === "given") return "given";
  if (approval.state === "notNeeded") return `not needed: the estimate is not ${above}`;
  const why = estimate.likelyNanoUsd === null ? "the price is unknown" : `the estimate is ${above}`;
  return `needed: ${why}. rowmill up shows the cost and asks`;
}

function setupLines({ setup }: PipelinePlan, ledger: LedgerSetup): string[] {
  if (setup === null) return [];
  const { target, triggers } = setup;
  const made = [
    ...(ledger === "missing" ? ["creates the schemas rowmill and rowmill_worker"] : []),
    ...(triggers.length === 0 ? [] : [`puts triggers on ${triggers.join(", ")}`]),
  ];
  const changes = target === null ? [] : target.statements;
  const verb = target?.exists === true ? "changes" : "creates";
  const all = [...made, ...(changes.length === 0 || target === null ? [] : [`${verb} ${target.table}`])];
  const last = all.pop();
  if (last === undefined) return [];
  return [
    `  Setup: rowmill up ${all.length === 0 ? last : `${all.join(", ")}, and ${last}`}`,
    ...changes.flatMap((statement) => `${safeSql(statement)};`.split("\n")).map((line) => `    ${line}`),
  ];
}

const SIGNS: Readonly<Record<Level, string>> = {
  ok: "✓",
  warning: "! warning:",
  problem: "✗ problem:",
  notChecked: "· not checked:",
};

function findingLines({ level, text, fixes, sql }: Finding, indent: string): string[] {
  return [
    `${indent}${SIGNS[level]} ${proseLine(text)}`,
    ...fixes.map((fix) => `${indent}  - ${proseLine(fix)}`),
    ...(sql.length === 0 ? [] : [`${indent}  - Run as an administrator or as the owner:`]),
    ...sql.map((statement) => `${indent}      ${safeSql(statement)}`),
  ];
}

const PART_LINES_MAX = 10;
const PART_CHARACTERS_MAX = 1_000;

/** The schema is that of the definition, so it stands at the first one only. */
function requestLines(requests: readonly PlannedRequest[]): string[] {
  return requests.flatMap((request, at) => [
    `  Request ${at + 1} of ${requests.length} shown: row ${fitKey(request.key)}`,
    ...partLines("model", `${request.model}, at most ${counted(request.maxOutputTokens, "output token")}`),
    ...(request.system === null ? [] : partLines("system", request.system)),
    ...partLines("user", request.user),
    ...(request.schema === null ? [] : partLines("schema", at === 0 ? JSON.stringify(request.schema) : "as above")),
  ]);
}

/** Further lines of a text are aligned below its first one; long texts are cut. */
function partLines(label: string, text: string): string[] {
  const head = text.slice(0, PART_CHARACTERS_MAX).split("\n").slice(0, PART_LINES_MAX);
  const left = text.length - head.join("\n").length;
  const shown = [
    ...head.map(proseLine),
    ...(left > 0 ? [`… ${counted(left, "more character")}; whole with --json`] : []),
  ];
  return shown.map((line, at) => `    ${(at === 0 ? label : "").padEnd("system".length)}  ${line}`.trimEnd());
}
