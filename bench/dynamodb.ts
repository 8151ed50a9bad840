/**
 * `npm run bench -- dynamodb`: items read and answers written by the connector ÷ a bare loop over the same calls of the
 * SDK, with as many of them at once. On dynalite, which is slower than DynamoDB: only the ratios say something.
 */
import { dynamodb } from "../src/connectors/dynamodb/dynamodb.js";
import type { Change, TargetConnector } from "../src/model/connector.js";
import { startDynalite, type Dynalite, type Item } from "../test/support/dynalite.js";
import type { BenchOptions } from "./bench-options.js";
import { amount, machine, median, printMachine, printTable, quotient, spread } from "./report.js";
import { timed } from "./timing.js";

const ROWS_DEFAULT = 5_000;
const ROWS_SMOKE = 500;
const REPEATS_DEFAULT = 3;
const SEGMENTS = 4;
const WRITES_AT_ONCE = 16;
const CHANGES_IN_WRITE = 500;
const PAGE_ROWS = 2_000;
const BODY = "x".repeat(300);

interface Turn {
  readonly bareMs: number;
  readonly ownMs: number;
}

/** A turn of each kind, one after the other. */
export async function runDynamodb(options: BenchOptions): Promise<void> {
  const rows = options.rows ?? (options.smoke ? ROWS_SMOKE : ROWS_DEFAULT);
  const repeats = options.repeats ?? (options.smoke ? 1 : REPEATS_DEFAULT);
  const server = await startDynalite();
  const turns: { readonly read: Turn[]; readonly write: Turn[] } = { read: [], write: [] };
  try {
    await server.makeTable("notes", "id:S");
    await server.put("notes", Array.from({ length: rows }, itemOf));
    for (let turn = 1; turn <= repeats; turn++) {
      turns.read.push({ bareMs: await timeRead(rows, readBare(server)), ownMs: await timeRead(rows, readOwn(server)) });
      turns.write.push(await measureWrites(server, { rows, turn }));
    }
  } finally {
    await server.close();
  }
  if (options.json) return console.log(JSON.stringify({ machine: machine(), rows, turns }));
  printMachine();
  console.log();
  const cells = Object.entries(turns).map(([name, measured]) => [
    name,
    amount(rows / ((median(measured.map(({ bareMs }) => bareMs)) ?? 0) / 1_000), 1, 0),
    amount(rows / ((median(measured.map(({ ownMs }) => ownMs)) ?? 0) / 1_000), 1, 0),
    spread(measured.map(({ bareMs, ownMs }) => quotient(ownMs, bareMs))),
  ]);
  printTable(["", "bare rows/s", "rows/s", "time ÷ bare"], cells);
}

function itemOf(_: unknown, index: number): Item {
  return { id: { S: `row-${index}` }, body: { S: `${BODY} ${index}` } };
}

async function timeRead(rows: number, read: () => Promise<number>): Promise<number> {
  const { ms, result } = await timed(read);
  if (result !== rows) throw new Error(`${result} rows were read, not ${rows}.`);
  return ms;
}

function readOwn({ direct: endpoint }: Dynalite): () => Promise<number> {
  const { elsewhere } = dynamodb({ table: "notes", endpoint, key: "id", columns: ["body"], segments: SEGMENTS });
  return async () => {
    let read = 0;
    const { signal } = new AbortController();
    for await (const page of elsewhere.rows({ since: null, place: null, signal })) read += page.rows.length;
    return read;
  };
}

function readBare({ client }: Dynalite): () => Promise<number> {
  return async () => {
    const counts = await Promise.all(Array.from({ length: SEGMENTS }, (_, segment) => countSegment(client, segment)));
    return counts.reduce((sum, count) => sum + count, 0);
  };
}

async function countSegment(client: Dynalite["client"], segment: number): Promise<number> {
  let read = 0;
  let from: Item | undefined;
  do {
    const page = await client.scan({
      TableName: "notes",
      ConsistentRead: true,
      Limit: PAGE_ROWS,
      Segment: segment,
      TotalSegments: SEGMENTS,
      ...(from === undefined ? {} : { ExclusiveStartKey: from }),
    });
    read += page.Items?.length ?? 0;
    from = page.LastEvaluatedKey;
  } while (from !== undefined);
  return read;
}

async function measureWrites(server: Dynalite, { rows, turn }: { rows: number; turn: number }): Promise<Turn> {
  const [own, bare] = [`own-${turn}`, `bare-${turn}`];
  const target = dynamodb({ table: own, endpoint: server.direct });
  const { signal } = new AbortController();
  const fields = [{ field: "label", type: "text", nullable: true, check: null }] as const;
  await target.prepare({ pipeline: "notes", fields, signal });
  await server.makeTable(bare, "key:S");
  const bareMs = (await timed(() => writeBare(server, bare, rows))).ms;
  const ownMs = (await timed(() => writeOwn(target, rows, signal))).ms;
  return { bareMs, ownMs };
}

async function writeOwn(target: TargetConnector, rows: number, signal: AbortSignal): Promise<void> {
  for (let from = 0; from < rows; from += CHANGES_IN_WRITE) {
    const changes = Array.from({ length: Math.min(CHANGES_IN_WRITE, rows - from) }, (_, index): Change => {
      const cells = { label: `${BODY} ${from + index}` };
      return { key: `row-${from + index}`, fence: "1", model: "model", cells };
    });
    const { written } = await target.write(changes, { pipeline: "notes", id: `${from}`, signal });
    if (written.length !== changes.length) throw new Error(`${written.length} of ${changes.length} were written.`);
  }
}

async function writeBare({ client }: Dynalite, table: string, rows: number): Promise<void> {
  const left = Array.from({ length: rows }, (_, index) => index).values();
  const write = async () => {
    for (const index of left)
      await client.updateItem({
        TableName: table,
        Key: { key: { S: `row-${index}` } },
        UpdateExpression: "set label = :label",
        ExpressionAttributeValues: { ":label": { S: `${BODY} ${index}` } },
      });
  };
  await Promise.all(Array.from({ length: WRITES_AT_ONCE }, write));
}
