/**
 * Whether the provider was sent again without a reason: the journal's executions, beside what the ledger says of
 * each attempt. For tests in which rows change, so that the same content may rightly be sent again.
 */
import { parseCustomId } from "../../src/model/request/custom-id.js";
import { sql, type TestProject } from "./project.js";

interface Asked {
  readonly attempt: number;
  readonly hash: string;
}

interface Told {
  readonly key: string;
  readonly attempt: number;
  readonly outcome: string;
}

export interface Repeats {
  readonly executed: number;
  /** Outcome → how often the same content of the same row was sent again because of it. */
  readonly reasons: Readonly<Record<string, number>>;
  /** Executions that nothing accounts for, in words. */
  readonly unstated: readonly string[];
}

/**
 * `mayLackResult`: keys, as `PIPELINE KEY`, whose result a user deleted from the target; an answered one may then be
 * sent again.
 */
export async function repeats(project: TestProject, mayLackResult: ReadonlySet<string> = new Set()): Promise<Repeats> {
  const asked = await askedByRequest(project);
  const told = await toldByRequest(project);
  const unstated: string[] = [];
  const reasons: Record<string, number> = {};
  let executed = 0;
  for (const [id, times] of asked) {
    executed += times.length;
    const attempts = told.get(id) ?? [];
    const unknown = times.find(({ attempt }) => !attempts.some((known) => known.attempt === attempt));
    if (unknown) unstated.push(`request ${id} attempt ${unknown.attempt}: executed, and not in the ledger`);
    for (const { first, next } of pairs(times)) {
      const why = reasonToAskAgain({ first, next, attempts, times, mayLackResult });
      if (why === null) unstated.push(`request ${id}: ${JSON.stringify({ first, next, attempts })}`);
      else reasons[why] = (reasons[why] ?? 0) + 1;
    }
  }
  return { executed, reasons, unstated };
}

async function askedByRequest(project: TestProject): Promise<Map<string, Asked[]>> {
  const asked = new Map<string, Asked[]>();
  for await (const entry of project.gateway.journal.entries()) {
    if (entry.kind !== "executed") continue;
    const id = parseCustomId(entry.customId ?? "");
    if (id === null) throw new Error(`${entry.customId} was executed, and is no request of ours.`);
    const times = asked.get(id.requestId) ?? [];
    asked.set(id.requestId, [...times, { attempt: id.attempt, hash: id.hashPrefix }]);
  }
  return asked;
}

async function toldByRequest(project: TestProject): Promise<Map<string, Told[]>> {
  const rows = await project.rows<Told & { id: string }>(sql`
    select a.request_id::text as id, p.name || ' ' || r.key as key, a.attempt, a.outcome from rowmill.attempts a
    join rowmill.requests r on r.id = a.request_id
    join rowmill.pipelines p on p.id = r.pipeline_id
    order by a.attempt`);
  const told = new Map<string, Told[]>();
  for (const { id, ...attempt } of rows) told.set(id, [...(told.get(id) ?? []), attempt]);
  return told;
}

/** Each execution with the next one of the same content. */
function pairs(times: readonly Asked[]): { first: Asked; next: Asked }[] {
  const inOrder = [...times].sort((a, b) => a.attempt - b.attempt);
  return inOrder.flatMap((first, index) => {
    const next = inOrder.slice(index + 1).find(({ hash }) => hash === first.hash);
    return next === undefined ? [] : [{ first, next }];
  });
}

/** Null: none. The same attempt twice is never right. */
function reasonToAskAgain(again: {
  first: Asked;
  next: Asked;
  attempts: readonly Told[];
  times: readonly Asked[];
  mayLackResult: ReadonlySet<string>;
}): string | null {
  const { first, next, attempts, times, mayLackResult } = again;
  const ended = attempts.find(({ attempt }) => attempt === first.attempt);
  if (ended === undefined || first.attempt === next.attempt) return null;
  if (ended.outcome !== "answered") return ended.outcome;
  const isBetween = ({ attempt }: { attempt: number }) => attempt > first.attempt && attempt < next.attempt;
  const replaced = times
    .filter((time) => isBetween(time) && time.hash !== first.hash)
    .some(({ attempt }) => attempts.some((known) => known.attempt === attempt && known.outcome === "answered"));
  if (replaced) return "the target held the answer to another content";
  return mayLackResult.has(ended.key) ? "a user deleted the result" : null;
}
