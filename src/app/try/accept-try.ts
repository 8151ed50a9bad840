/**
 * Makes answers of a try results, at no further cost: for requests that wait, whose row and question are still what was
 * asked. In the collector's order: locks the requests, then the target's free rows, reads the source, judges again, and
 * writes. One transaction moves everything, so a crash leaves an answer accepted once or not at all. One that fails by
 * its rows is halved, down to the row.
 */
import { randomUUID } from "node:crypto";
import { formatCustomId } from "../../model/request/custom-id.js";
import type { RequestState } from "../../model/request/request-transitions.js";
import { DatabaseError, isConflict, type Database, type Queryable } from "../../postgres/database.js";
import { contentsOf, type SourceRow } from "../../sources/source.js";
import * as adoption from "../../store/batches/adoption.js";
import * as batches from "../../store/batches/batches.js";
import type { InFlight } from "../../store/batches/in-flight.js";
import * as definitions from "../../store/pipelines/definitions.js";
import * as pipelines from "../../store/pipelines/pipelines.js";
import * as accepting from "../../store/tries/accepting.js";
import type { Acceptable } from "../../store/tries/accepting.js";
import type { Try, TryAnswer } from "../../store/tries/tries.js";
import { currentFingerprint, type Pipeline } from "../../worker/context.js";
import { NotHeld, writeAccepted, type Trial } from "../../worker/turn/collect/answer-chunk.js";
import { judgeChunk, type JudgedChunk } from "../../worker/turn/collect/judge-answer.js";
import { causeOf, isOfStatement } from "../../worker/turn/collect/row-refusal.js";
import { userCodeTimer } from "../../worker/user-code.js";
import { liveRates } from "./live-call.js";

/** Short: your own transactions must not wait for ours. */
const LOCK_TIMEOUT_MS = 400;
/** For locks that others hold; then the rows are left. */
const CONFLICT_TRIES_MAX = 5;

export type LeftWhy =
  | "already"
  | "unusable"
  | "forgotten"
  | "noRequest"
  | "notWaiting"
  | "gone"
  | "changed"
  | "definition"
  | "demo"
  | "invalid"
  | "held"
  | "unwritable"
  | "later";

/** An answer that was not accepted. */
export interface LeftAnswer {
  readonly key: string;
  readonly why: LeftWhy;
  /** The state of the request, the problem of the answer, or the database's message. */
  readonly detail: string | null;
}

export interface AcceptedTry {
  /** Keys. */
  readonly accepted: readonly string[];
  readonly left: readonly LeftAnswer[];
}

export interface Accepting {
  readonly database: Database;
  readonly pipeline: Pipeline;
  readonly tried: Try;
  readonly answers: readonly TryAnswer[];
  /** Stops between two transactions. */
  readonly signal: AbortSignal;
}

export async function acceptTry(work: Accepting): Promise<AcceptedTry> {
  const left = work.answers.flatMap((answer) => leftAtOnce(work, answer) ?? []);
  const refused = new Set(left.map(({ key }) => key));
  const open = work.answers.filter(({ key }) => !refused.has(key));
  const parts = open.length === 0 ? { accepted: [], left: [] } : await acceptPart(work, open);
  return { accepted: parts.accepted, left: [...left, ...parts.left] };
}

/** Null: it may be accepted, as far as the try itself says. */
function leftAtOnce({ pipeline, tried }: Accepting, answer: TryAnswer): LeftAnswer | null {
  const { key, outcome, detail, reply, cells, acceptedAt } = answer;
  if (acceptedAt !== null) return { key, why: "already", detail: null };
  if (outcome !== "answered") return { key, why: "unusable", detail: detail ?? outcome };
  if (reply === null || cells === null) return { key, why: "forgotten", detail: null };
  const isOthersDemo = reply.demo === true && tried.account !== pipeline.provider.account;
  return isOthersDemo ? { key, why: "demo", detail: null } : null;
}

async function acceptPart(work: Accepting, answers: readonly TryAnswer[]): Promise<AcceptedTry> {
  const all = (why: LeftWhy, detail: string | null) => ({
    accepted: [],
    left: answers.map(({ key }) => ({ key, why, detail })),
  });
  for (let tries = 1; ; tries++) {
    if (work.signal.aborted) return all("later", null);
    const trial: Trial = { requests: [], keys: [], atTarget: false };
    try {
      return await acceptOnce(work, answers, trial);
    } catch (error) {
      const isHeld = isConflict(error);
      if (isHeld && tries < CONFLICT_TRIES_MAX) continue;
      const message = rowsOwn(error, trial);
      if (message === null) throw error;
      if (isHeld && (answers.length === 1 || !trial.atTarget)) return all("held", message);
      if (answers.length === 1) return all("unwritable", message);
      return halve(work, answers);
    }
  }
}

async function halve(work: Accepting, answers: readonly TryAnswer[]): Promise<AcceptedTry> {
  const middle = Math.ceil(answers.length / 2);
  const first = await acceptPart(work, answers.slice(0, middle));
  const second = await acceptPart(work, answers.slice(middle));
  return { accepted: [...first.accepted, ...second.accepted], left: [...first.left, ...second.left] };
}

/** The message of a failure that single rows can cause; null: it is the statement's, the source's or the ledger's. */
function rowsOwn(error: unknown, { atTarget }: Trial): string | null {
  if (error instanceof NotHeld) return error.message;
  const isOfRows = error instanceof DatabaseError && causeOf(error, atTarget) !== null && !isOfStatement(error);
  return isOfRows ? error.message : null;
}

function acceptOnce(work: Accepting, answers: readonly TryAnswer[], trial: Trial): Promise<AcceptedTry> {
  const { database, pipeline, tried } = work;
  const keys = answers.map(({ key }) => key);
  return database.transaction(
    async (tx) => {
      // Before the requests, as an intake does.
      await pipelines.lockIntake(tx, pipeline.id);
      const hash = await pipelines.keepDefinition(tx, pipeline.id);
      const open = await accepting.lockOpen(tx, tried.no, keys);
      const requests = new Map((await accepting.lockRequests(tx, pipeline.id, keys)).map((one) => [one.key, one]));
      const { busy } = await pipeline.target.lockFree(tx, [...requests.keys()]);
      const rows = await readRows(tx, pipeline, keys);
      const isSameDefinition = hash === tried.definitionHash;
      const version = await definitions.versionOf(tx, pipeline.id, tried.definitionHash);
      const facts = { isSameDefinition, open, requests, busy, rows };
      const looked = answers.map((answer) => ({ answer, seen: look(pipeline, facts, answer) }));
      const judged = judge(work, looked, version);
      const accepted = judged.chunk.accepted.map(({ result }) => result.key);
      if (accepted.length > 0) await settle(tx, work, { judged, trial, keys: accepted });
      // What fails from here on fails at COMMIT.
      trial.atTarget = accepted.length > 0;
      return { accepted, left: judged.left };
    },
    { writingFor: pipeline.id, lockTimeoutMs: LOCK_TIMEOUT_MS },
  );
}

async function readRows(
  tx: Queryable,
  { source }: Pipeline,
  keys: readonly string[],
): Promise<ReadonlyMap<string, SourceRow>> {
  const rows = new Map<string, SourceRow>();
  for await (const read of contentsOf(source, tx, keys)) for (const row of read) rows.set(row.key, row);
  return rows;
}

interface Facts {
  readonly isSameDefinition: boolean;
  /** Keys of answers that are not accepted. */
  readonly open: ReadonlySet<string>;
  readonly requests: ReadonlyMap<string, Acceptable>;
  readonly busy: ReadonlySet<string>;
  readonly rows: ReadonlyMap<string, SourceRow>;
}

interface Fit {
  readonly request: InFlight;
  readonly row: SourceRow;
}

/** Whether the request waits for this very answer. */
function look(pipeline: Pipeline, facts: Facts, answer: TryAnswer): LeftAnswer | Fit {
  const { key, contentHash, fingerprint } = answer;
  const left = (why: LeftWhy, detail: string | null = null): LeftAnswer => ({ key, why, detail });
  if (!facts.open.has(key)) return left("already");
  if (!facts.isSameDefinition) return left("definition");
  const request = facts.requests.get(key);
  if (request === undefined) return left("noRequest");
  if (request.state !== "waiting") return left("notWaiting", request.state satisfies RequestState);
  const row = facts.rows.get(key);
  if (row === undefined) return left("gone");
  if (row.hash !== contentHash) return left("changed");
  if (currentFingerprint(pipeline, row.cells) !== fingerprint) return left("definition");
  if (facts.busy.has(key)) return left("held");
  const attempt = request.attempt + 1;
  return { request: { ...request, attempt, room: answer.room, contentHash, fingerprint, customId: null }, row };
}

interface JudgedTry {
  readonly chunk: Omit<JudgedChunk, "left">;
  readonly left: readonly LeftAnswer[];
  readonly fits: readonly Fit[];
}

/** Again, by schema and `validate`, with the rows as they are. Only what is accepted becomes an attempt. */
function judge(
  { pipeline, tried }: Accepting,
  looked: readonly { readonly answer: TryAnswer; readonly seen: LeftAnswer | Fit }[],
  version: number | null,
): JudgedTry {
  const left = looked.flatMap(({ seen }) => ("why" in seen ? [seen] : []));
  const cases = looked.flatMap(({ answer, seen }) => {
    if ("why" in seen || answer.reply === null) return [];
    const { request, row } = seen;
    const customId = formatCustomId(request.requestId, request.attempt, row.hash);
    return [{ request, row, present: row, lines: [{ ...answer.reply, customId }], isUnread: false }];
  });
  const asked = {
    changed: false,
    reopens: true,
    answer: pipeline.answer,
    triesMax: pipeline.config.attempts,
    target: pipeline.target,
  };
  const batch = { ...liveRates(tried.price), model: tried.model, version, cancel: null };
  const judging = { context: { random: Math.random }, pipeline, batch, asked };
  const chunk = judgeChunk(judging, cases, {
    goneBelieved: true,
    refusals: new Map(),
    isTimeOver: userCodeTimer(),
  });
  if (chunk === "lookFirst") throw new Error("A row of a try that was read seems gone.");
  const keyOf = new Map(cases.map(({ request }) => [request.requestId, request.key]));
  return {
    chunk: { accepted: chunk.accepted, others: [], again: new Map() },
    fits: cases,
    left: [
      ...left,
      ...chunk.others.map(({ id, detail }) => ({ key: keyOf.get(id) ?? "", why: "invalid" as const, detail })),
      ...[...chunk.left.keys()].map((id) => ({ key: keyOf.get(id) ?? "", why: "later" as const, detail: null })),
    ],
  };
}

/** The requests enter a batch of their own and end in it. @throws NotHeld */
async function settle(
  tx: Queryable,
  { pipeline, tried }: Accepting,
  { judged, trial, keys }: { readonly judged: JudgedTry; readonly trial: Trial; readonly keys: readonly string[] },
): Promise<void> {
  const batch = { id: randomUUID(), no: await batches.nextNumber(tx), pipelineId: pipeline.id };
  const won = new Set(keys);
  const taken = judged.fits
    .filter(({ request }) => won.has(request.key))
    .map(({ request, row }, index) => ({
      id: request.requestId,
      hash: row.hash,
      fingerprint: request.fingerprint,
      room: request.room,
      customId: formatCustomId(request.requestId, request.attempt, row.hash),
      line: index + 1,
    }));
  await adoption.takeAdopted(tx, batch, taken);
  await writeAccepted({ pipeline, batch, asked: { target: pipeline.target } }, tx, {
    ...judged.chunk,
    trial,
    at: null,
  });
  await accepting.insertAccepted(tx, {
    ...batch,
    tried,
    windowHours: pipeline.provider.limits.windowHours,
    keys,
  });
  const reason = `rowmill try --accept: ${keys.length} answers of try ${tried.no}`;
  await pipelines.addEvent(tx, pipeline.id, { event: "accepted", reason });
}
