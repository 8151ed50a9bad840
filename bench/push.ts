/**
 * `npm run bench -- push`: what it costs to push rows over HTTP. A thousand pushes a second through a kill -9 of
 * `rowmill up --http`; pushes as fast as they go, against the same rows inserted without Rowmill; and lines (NDJSON)
 * in bulk. Fails if anything that was acknowledged is not there, or a push is there by half.
 */
import { setTimeout as sleep } from "node:timers/promises";
import type pg from "pg";
import type { BenchOptions } from "./bench-options.js";
import { startBenchServer, type BenchServer } from "./bench-server.js";
import { floorFlatOut, pushFlatOut, pushSteadily, streamLines, type Acknowledged, type FlatOut } from "./push-load.js";
import { withPushProject, type PushProject, type PushServer } from "./push-project.js";
import { pushBodies, type Bodies } from "./push-bodies.js";
import { amount, machine, printMachine, printTable, quotient } from "./report.js";

const ROWS = 10;
const CONNECTIONS = 64;
const PER_SECOND_DEFAULT = 1_000;
/** Of the pushes' seconds: the kill comes after this part. */
const KILL_AFTER = 0.5;
const LINES_BYTES = 1_000_000_000;
const BODY_CLIENTS = 10;
/** Below the limit of 64 MiB. */
const BODY_BYTES = 60 * 1024 * 1024;

interface Sizes {
  readonly perSecond: number;
  readonly seconds: number;
  readonly flatOutSeconds: number;
  readonly linesBytes: number;
  readonly bodyBytes: number;
}

interface Steady {
  readonly pushes: number;
  readonly sentAgain: number;
  /** Of those that were due when the server was up. */
  readonly p50Ms: number;
  readonly p99Ms: number;
  /** From the kill until it served again. */
  readonly downMs: number;
  /** Of the pushes that were due meanwhile. */
  readonly longestMs: number;
  readonly allWithinMs: number;
}

/** `--rows`: pushes a second. */
export async function runPush(options: BenchOptions): Promise<void> {
  const sizes: Sizes = {
    perSecond: options.rows ?? (options.smoke ? 50 : PER_SECOND_DEFAULT),
    seconds: options.smoke ? 4 : 30,
    flatOutSeconds: options.smoke ? 2 : 10,
    linesBytes: options.smoke ? 5_000_000 : LINES_BYTES,
    bodyBytes: options.smoke ? 1_000_000 : BODY_BYTES,
  };
  const server = await startBenchServer();
  try {
    await withPushProject(server, options.cli, async (project) => {
      const flatOut = await measureFlatOut(server, project, sizes);
      const steady = await measureSteady(project, sizes);
      const lines = await measureLines(server, project, sizes);
      const bodies = await measureBodies(project, sizes);
      const measured = { flatOut, steady, lines, bodies };
      if (options.json) console.log(JSON.stringify({ machine: machine(), sizes, ...measured }));
      else report(sizes, measured);
    });
  } finally {
    await server.stop();
  }
}

interface Cost extends FlatOut {
  /** Per push. */
  readonly serverUs: number | null;
  readonly nodeUs: number | null;
}

async function measureFlatOut(server: BenchServer, project: PushProject, { flatOutSeconds: seconds }: Sizes) {
  const up = await project.start();
  // V8 has compiled what matters by then.
  await pushFlatOut(project, { name: "warm", seconds: seconds / 2, rows: ROWS, connections: CONNECTIONS });
  const rowmill = await costOf(server, up, () =>
    pushFlatOut(project, { name: "flat", seconds, rows: ROWS, connections: CONNECTIONS }),
  );
  await up.stop();
  const floor = await costOf(server, null, () => floorFlatOut(project.client, { seconds, rows: ROWS }));
  return { rowmill, floor };
}

async function costOf(server: BenchServer, up: PushServer | null, work: () => Promise<FlatOut>): Promise<Cost> {
  const [serverBefore, nodeBefore] = [server.cpuMs(), up?.cpuMs() ?? null];
  const done = await work();
  const perPush = (before: number | null, after: number | null) =>
    before === null || after === null ? null : (1_000 * (after - before)) / done.pushes;
  return {
    ...done,
    serverUs: perPush(serverBefore, server.cpuMs()),
    nodeUs: perPush(nodeBefore, up?.cpuMs() ?? null),
  };
}

async function measureSteady(project: PushProject, { perSecond, seconds }: Sizes): Promise<Steady> {
  let up = await project.start();
  await pushFlatOut(project, { name: "before", seconds: 1, rows: ROWS, connections: CONNECTIONS });
  const began = performance.now();
  const pushing = pushSteadily(project, { name: "steady", perSecond, seconds, rows: ROWS });
  // Its rejection is waited for below.
  pushing.catch(() => undefined);
  await sleep(1_000 * seconds * KILL_AFTER);
  const killedMs = performance.now() - began;
  await up.kill();
  up = await project.start();
  const downMs = performance.now() - began - killedMs;
  const all = await pushing;
  const allWithinMs = performance.now() - began;
  await up.stop();
  await requireAll(project.client, "steady", all);
  const isDown = ({ dueMs, latencyMs }: Acknowledged) => dueMs + latencyMs > killedMs && dueMs < killedMs + downMs;
  const calm = all
    .filter((one) => !isDown(one))
    .map(({ latencyMs }) => latencyMs)
    .toSorted((a, b) => a - b);
  const at = (part: number) => calm[Math.floor(part * (calm.length - 1))] ?? NaN;
  return {
    pushes: all.length,
    sentAgain: all.filter(({ tries }) => tries > 1).length,
    p50Ms: at(0.5),
    p99Ms: at(0.99),
    downMs,
    longestMs: all.reduce((most, { latencyMs }) => Math.max(most, latencyMs), 0),
    allWithinMs,
  };
}

async function requireAll(client: pg.Client, name: string, all: readonly Acknowledged[]): Promise<void> {
  const { rows } = await client.query<{ push: string; n: number }>(
    `select split_part(id, '-', 2) as push, count(*)::integer as n from rowmill_data.films where id like $1 group by 1`,
    [`${name}-%`],
  );
  const found = new Map(rows.map(({ push, n }) => [Number(push), n]));
  const lost = all.filter(({ push }) => found.get(push) !== ROWS);
  if (lost.length > 0) throw new Error(`${lost.length} acknowledged pushes are not there, or by half.`);
}

async function measureLines(server: BenchServer, project: PushProject, { linesBytes }: Sizes) {
  const up = await project.start();
  const before = up.peakBytes();
  const [serverBefore, nodeBefore] = [server.cpuMs() ?? 0, up.cpuMs() ?? 0];
  const sent = await streamLines(project, { name: "lines", bytes: linesBytes });
  const figures = {
    ...sent,
    serverUsPerRow: (1_000 * ((server.cpuMs() ?? 0) - serverBefore)) / sent.rows,
    nodeUsPerRow: (1_000 * ((up.cpuMs() ?? 0) - nodeBefore)) / sent.rows,
    peakBeforeBytes: before,
    peakBytes: up.peakBytes(),
  };
  await up.stop();
  return figures;
}

interface BodyFigures extends Bodies {
  readonly peakBeforeBytes: number | null;
  readonly peakBytes: number | null;
}

async function measureBodies(project: PushProject, { bodyBytes }: Sizes): Promise<BodyFigures> {
  const up = await project.start();
  const peakBeforeBytes = up.peakBytes();
  const bodies = await pushBodies(project, { name: "bodies", clients: BODY_CLIENTS, bytes: bodyBytes });
  const peakBytes = up.peakBytes();
  await up.stop();
  const { 200: taken = 0, 429: refused = 0 } = bodies.statuses;
  if (taken === 0 || taken + refused !== BODY_CLIENTS || !bodies.saidWhen)
    throw new Error(`Large bodies were answered with ${JSON.stringify(bodies)}.`);
  return { ...bodies, peakBeforeBytes, peakBytes };
}

interface Measured {
  readonly flatOut: Awaited<ReturnType<typeof measureFlatOut>>;
  readonly steady: Steady;
  readonly lines: Awaited<ReturnType<typeof measureLines>>;
  readonly bodies: BodyFigures;
}

function report({ perSecond, seconds, bodyBytes }: Sizes, { flatOut, steady, lines, bodies }: Measured): void {
  printMachine();
  const rate = ({ pushes, ms }: FlatOut) => (1_000 * pushes) / ms;
  const line = (name: string, cost: Cost) => [
    name,
    amount(rate(cost), 1, 0),
    amount(rate(cost) * ROWS, 1, 0),
    amount(cost.nodeUs, 1, 0),
    amount(cost.serverUs, 1, 0),
    amount(quotient(rate(flatOut.floor), rate(cost)), 1, 2),
  ];
  console.log(`\nPushes of ${ROWS} rows, as fast as they go\n`);
  const titles = ["", "pushes/s", "rows/s", "Node, µs a push", "Postgres, µs a push", "floor ÷"];
  printTable(titles, [line("insert", flatOut.floor), line("push", flatOut.rowmill)]);
  const { pushes, sentAgain, p50Ms, p99Ms, downMs, longestMs, allWithinMs } = steady;
  console.log(`${perSecond} pushes/s of ${ROWS} rows for ${seconds} s, with a kill -9 in the middle:`);
  console.log(
    `  ${pushes} acknowledged after ${amount(allWithinMs, 1_000, 1)} s, none of them lost; ${sentAgain} sent again`,
  );
  console.log(`  p50 ${amount(p50Ms, 1, 1)} ms, p99 ${amount(p99Ms, 1, 1)} ms while it was up`);
  console.log(`  down for ${amount(downMs, 1_000, 1)} s; the longest wait ${amount(longestMs, 1_000, 1)} s\n`);
  const mb = (bytes: number | null) => `${amount(bytes, 1e6, 0)} MB`;
  console.log(
    `${mb(lines.bytes)} of lines: ${lines.rows.toLocaleString("en")} rows in ${amount(lines.ms, 1_000, 1)} s,`,
  );
  console.log(
    `  ${amount((1_000 * lines.rows) / lines.ms, 1, 0)} rows/s; peak ${mb(lines.peakBytes)}, ${mb(lines.peakBeforeBytes)} before`,
  );
  console.log(
    `  Node ${amount(lines.nodeUsPerRow, 1, 1)} µs a row, Postgres ${amount(lines.serverUsPerRow, 1, 1)} µs a row`,
  );
  const { 200: taken = 0, 429: refused = 0 } = bodies.statuses;
  console.log(
    `\n${BODY_CLIENTS} lists of ${mb(bodyBytes)} at once: ${taken} taken, ${refused} told when to come again;`,
  );
  console.log(`  peak ${mb(bodies.peakBytes)}, ${mb(bodies.peakBeforeBytes)} before`);
}
