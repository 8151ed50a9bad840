import { afterEach, expect, it } from "vitest";
import OpenAI from "openai";
import pg from "pg";
import { pino } from "pino";
import { join } from "node:path";
import { writeFile } from "node:fs/promises";
import { createReadStream } from "node:fs";
import { defineConfig, pipeline, z } from "../../src/index.js";
import { connectionOptions } from "../../src/config/connection.js";
import { readEnvironment } from "../../src/config/environment.js";
import { validateConfig } from "../../src/config/validate.js";
import { openProject } from "../../src/app/open-project.js";
import { openDatabase } from "../../src/store/database.js";
import { describeDatabases } from "../support/databases.js";
import { quick } from "../support/movies.js";
import { batchRows, createNotes, insertNotes, outcomes, plain, requests } from "../support/notes.js";
import { sql, startProject, type TestProject } from "../support/project.js";
import { planOnce } from "../../src/worker/planner.js";
import { runIntake } from "../../src/worker/intake.js";
import { sweepChunk } from "../../src/worker/sweeper.js";
import { advanceBatch } from "../../src/worker/advance.js";
import { reconcile } from "../../src/worker/reconciler.js";
import { idleState } from "../../src/app/idle.js";
import * as batches from "../../src/store/batches.js";
import { wantSweep } from "../../src/store/sweeps.js";
import { raw } from "../../src/store/database.js";

const over = (table: string, more: object = {}, columns = ["body"], key: unknown = "id") =>
  pipeline({
    source: { table, key, columns, ...("where" in more ? { where: more.where } : {}) },
    ...quick,
    request: { model: "gpt-4o-mini", maxOutputTokens: 100, user: "{{ body }}" },
    answer: z.object({ summary: z.string() }),
    target: { table: `${table}_out` },
    ...Object.fromEntries(Object.entries(more).filter(([k]) => k !== "where")),
  } as never);

describeDatabases("attack", (kind) => {
  let project: TestProject;
  const signal = new AbortController().signal;
  const closers: (() => Promise<void>)[] = [];
  afterEach(async () => { for (const c of closers.splice(0)) await c(); await project.close(); });

  async function workerAs(url: string, pipelines: never) {
    const environment = readEnvironment({ OPENAI_API_KEY: "test", OPENAI_BASE_URL: project.gateway.url, PGSSLMODE: "disable" });
    const own = openDatabase(connectionOptions({ kind: "server", url }, environment));
    const config = validateConfig(defineConfig({ database: url, pipelines }), { file: join(project.folder, "rowmill.config.ts"), language: "script", databaseUrl: null });
    closers.push(() => own.close());
    const context = await openProject({ config, environment, database: own, log: pino({ level: "silent" }) });
    closers.unshift(async () => context.leases.stop());
    return context;
  }



  for (const isolation of ["read committed", "repeatable read"]) it(`D1 stale answers under ${isolation}, faithfully`, async () => {
    project = await startProject(kind);
    const db = new URL(project.url).pathname.slice(1);
    await project.run(raw(`alter database "${db}" set default_transaction_isolation = '${isolation}'`));
    await createNotes(project, plain(2));
    const worker = await workerAs(project.url, { notes: over("notes") } as never);
    const second = await workerAs(project.url, { notes: over("notes") } as never);
    const { approve } = await import("../../src/worker/approval.js");
    for (const p of worker.pipelines.values()) await approve(worker, p, "test");
    let changed = false;
    const real = worker.database.transaction.bind(worker.database);
    (worker.database as { transaction: unknown }).transaction = (work: (tx: unknown) => Promise<unknown>, options?: { writing?: boolean }) =>
      real(async (tx) => {
        if (options?.writing && !changed) {
          // between the transaction's settings and its first own statement: a user writes, another worker takes the arrival
          changed = true;
          await project.run(sql`update public.notes set body = 'entirely other words' where id = 1`);
          await runIntake(second);
        }
        return work(tx);
      }, options as never);
    for (let i = 0; i < 30; i++) { await project.run(sql`update rowmill.batches set next_at = now()`); await project.round(worker); await new Promise((r) => setTimeout(r, 20)); }
    const [row] = await project.rows<{ summary: string }>(sql`select (select body from public.notes where id = 1) as body, (select summary from public.notes_out where id = 1) as summary, (select state from rowmill.requests where key = '1') as state, (select count(*)::int from rowmill.arrivals) as arrivals`);
    console.log("D1", isolation, changed, row, await outcomes(project));
    expect(row!.summary).toContain("entirely");
  });

  it("D2 one long chunk and the leases of others", async () => {
    project = await startProject(kind);
    await createNotes(project, plain(3));
    const worker = await project.worker({ notes: over("notes", { batch: { maxRequests: 1 } }) });
    await runIntake(worker);
    const p = [...worker.pipelines.values()][0]!;
    while ((await sweepChunk(worker, p)) !== null);
    const a = (await planOnce(worker, p, true)).batchId!; const b = (await planOnce(worker, p, true)).batchId!;
    const ta = crypto.randomUUID(), tb = crypto.randomUUID();
    await batches.claim(worker.database, a, { token: ta, worker: worker.workerId });
    await batches.claim(worker.database, b, { token: tb, worker: worker.workerId });
    // the lease of b ends while a chunk of a is under way
    await project.run(sql`update rowmill.batches set lease_until = clock_timestamp() + interval '2 seconds'`);
    const chunk = worker.database.transaction(async (tx) => { await batches.holds(tx, { batchId: a, token: ta }); await new Promise((r) => setTimeout(r, 3000)); });
    await new Promise((r) => setTimeout(r, 200));
    const renewed = await batches.renew(worker.database, [ta, tb]);
    await chunk;
    console.log("D2 renewed after a chunk of 3 s with a lease of 2 s:", renewed.length, "of 2");
    expect(renewed).toContain(tb);
  });

  it("D3 two workers, users that write at random, connections cut at random", async () => {
    project = await startProject(kind);
    await project.run(sql`create table public.notes (id int primary key, body text)`);
    const make = () => project.worker({ notes: over("notes", { batch: { maxRequests: 7 }, reconcile: { window: "500ms" } }) });
    const workers = [await make(), await make()];
    let seed = 12345; const random = (n: number) => { seed = (seed * 1103515245 + 12345) % 2147483648; return seed % n; };
    const client = new pg.Client({ connectionString: project.url, application_name: "user" }); await client.connect();
    const until = Date.now() + 45_000; let ops = 0, cuts = 0, errors = new Map<string, number>(); let running = true;
    const note = (e: unknown) => { const k = String(e).replace(/[0-9a-f-]{36}/g, "…").slice(0, 110); errors.set(k, (errors.get(k) ?? 0) + 1); };
    const loops = workers.map(async (w) => { while (running) { await project.round(w).catch(note); await project.run(sql`update rowmill.waiting set not_before = now() where not_before > now()`).catch(() => undefined); await project.run(sql`update rowmill.batches set next_at = now() where settled_at is null`).catch(() => undefined); await new Promise((r) => setTimeout(r, 10)); } });
    const cut = (async () => { while (running) { await new Promise((r) => setTimeout(r, 700)); if (!running) break;
      const r = await client.query(`select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and application_name = 'rowmill' and pid <> pg_backend_pid() and state <> 'idle' order by random() limit 1`).catch(() => null); cuts += r?.rowCount ?? 0; } })();
    const user = new pg.Client({ connectionString: project.url, application_name: "user" }); await user.connect();
    while (Date.now() < until) {
      const id = random(60), other = random(60), word = `text ${random(40)} of the row`;
      const op = random(12);
      try {
        if (op < 4) await user.query("insert into public.notes values ($1, $2) on conflict (id) do update set body = excluded.body", [id, word]);
        else if (op < 6) await user.query("update public.notes set body = $2 where id = $1", [id, word]);
        else if (op < 8) await user.query("delete from public.notes where id = $1", [id]);
        else if (op < 10) await user.query("update public.notes set id = $2 where id = $1", [id, other]);
        else if (op === 10 && random(30) === 0) await user.query("truncate public.notes");
        else { await user.query("begin"); await user.query("delete from public.notes where id = $1", [id]); await user.query("insert into public.notes values ($1, $2)", [id, word]); await user.query(random(4) ? "commit" : "rollback"); }
      } catch (e) { await user.query("rollback").catch(() => undefined); if (!/duplicate key/.test(String(e))) note(e); }
      ops++; await new Promise((r) => setTimeout(r, random(25)));
    }
    running = false; await Promise.all([...loops, cut]);
    for (let i = 0; i < 3; i++) { await project.run(sql`update rowmill.waiting set not_before = now()`); await project.run(sql`update rowmill.batches set next_at = now(), lease_token = null, lease_until = null, lease_worker = null where settled_at is null`); await project.drain(...workers).catch(note); }
    const wrong = await project.rows(sql`select n.id, n.body, o.summary, r.state from public.notes n left join public.notes_out o using (id) left join rowmill.requests r on r.key = n.id::text where o.summary is distinct from n.body || '.' and o.summary is distinct from n.body`);
    const journal = await project.gateway.journal.summary();
    const twice = [...journal.executedByCustomId.values()].filter((n) => n > 1).length;
    console.log("D3 ops", ops, "cuts", cuts, "batches", journal.batches, "executed", journal.executed, "custom ids executed twice", twice, "wrong", wrong.slice(0, 5), wrong.length, "errors", Object.fromEntries(errors), await outcomes(project), await project.rows(sql`select pause_kind, pause_reason from rowmill.pipelines`));
    await client.end(); await user.end();
    await project.check();
    expect(wrong.length).toBe(0); expect(twice).toBe(0);
  }, 180_000);
  it("C15 odd names and keys", async () => {
    project = await startProject(kind);
    const db = new URL(project.url).pathname.slice(1);
    await project.run(raw(`alter database "${db}" set timezone = 'Asia/Kathmandu'`)); await project.run(raw(`alter database "${db}" set datestyle = 'SQL, DMY'`)); await project.run(raw(`alter database "${db}" set intervalstyle = 'iso_8601'`));
    await project.run(raw(`create table public."Odd T 'x" ("key" text, "s" timestamptz, "K x" numeric, content text, t text, k text, x text, found text, rowmill_new text, g text generated always as (upper(content)) stored, primary key ("key", "s", "K x"))`));
    const table = `"Odd T 'x"`;
    const worker = await workerAs(project.url, { odd: pipeline({ source: { table: "Odd T 'x", key: ["key", "s", "K x"], columns: ["content", "g", "t", "k", "x", "found", "rowmill_new"] }, ...quick,
      request: { model: "gpt-4o-mini", maxOutputTokens: 100, user: "{{ content }} {{ g }}" }, answer: z.object({ c0: z.string(), m: z.string() }), target: { table: 'odd_out' } } as never) } as never);
    const { approve } = await import("../../src/worker/approval.js");
    for (const p of worker.pipelines.values()) await approve(worker, p, "test");
    const keys = ["", "a", 'q"uote', "back\\slash", "new\nline", "tab\t", "\u0001ctl", "\u007fdel", "é", "e\u0301", "😀", "\u2028", "[\"1\"]", "null", "' or 1=1", "${x}", "$1"];
    const client = new pg.Client({ connectionString: project.url }); await client.connect();
    for (const [i, key] of keys.entries()) await client.query(`insert into ${table} ("key", s, "K x", content) values ($1, '2024-03-10 02:30:00.123456+00'::timestamptz + $2 * interval '1 day', $3::numeric, $4)`, [key, i * 1000, i % 2 ? "1.50" : "-0.0010", "text number " + i]);
    await client.query(`insert into ${table} ("key", s, "K x", content) values ('inf', 'infinity', 'NaN', 'infinite text'), ('bc', '0044-03-15 BC', '1e-20', 'bc text')`);
    await project.drain(worker);
    await project.run(sql`delete from rowmill.arrivals`);
    console.log("C15 rows", keys.length + 2, await project.rows(sql`select state, count(*)::int from rowmill.requests group by 1`), await project.rows(sql`select count(*)::int from public.odd_out`), await project.rows(sql`select * from rowmill.refused_keys`));
    const p = [...worker.pipelines.values()][0]!;
    await client.query(`update ${table} set content = content || '!'`);
    await project.drain(worker);
    await wantSweep(project.database, p.id, "again"); await project.drain(worker);
    console.log("C15 executed", (await project.gateway.journal.summary()).executed, await project.rows(sql`select state, count(*)::int from rowmill.requests group by 1`));
    await client.end();
  });
});
