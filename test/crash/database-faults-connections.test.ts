/** The connection to the database breaks: work pauses, resumes, and nothing is lost or asked twice. */
import { expect, it, vi } from "vitest";
import { connectionOptions } from "../../src/config/database/connection.js";
import { readEnvironment } from "../../src/config/load/environment.js";
import { isDatabaseWide, openDatabase, raw, sql } from "../../src/postgres/database.js";
import { batchesAre, eventually, playScene, type Scene } from "../support/database-scenes.js";
import { describeDatabases } from "../support/databases.js";
import { startOwnServer } from "../support/postgres-servers.js";
import { startTcpProxy, type TcpProxy } from "../support/tcp-proxy.js";

// A scene takes seconds; a busy machine needs more.
vi.setConfig({ testTimeout: 120_000 });

function proxyTo(url: string): Promise<TcpProxy> {
  return startTcpProxy(Number(new URL(url).port));
}

describeDatabases(
  "The way to the database",
  () => {
    it.concurrent("may crash with its server, midway: workers continue when it is back", async () => {
      const server = await startOwnServer();
      let hold = true;
      const gateway = { faults: { hold: () => hold } };
      try {
        await playScene({ gateway, serverUrl: server.url }, async ({ project, work, add, finished }) => {
          await work();
          await work();
          await batchesAre(project, "running");
          await server.crash();
          hold = false;
          project.gateway.release();
          await add(20, "later note");
          await server.crash();
          await finished();
        });
      } finally {
        await server.stop();
      }
    });

    it.concurrent("may be cut at every reply that matters: what took effect is not done again", async () => {
      await playScene({}, async ({ project, work, add, finished, afterwards }) => {
        const proxy = await proxyTo(project.url);
        afterwards(() => proxy.close());
        await work(proxy.through(project.url));
        await work(proxy.through(project.url));
        const lost = [
          proxy.loseReplyTo(/attempts = jobs\.attempts \+ 1/, /batchId/),
          proxy.loseReplyTo(/delete from "rowmill_worker"\._private_jobs/),
          proxy.loseReplyTo(/update rowmill\.batches\s+set lease_token = \$/),
          proxy.loseReplyTo(/update rowmill\.batches\s+set [^;]*create_intent_at/),
          ...[1, 2, 3, 4].map(() => proxy.loseReplyTo(/^Q....commit/s)),
        ];
        await add(20, "later note");
        await finished();
        await Promise.all(lost);
      });
    });

    it.concurrent("may be cut, silent and closed for a while", async () => {
      let hold = true;
      await playScene({ gateway: { faults: { hold: () => hold } } }, async (scene) => {
        const { project, work, add, finished, afterwards } = scene;
        const proxy = await proxyTo(project.url);
        afterwards(() => proxy.close());
        await work(proxy.through(project.url));
        await batchesAre(project, "running");
        const before = await beats(scene);
        await proxy.refuse();
        proxy.cut();
        hold = false;
        project.gateway.release();
        await add(20, "later note");
        await proxy.accept();
        await eventually(
          () => beats(scene),
          (at) => at > before,
        );
        proxy.stall();
        await add(20, "still later note");
        proxy.resume();
        proxy.cut();
        await finished();
      });
    });

    it.concurrent("may fall silent: a statement is given up in time, and its connection never used again", async () => {
      await playScene({ notes: 1 }, async ({ project }) => {
        const proxy = await proxyTo(project.url);
        const url = proxy.through(project.url);
        const options = connectionOptions({ kind: "server", url }, readEnvironment({ PGSSLMODE: "disable" }));
        const database = openDatabase(options, {
          poolMax: 1,
          queryTimeoutMs: 300,
          connectTimeoutMs: 2_000,
        });
        try {
          const ask = () => database.first<{ pid: number }>(sql`select pg_backend_pid() as pid`);
          const first = await ask();
          proxy.stall();
          const failed = await database
            .transaction((tx) => tx.run(sql`select 1`))
            .then(
              () => null,
              (error: unknown) => error,
            );
          expect(failed).toMatchObject({ code: "database_timeout", sqlState: null });
          expect(isDatabaseWide(failed)).toBe(true);
          proxy.resume();
          const second = await ask();
          expect(second?.pid).not.toBe(first?.pid);
          // As graphile-worker does: it hands the connection back without a word.
          proxy.stall();
          const client = await database.pool.connect();
          await expect(client.query("select 1")).rejects.toThrow("Query read timeout");
          client.release();
          proxy.resume();
          expect((await ask())?.pid).not.toBe(second?.pid);
        } finally {
          await database.close();
          await proxy.close();
        }
      });
    });

    it.concurrent("may lead to a replica: a connection that takes no writes is not used again", async () => {
      await playScene({ notes: 1 }, async ({ project }) => {
        const name = new URL(project.url).pathname.slice(1);
        const readOnly = (value: "on" | "off") =>
          project.run(raw(`alter database ${name} set default_transaction_read_only = ${value}`));
        const database = openDatabase({ connectionString: project.url, ssl: false }, { poolMax: 1 });
        try {
          const write = () => database.transaction((tx) => tx.run(sql`update public.notes set body = 'new'`));
          await readOnly("on");
          await database.first(sql`select 1`);
          await readOnly("off");
          await expect(write()).rejects.toMatchObject({ sqlState: "25006" });
          expect(await write()).toBe(1);
        } finally {
          await database.close();
        }
      });
    });
  },
  ["pg18"],
);

/** Heartbeats so far, as an instant. */
async function beats({ project }: Scene): Promise<number> {
  const [row] = await project.rows<{ at: number }>(
    sql`select coalesce(max(extract(epoch from seen_at)), 0)::float8 as at from rowmill.workers`,
  );
  return row?.at ?? 0;
}
