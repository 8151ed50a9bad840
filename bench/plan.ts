/** `npm run bench -- plan`: how long a look takes that a person waits for, beside what PostgreSQL does for it. */
import type { BenchOptions } from "./bench-options.js";
import { startBenchServer, withDatabase, type BenchServer } from "./bench-server.js";
import { createFilms, filmValues, insertFilms, ROW_BYTES } from "./films.js";
import { runMeasured, type Command } from "./measured-process.js";
import { millOptions } from "./mill-report.js";
import { withMillProject } from "./mill-project.js";
import { amount, machine, median, printMachine, printTable } from "./report.js";
import { withSettled } from "./settled-rows.js";

const ROWS_DEFAULT = 1_000_000;
const REPEATS_DEFAULT = 3;
/** Nothing is called. */
const NO_PROVIDER = "http://127.0.0.1:9/v1";

interface PlanFigures {
  readonly situation: string;
  readonly wallMs: number | null;
  readonly nodeMs: number | null;
  readonly postgresMs: number | null;
}

export async function runPlan(options: BenchOptions): Promise<void> {
  const rows = options.rows ?? ROWS_DEFAULT;
  const repeats = options.repeats ?? REPEATS_DEFAULT;
  const mill = { ...millOptions(options), rows };
  const server = await startBenchServer({ statements: true });
  const measure = (situation: string, command: Command) => measureLooks({ server, repeats }, situation, command);
  try {
    const figures = [
      await withDatabase(server, ({ url, client }) =>
        withMillProject({ databaseUrl: url, providerUrl: NO_PROVIDER }, mill, async ({ command }) => {
          await client.query(createFilms);
          await client.query(insertFilms, [...filmValues(rows, ROW_BYTES)]);
          await client.query("vacuum (analyze)");
          return measure("before the first up", command("plan"));
        }),
      ),
      ...(await withSettled(server, mill, async ({ command }) => {
        const plan = command("plan");
        return [
          await measure("all answered", plan),
          await measure("with an edited prompt", { ...plan, env: { ...plan.env, BENCH_SYSTEM: "Other words." } }),
        ];
      })),
    ];
    if (options.json) return console.log(JSON.stringify({ machine: machine(), rows, figures }));
    printMachine();
    report(figures, rows);
  } finally {
    await server.stop();
  }
}

interface Looking {
  readonly server: BenchServer;
  readonly repeats: number;
}

async function measureLooks({ server, repeats }: Looking, situation: string, command: Command): Promise<PlanFigures> {
  const looks: { wallMs: number; nodeMs: number | null; postgresMs: number | null }[] = [];
  for (let look = 0; look < repeats; look++) {
    const before = server.cpuMs();
    const { wallMs, cpuMs } = await runMeasured([command]);
    const after = server.cpuMs();
    looks.push({ wallMs, nodeMs: cpuMs, postgresMs: before === null || after === null ? null : after - before });
  }
  const middle = (of: (look: (typeof looks)[number]) => number | null) => median(looks.map(of));
  return {
    situation,
    wallMs: middle((look) => look.wallMs),
    nodeMs: middle((look) => look.nodeMs),
    postgresMs: middle((look) => look.postgresMs),
  };
}

function report(figures: readonly PlanFigures[], rows: number): void {
  console.log(`rowmill plan over ${rows.toLocaleString("en")} rows of ${ROW_BYTES} bytes\n`);
  const seconds = (ms: number | null) => amount(ms, 1_000, 2);
  const cells = figures.map((one) => [
    one.situation,
    seconds(one.wallMs),
    seconds(one.nodeMs),
    seconds(one.postgresMs),
  ]);
  printTable(["", "wall s", "Node CPU s", "PostgreSQL CPU s"], cells);
}
