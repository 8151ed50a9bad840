/** What surrounds worker and database: a pooler between them, and the disk for the files of batches. */
import { execFile, type ChildProcess } from "node:child_process";
import { mkdir, rm, writeFile } from "node:fs/promises";
import { dirname } from "node:path";
import { promisify } from "node:util";
import { expect, it, vi } from "vitest";
import { sql } from "../../src/postgres/database.js";
import { eventually, playScene } from "../support/database-scenes.js";
import { describeDatabases } from "../support/databases.js";
import { films } from "../support/films.js";
import { createMovies, differences, executions, insertMovies, moviesPipeline } from "../support/movies.js";
import { notesPipeline } from "../support/notes.js";
import { pgbouncerMissingBecause, startPgBouncer } from "../support/pgbouncer.js";
import { startProject, type TestProject, startWorkerProcess } from "../support/project.js";

// A scene takes seconds; a busy machine needs more.
vi.setConfig({ testTimeout: 120_000 });

/** Fewer than one worker's connections, so that the transactions of all share them. */
const serverConnections = 4;
/** The file of the batch is larger. */
const fileBytesMax = 4_096;

const prlimitMissingBecause = process.platform === "linux" ? null : "only Linux can limit the files of another process";

describeDatabases(
  "Around the database",
  () => {
    it.concurrent("PgBouncer in transaction mode carries two workers over few connections", async ({ skip }) => {
      if (pgbouncerMissingBecause !== null) skip(pgbouncerMissingBecause);
      await playScene({}, async ({ project, work, add, finished, afterwards }) => {
        const bouncer = await startPgBouncer(project.url, serverConnections);
        afterwards(() => bouncer.stop());
        await work(bouncer.url);
        await work(bouncer.url);
        await add(40, "later note");
        await finished();
        const [pooled] = await project.rows<{ count: number }>(sql`select count(*)::int as count
          from pg_stat_activity where datname = current_database() and backend_type = 'client backend'`);
        const own = project.database.pool.totalCount;
        expect(pooled?.count).toBeGreaterThan(own);
        expect(pooled?.count).toBeLessThanOrEqual(own + serverConnections);
      });
    });

    it.concurrent("a folder for batch files that cannot be written to is waited for", () =>
      playScene({}, async ({ project, work, finished }) => {
        const { spoolFolder } = await project.worker({ notes: notesPipeline() });
        await mkdir(dirname(spoolFolder), { recursive: true });
        await writeFile(spoolFolder, "a file stands in its place");
        await work();
        await eventually(
          () => failures(project),
          (count) => count >= 2,
        );
        await rm(spoolFolder);
        await finished();
      }),
    );

    it.concurrent(
      "a disk that is full for a while: the file is written again when there is room, and sent once",
      async ({ skip }) => {
        if (prlimitMissingBecause !== null) skip(prlimitMissingBecause);
        const project = await startProject("pg18");
        let child: ChildProcess | null = null;
        try {
          await createMovies(project);
          await project.worker({ movies: moviesPipeline() });
          child = await startWorkerProcess(project);
          await limitFiles(child, String(fileBytesMax));
          await insertMovies(project, films().slice(0, 50));
          await eventually(
            () => failures(project),
            (count) => count >= 2,
          );
          expect((await project.gateway.journal.summary()).batches).toEqual([]);
          await limitFiles(child, "unlimited");
          await eventually(
            () => differences(project),
            (left) => left.missing === 0,
          );
          expect(new Set(await executions(project))).toEqual(new Set([1]));
          await project.check();
        } finally {
          child?.kill("SIGKILL");
          await project.close();
        }
      },
    );
  },
  ["pg18"],
);

async function failures(project: TestProject): Promise<number> {
  const rows = await project.rows<{ failures: number }>(
    sql`select failures from rowmill.batches where state = 'planned'`,
  );
  return Math.max(0, ...rows.map((row) => row.failures));
}

/** As a full disk: a write beyond that many bytes fails, in the life of the process. */
async function limitFiles(child: ChildProcess, bytes: string): Promise<void> {
  await promisify(execFile)("prlimit", ["--pid", String(child.pid), `--fsize=${bytes}:unlimited`]);
}
