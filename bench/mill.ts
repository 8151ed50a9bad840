/**
 * Rowmill against the floor: `rowmill up --until-idle` with the arrivals of all rows already there, and the bare
 * script that moves the same rows through a stand-in of its own, each in a process and a database of its own, turn by
 * turn on one PostgreSQL.
 */
import { join } from "node:path";
import type pg from "pg";
import { ledgerBytes, oneNumber, withDatabase, type BenchServer } from "./bench-server.js";
import { answerOf, createFilms, createLabels, filmValues, insertFilms, model, ROW_BYTES, system } from "./films.js";
import { run, runMeasured, script, serve, repository, type Command, type Measured } from "./measured-process.js";
import { withMillProject } from "./mill-project.js";
import type { StandInCounts, StandInOptions } from "./provider-stand-in.js";

export interface MillOptions {
  readonly rows: number;
  readonly batchRequests: number;
  readonly order: NonNullable<StandInOptions["order"]>;
  /** `trigger`: written while the triggers are there; `existing`: before, so that the first sweep finds them. */
  readonly arrivals: "trigger" | "existing";
  /** The built command line. */
  readonly cli: string;
  /** How many different questions the rows ask; by default as many as rows. */
  readonly distinct?: number;
  /** Whether equal questions are asked once; Rowmill's own default, if not said. */
  readonly dedupe?: boolean;
  readonly rowBytes?: number;
  readonly summaryBytes?: number;
  readonly maxOutputTokens?: number;
  /** Processes at the same time; 1 by default. */
  readonly workers?: number;
  /** Where each process leaves a profile of V8's. */
  readonly profileFolder?: string;
  /** Outside of what is measured: when the rows are there, and when all are answered. */
  readonly before?: (client: pg.Client) => Promise<void>;
  readonly after?: (client: pg.Client) => Promise<void>;
}

/** What one run of either took. Null: not to be had on this machine, or not a thing of that run. */
export interface Figures {
  /** From the start of the process to the commit of the last answer. */
  readonly settledMs: number;
  /** To the end of the process. */
  readonly wallMs: number;
  readonly nodeMs: number | null;
  readonly postgresMs: number | null;
  readonly peakBytes: number | null;
  readonly walBytes: number;
  readonly ledgerBytes: number;
  readonly counts: StandInCounts;
}

const floorScript = join(import.meta.dirname, "floor.mjs");
export const BATCH_REQUESTS_DEFAULT = 50_000;

export function measureFloor(server: BenchServer, options: MillOptions): Promise<Figures> {
  return withStandIn(options, (providerUrl) =>
    withDatabase(server, async ({ url, client }) => {
      await client.query(createFilms);
      await client.query(createLabels);
      await fill(client, options);
      const { batchRequests } = options;
      const floor = { databaseUrl: url, providerUrl, batchRequests, system, model };
      const command = { args: [floorScript, JSON.stringify(floor)], cwd: repository };
      return measure({ server, client, providerUrl }, [command], options);
    }),
  );
}

export function measureMill(server: BenchServer, options: MillOptions): Promise<Figures> {
  return withStandIn(options, (providerUrl) =>
    withDatabase(server, ({ url, client }) =>
      withMillProject({ databaseUrl: url, providerUrl }, options, async ({ command }) => {
        const up = command("up", "--until-idle", "--yes");
        await client.query(createFilms);
        if (options.arrivals === "trigger") await run(up);
        await fill(client, options);
        await options.before?.(client);
        const commands = Array.from({ length: options.workers ?? 1 }, () => profiled(up, options));
        const figures = await measure({ server, client, providerUrl }, commands, options);
        await options.after?.(client);
        return figures;
      }),
    ),
  );
}

function profiled(command: Command, { profileFolder }: MillOptions): Command {
  if (profileFolder === undefined) return command;
  return { ...command, args: ["--cpu-prof", `--cpu-prof-dir=${profileFolder}`, ...command.args] };
}

/** `rowmill up` where there is nothing to do. */
export function measureStart(server: BenchServer, options: MillOptions): Promise<Measured> {
  return withStandIn(options, (providerUrl) =>
    withDatabase(server, ({ url, client }) =>
      withMillProject({ databaseUrl: url, providerUrl }, options, async ({ command }) => {
        const up = command("up", "--until-idle", "--yes");
        await client.query(createFilms);
        await run(up);
        return runMeasured([up]);
      }),
    ),
  );
}

export async function withStandIn<T>(
  { order, summaryBytes }: Pick<MillOptions, "order" | "summaryBytes">,
  work: (providerUrl: string) => Promise<T>,
): Promise<T> {
  const options: StandInOptions = { content: answerOf(summaryBytes), order };
  const standIn = await serve(script("provider-stand-in.ts", JSON.stringify(options)));
  try {
    return await work(standIn.url);
  } finally {
    await standIn.stop();
  }
}

async function fill(client: pg.Client, { rows, distinct = rows, rowBytes = ROW_BYTES }: MillOptions): Promise<void> {
  await client.query(insertFilms, [...filmValues(rows, rowBytes, distinct)]);
  await client.query("vacuum analyze public.films");
  await client.query("checkpoint");
}

interface Place {
  readonly server: BenchServer;
  readonly client: pg.Client;
  readonly providerUrl: string;
}

/** Of as many rows as have an answer in the end. */
export async function measure(
  { server, client, providerUrl }: Place,
  commands: readonly Command[],
  { rows }: Pick<MillOptions, "rows">,
): Promise<Figures> {
  const walBefore = await server.walBytes();
  const postgresBefore = server.cpuMs();
  const { beganAt, wallMs, cpuMs, peakBytes } = await runMeasured(commands);
  const postgresAfter = server.cpuMs();
  const walBytes = (await server.walBytes()) - walBefore;
  await requireAnswers(client, rows);
  const lastCommit =
    "select extract(epoch from max(pg_xact_commit_timestamp(xmin)))::float8 * 1000 as n from public.film_labels";
  return {
    settledMs: (await oneNumber(client, lastCommit)) - beganAt,
    wallMs,
    nodeMs: cpuMs,
    postgresMs: postgresBefore === null || postgresAfter === null ? null : postgresAfter - postgresBefore,
    peakBytes,
    walBytes,
    ledgerBytes: await ledgerBytes(client),
    counts: await countsOf(providerUrl),
  };
}

export async function requireAnswers(client: pg.Client, rows: number): Promise<void> {
  const answered = await oneNumber(
    client,
    "select count(*)::float8 as n from public.film_labels where summary is not null",
  );
  if (answered !== rows) throw new Error(`${rows} rows went in, ${answered} answers came out.`);
}

async function countsOf(providerUrl: string): Promise<StandInCounts> {
  const response = await fetch(`${providerUrl}/counts`, { signal: AbortSignal.timeout(10_000) });
  const counts: StandInCounts = JSON.parse(await response.text());
  return counts;
}
