/**
 * A push is interrupted between every two of its steps: the service is killed there, or its connections to the
 * database are. What was acknowledged is there afterwards, a list as a whole, lines in whole chunks; and a caller that
 * sends again what was not acknowledged has everything there.
 */
import { fork, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { resolve } from "node:path";
import { afterEach, beforeEach, expect, it } from "vitest";
import { pipeline, push } from "../../src/index.js";
import * as tokens from "../../src/store/tokens/tokens.js";
import { describeDatabases } from "../support/databases.js";
import { sql, startProject, type TestProject } from "../support/project.js";

const script = resolve(import.meta.dirname, "push-service.mjs");
/** As the service cuts lines. */
const CHUNK_ROWS = 2_000;
/** A push has fewer steps than that. */
const STEPS_MAX = 80;
const TRIES_MAX = 5;

const films = pipeline({
  source: push({ key: "id", columns: ["body"] }),
  request: { model: "gpt-4o-mini", user: "{{ body }}", maxOutputTokens: 100 },
  target: { table: "film_labels" },
});

interface Scene {
  readonly title: string;
  /** Sent at once. */
  readonly pushes: number;
  readonly rows: number;
  readonly as: "list" | "lines" | "ingest";
}

const scenes: readonly Scene[] = [
  { title: "a small list", pushes: 1, rows: 10, as: "list" },
  { title: "six small lists at once", pushes: 6, rows: 10, as: "list" },
  { title: "a list of three chunks", pushes: 1, rows: 2 * CHUNK_ROWS + 500, as: "list" },
  { title: "lines of three chunks", pushes: 1, rows: 2 * CHUNK_ROWS + 500, as: "lines" },
  { title: "a body that is remembered", pushes: 1, rows: 400, as: "ingest" },
];

interface Service {
  readonly child: ChildProcess;
  readonly url: string;
  readonly ended: Promise<unknown>;
}

describeDatabases(
  "A push",
  (kind) => {
    let project: TestProject;
    let token: string;
    let running: Service | null = null;
    let next = 0;
    beforeEach(async () => {
      project = await startProject(kind);
      await project.worker({ films });
      token = (await tokens.create(project.database, { scope: "push", pipeline: "films", note: null })).text;
    });
    afterEach(async () => {
      await end();
      await project.close();
    });

    async function end(): Promise<void> {
      if (running === null) return;
      const { child, ended } = running;
      running = null;
      child.kill("SIGKILL");
      await ended;
    }

    /** Warm: what it looks up once, it has looked up. */
    async function service(): Promise<Service> {
      if (running !== null && running.child.signalCode === null) return running;
      const env = { ...process.env, DATABASE_URL: project.url, PGSSLMODE: "disable" };
      const child = fork(script, [], { env, execArgv: [], stdio: ["ignore", "ignore", "inherit", "ipc"] });
      const ended = once(child, "exit");
      const [url]: unknown[] = await once(child, "message");
      running = { child, url: String(url), ended };
      expect(await send(running, "warm", { rows: 1, as: "list" })).toBe(200);
      return running;
    }

    /** Null: no answer came. */
    async function send({ url }: Service, name: string, { rows, as }: Pick<Scene, "rows" | "as">) {
      const texts = Array.from({ length: rows }, (_, number) =>
        JSON.stringify({ id: `${name}-${number}`, body: `Film ${number} of ${name}, and more about it.` }),
      );
      const path = as === "ingest" ? `/v1/in/${token}` : "/v1/pipelines/films/rows";
      const type = as === "lines" ? "application/x-ndjson" : "application/json";
      return fetch(url + path, {
        method: "POST",
        body: as === "lines" ? texts.join("\n") : `[${texts.join(",")}]`,
        headers: { authorization: `Bearer ${token}`, "content-type": type },
      }).then(
        async (response) => (await response.arrayBuffer(), response.status),
        () => null,
      );
    }

    async function stored(name: string): Promise<number> {
      const [row] = await project.rows<{ n: number }>(
        sql`select count(*)::integer as n from rowmill_data.films where id like ${`${name}-%`}`,
      );
      return row?.n ?? 0;
    }

    async function arm({ child }: Service, at: number, action: "kill" | "cut"): Promise<void> {
      child.send({ at, action });
      await once(child, "message");
      if (action === "cut") child.once("message", () => void cut(child));
    }

    async function cut(child: ChildProcess): Promise<void> {
      await project.run(sql`
        select pg_terminate_backend(pid)
        from pg_stat_activity
        where application_name = 'rowmill' and datname = current_database() and pid <> pg_backend_pid()`);
      child.send("go on");
    }

    function isWhole(count: number, { rows, as }: Scene): boolean {
      return count === 0 || count === rows || (as === "lines" && count % CHUNK_ROWS === 0);
    }

    it.each((["kill", "cut"] as const).flatMap((action) => scenes.map((scene) => ({ action, ...scene }))))(
      "may meet a $action between every two steps: $title",
      async ({ action, ...scene }) => {
        for (let at = 1; at <= STEPS_MAX; at++) {
          const first = await service();
          const names = Array.from({ length: scene.pushes }, () => `push${next++}`);
          await arm(first, at, action);
          const answers = await Promise.all(names.map((name) => send(first, name, scene)));
          if (action === "kill" && answers.includes(null)) await first.ended;
          for (const [index, name] of names.entries()) {
            const count = await stored(name);
            if (answers[index] === 200) expect([at, name, count]).toEqual([at, name, scene.rows]);
            else expect([at, name, count, isWhole(count, scene)]).toEqual([at, name, count, true]);
            let status = answers[index];
            for (let tries = 0; status !== 200 && tries < TRIES_MAX; tries++)
              status = await send(await service(), name, scene);
            expect([at, name, status, await stored(name)]).toEqual([at, name, 200, scene.rows]);
          }
          if (answers.every((status) => status === 200) && action === "kill") return;
          if (action === "cut" && !wasCut(first)) return;
        }
        expect.unreachable("A push has more steps than the test makes.");
      },
    );

    /** Whether it came as far as the armed step. */
    function wasCut({ child }: Service): boolean {
      const isWaiting = child.listenerCount("message") > 0;
      child.removeAllListeners("message");
      return !isWaiting;
    }
  },
  ["pg18"],
);
