/**
 * The built command line, started while its database is away, restarts, or is lost in the middle of the first
 * installation.
 */
import { randomBytes } from "node:crypto";
import { afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { raw } from "../../src/postgres/database.js";
import {
  buildCli,
  filmsPipeline,
  runCli,
  serverKind,
  startCli,
  startCliProject,
  unlessServer,
  type CliProject,
  type Ended,
} from "../support/cli.js";
import { countLabels, createFilms, insertFilms } from "../support/cli-films.js";
import { startTcpProxy, type TcpProxy } from "../support/tcp-proxy.js";

const FILMS = 3;

beforeAll(buildCli, 150_000);

describe.skipIf(serverKind === "embedded")(
  `A database that is away at the start${unlessServer}`,
  { timeout: 120_000 },
  () => {
    let project: CliProject;
    let proxy: TcpProxy;
    let url: string;

    beforeEach(async () => {
      project = await startCliProject(serverKind, { run: runCli });
      await createFilms(project);
      await insertFilms(project, FILMS);
      await project.writeConfig(filmsPipeline());
      const direct = project.env["DATABASE_URL"] ?? "";
      proxy = await startTcpProxy(Number(new URL(direct).port));
      url = proxy.through(direct);
    });
    afterEach(async () => {
      await proxy.close();
      await project.close();
    });

    const at = (databaseUrl = url) => ({
      cwd: project.folder,
      env: { ...project.env, DATABASE_URL: databaseUrl },
    });
    const up = (databaseUrl?: string) => startCli(["up", "--until-idle", "--yes"], at(databaseUrl));
    const ready = async (ended: Ended) => {
      expect(ended.status, ended.stderr).toBe(0);
      expect(await countLabels(project)).toBe(FILMS);
      await project.check();
    };

    it("makes up wait, with a message, and short commands report the problem at once", async () => {
      await proxy.refuse();
      const running = up();
      const { host, pathname } = new URL(url);
      const wrong = `Cannot use ${host}${pathname}. The database did not answer: connect ECONNREFUSED ${host}.\n`;
      await running.says(
        `${wrong}  Hint: Nothing listens at ${host}: check host and port in DATABASE_URL, and that the server runs.\n`,
      );
      await running.says("Waiting up to 10 minutes for the database. Stop with Ctrl-C.\n");
      const short = await Promise.all([["status"], ["up", "--once"]].map((args) => runCli(args, at())));
      for (const ended of short)
        expect(ended).toMatchObject({ status: 1, stderr: expect.stringContaining(`rowmill: ${wrong}`) });
      expect(short.map(({ stderr }) => stderr).join("")).not.toContain("Waiting");
      await proxy.accept();
      const ended = await running.ended;
      expect(ended.stderr).toContain("The database is back.\n");
      await ready(ended);
    });

    it("may restart, have no room, and be lost at any step of the first installation: up continues where it stood", async () => {
      const reasons = {
        starting: { code: "57P03", message: "the database system is starting up" },
        stopped: { code: "57P01", message: "terminating connection due to administrator command" },
        full: { code: "53300", message: "sorry, too many clients already" },
        noDisk: { code: "53100", message: "could not extend file: No space left on device" },
      };
      const struck = Promise.all([
        proxy.refuseStatement(/\0user\0/, reasons.starting),
        proxy.refuseStatement(/create table rowmill\.batches/, reasons.stopped),
        proxy.refuseStatement(/insert into rowmill\.deployment/, reasons.noDisk),
        proxy.loseReplyTo(/create table "rowmill_worker"\.job_queues/),
        proxy.refuseStatement(/create table .*film_labels/, reasons.full),
      ]);
      const running = up();
      await Promise.race([struck, running.ended]);
      const ended = await running.ended;
      for (const { message } of Object.values(reasons)) expect(ended.stderr).toContain(message);
      await ready(ended);
    });

    it("ends the waiting at Ctrl-C", async () => {
      await proxy.refuse();
      const running = up();
      await running.says("Waiting up to");
      running.child.kill("SIGINT");
      expect(await running.ended).toMatchObject({
        status: 130,
        stderr: expect.stringMatching(/Stopped\.\n$/),
      });
    });

    it("is not waited for with a wrong password", async () => {
      const wrong = new URL(url);
      wrong.password = "wrong";
      const ended = await up(wrong.href).ended;
      expect(ended).toMatchObject({
        status: 1,
        stderr: expect.stringMatching(
          /^rowmill: Cannot use .*password authentication failed.*\n {2}Hint: Check the password/,
        ),
      });
    });

    it("may lack a right or the time for the first installation: up reports it, and the next start continues", async () => {
      const role = `starter_${randomBytes(4).toString("hex")}`;
      const name = new URL(url).pathname.slice(1);
      const run = (statements: string) => project.database.run(raw(statements));
      await run(`create role ${role} login password 'starter';
      grant create on schema public to ${role}; alter table films owner to ${role}`);
      const at = new URL(url);
      [at.username, at.password] = [role, "starter"];
      const rights = await up(at.href).ended;
      expect(rights.status).toBe(1);
      expect(rights.stderr).toMatch(
        /^rowmill: .*permission denied.*\n {2}Hint: See which rights are missing: rowmill doctor/,
      );
      await run(`grant create on database ${name} to ${role}; alter role ${role} set statement_timeout = '1ms'`);
      const late = await up(at.href).ended;
      expect(late.status).toBe(1);
      expect(late.stderr).toMatch(
        /^rowmill: .*canceling statement due to [a-z ]+\.\n {2}Hint: If the role or the database has a short statement_timeout/,
      );
      await run(`alter role ${role} reset statement_timeout`);
      await ready(await up(at.href).ended);
      await run(`drop owned by ${role}`);
      await project.database.run(raw(`drop role ${role}`));
    });
  },
);
