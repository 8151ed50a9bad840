/** Answers of the demo model, and what becomes of them when another account takes over. */
import { once } from "node:events";
import { createServer, request, type IncomingMessage, type ServerResponse } from "node:http";
import { join } from "node:path";
import { startGateway, type Gateway, type GatewayOptions } from "../../src/gateway/gateway.js";
import { afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { sql } from "../../src/postgres/database.js";
import { createFilms, insertFilms } from "../support/cli-films.js";
import {
  buildCli,
  filmsPipeline,
  runCommand,
  serverKind,
  startCli,
  startCliProject,
  type CliProject,
  type Ended,
} from "../support/cli.js";
import { answerHere } from "../support/work-here.js";
import { DEMO_FINGERPRINT, DEMO_OWNER } from "../../src/model/provider/outcome.js";

beforeAll(buildCli, 150_000);

describe("Rows that the demo model answered", { timeout: 120_000 }, () => {
  let project: CliProject;
  let real: RealGateway;
  const started: { close(): Promise<void> }[] = [];
  beforeEach(async () => {
    project = await startCliProject(serverKind, { prepared: true });
    real = await startReal("real");
    await createFilms(project);
    await project.writeConfig(filmsPipeline());
    await insertFilms(project, 20);
    await answerHere(project);
    expect(await answered()).toEqual([{ account: `${project.gateway.url}||`, demo: true, rows: 20 }]);
  });
  afterEach(async () => {
    for (const server of started.splice(0)) await server.close();
    await project.close();
  });

  async function startReal(name: string, proxy?: { port?: number; models?: number }): Promise<RealGateway> {
    const gateway = await startRealGateway({ dataDir: join(project.folder, name) }, proxy);
    started.push(gateway);
    return gateway;
  }

  function answered(): Promise<{ account: string; demo: boolean; rows: number }[]> {
    return project.database.rows(sql`
      select b.account, r.demo, count(*)::int as rows
      from rowmill.requests r
      join rowmill.batches b on b.no = r.answered_batch
      where r.state = 'succeeded' group by 1, 2 order by 1`);
  }

  function at(url: string, ...args: string[]): Promise<Ended> {
    return runCommand(args, { cwd: project.folder, env: { ...project.env, OPENAI_BASE_URL: url } });
  }

  async function askedOf(gateway: RealGateway["gateway"]): Promise<number> {
    return (await gateway.journal.summary()).executed;
  }

  it("are sent again of a real account, once, after a report of the number and the cost", async () => {
    const up = await at(real.url, "up", "--until-idle");
    expect(up.status, up.stderr).toBe(0);
    expect(up.stderr).toContain(
      `films: 20 rows had answers of the demo model, which is not a language model. They will be sent to ${real.url}:\nfilms: 20 rows, about`,
    );
    expect(up.stderr).toMatch(/estimated \$0\.\d+ \(cap \$0\.\d+ with up to 3 tries per row; live requests: \$/);
    expect(await answered()).toEqual([{ account: `${real.url}||`, demo: false, rows: 20 }]);
    expect(await askedOf(real.gateway)).toBe(20);
    const again = await at(real.url, "up", "--until-idle");
    expect(again.stderr).toContain("films: 20 succeeded");
    expect(again.stderr).not.toContain("demo model");
    expect(await askedOf(real.gateway)).toBe(20);
    await project.check();
  });

  it("wait for approval if they are expensive, although the demo was approved; status and show report it", async () => {
    await project.writeConfig(filmsPipeline("approveAboveUsd: 0"));
    const asked = await at(real.url, "up", "--until-idle");
    expect(asked.status, asked.stderr).toBe(4);
    expect(asked.stderr).toContain("films: waits for approval. Approve it: rowmill approve films");
    expect(await askedOf(real.gateway)).toBe(0);
    const status = await project.status();
    expect(status.pipelines[0]).toMatchObject({
      waiting: 20,
      succeeded: 0,
      paused: expect.stringMatching(/^waits for approval: 20 rows/),
    });
    expect((await project.run("show", "films", "1")).stdout).toContain("\n  waiting");
    const yes = await at(real.url, "up", "--until-idle", "--yes");
    expect(yes.status, yes.stderr).toBe(0);
    expect(await askedOf(real.gateway)).toBe(20);
    expect((await project.run("show", "films", "1")).stdout).toContain(
      `\n  answered by ${real.url}, version 1 of the config\n`,
    );
    await project.check();
  });

  it("stay as they are at another demo, and what a real account answered stays with another one and with the demo", async () => {
    const otherDemo = await startGateway({
      dataDir: join(project.folder, "other"),
      demoModel: true,
      batchDelayMs: 0,
    });
    started.push(otherDemo);
    const demo = await at(otherDemo.url, "up", "--until-idle");
    expect(demo.status, demo.stderr).toBe(0);
    expect(demo.stderr).toContain("films: 20 succeeded");
    expect((await project.run("show", "films", "1")).stdout).toContain(
      `\n  answered by ${project.gateway.url}, the demo model, version 1 of the config\n`,
    );
    expect((await at(real.url, "up", "--until-idle")).status).toBe(0);
    const another = await startReal("another");
    for (const url of [another.url, otherDemo.url, real.url]) {
      const up = await at(url, "up", "--until-idle");
      expect(up.status, up.stderr).toBe(0);
    }
    const organization = {
      ...project.env,
      OPENAI_BASE_URL: real.url,
      OPENAI_ORG_ID: "org-b",
      OPENAI_PROJECT_ID: "p",
    };
    expect((await runCommand(["up", "--until-idle"], { cwd: project.folder, env: organization })).status).toBe(0);
    expect(await askedOf(another.gateway)).toBe(0);
    expect(await askedOf(otherDemo)).toBe(0);
    expect(await answered()).toEqual([{ account: `${real.url}||`, demo: false, rows: 20 }]);
    await project.check();
  });

  it("are sent again when a real model answers at the same address, or lists no models", async () => {
    const { port } = new URL(project.gateway.url);
    await project.gateway.close();
    const same = await startReal("same", { port: Number(port), models: 404 });
    expect(same.url).toBe(project.env["OPENAI_BASE_URL"]);
    const up = await project.run("up", "--until-idle");
    expect(up.status, up.stderr).toBe(0);
    expect(await askedOf(same.gateway)).toBe(20);
    expect(await answered()).toEqual([{ account: `${same.url}||`, demo: false, rows: 20 }]);
    await project.check();
  });

  it("stay answered while the provider does not say whether it is the demo", async () => {
    const silent = await startReal("silent", { models: 503 });
    const up = await at(silent.url, "up", "--once");
    expect(up.status, up.stderr).toBe(0);
    expect(up.stderr).toContain("does not say whether it is still the demo");
    expect(await answered()).toEqual([{ account: `${project.gateway.url}||`, demo: true, rows: 20 }]);
    expect(await askedOf(silent.gateway)).toBe(0);
  });

  it("are sent again where they failed, and where their row changed and came back", async () => {
    await project.database.run(sql`update films set description = '[[demo:refuse]]' where id = 0`);
    await project.database.run(sql`update films set description = '[[demo:error 400]]' where id = 1`);
    const demo = await project.run("up", "--until-idle");
    expect(demo.status, demo.stderr).toBe(3);
    const failed = sql`select key, error_code as code, demo from rowmill.requests where state = 'failed' order by key`;
    expect(await project.database.rows(failed)).toEqual([
      { key: "0", code: "refused", demo: true },
      { key: "1", code: "permanent", demo: true },
    ]);
    // A row that is away while the account changes, and comes back as the demo answered it.
    await project.database.run(sql`create table away as select * from films where id = 2`);
    await project.database.run(sql`delete from films where id = 2`);
    expect((await project.run("up", "--once")).status).toBe(0);
    const before = await askedOf(real.gateway);
    const up = await at(real.url, "up", "--until-idle");
    expect(up.stderr).toContain("films: 19 rows had answers of the demo model");
    await project.database.run(sql`insert into films select * from away`);
    expect((await at(real.url, "up", "--until-idle")).status).toBe(3);
    const demoLeft = sql`select count(*)::int as rows from rowmill.requests where demo`;
    expect(await project.database.first(demoLeft)).toEqual({ rows: 0 });
    // 18 answers, the one that came back, and the two that fail here as well: one at once, one after its tries.
    expect(await askedOf(real.gateway)).toBeGreaterThanOrEqual(before + 21);
    expect(await answered()).toEqual([{ account: `${real.url}||`, demo: false, rows: 18 }]);
    await project.check();
  });

  it("unusably use up no try of the real account, and do not pause it", async () => {
    await project.database.run(sql`update films set description = '[[demo:invalid]]'`);
    const demo = await project.run("up", "--until-idle");
    expect(demo).toMatchObject({ status: 4, stderr: expect.stringContaining("of the last 20 answers") });
    await project.database.run(sql`update films set description = 'A film about a heist, the ' || id || 'th'`);
    expect((await at(real.url, "up", "--until-idle")).status).toBe(0);
    expect(await answered()).toEqual([{ account: `${real.url}||`, demo: false, rows: 20 }]);
    await project.check();
  });

  it("unusably get all their tries again, although nothing about them changed", async () => {
    await project.database.run(sql`update films set description = '[[demo:invalid]]'`);
    expect((await project.run("up", "--until-idle")).status).toBe(4);
    await at(real.url, "up", "--until-idle");
    expect(await askedOf(real.gateway)).toBeGreaterThanOrEqual(20);
    const tries = sql`select count(*)::int as rows from rowmill.requests where tries > 1`;
    expect(await project.database.first(tries)).toEqual({ rows: 0 });
    await project.check();
  });

  it("are asked once when the worker is killed after it took them back", async () => {
    await project.writeConfig(filmsPipeline("approveAboveUsd: 0"));
    const first = startCli(["up"], {
      cwd: project.folder,
      env: { ...project.env, OPENAI_BASE_URL: real.url },
    });
    await first.says("waits for approval");
    first.child.kill("SIGKILL");
    await first.ended;
    const up = await at(real.url, "up", "--until-idle", "--yes");
    expect(up.status, up.stderr).toBe(0);
    expect(up.stderr).not.toContain("which is no language model");
    expect(await askedOf(real.gateway)).toBe(20);
    await project.check();
  });
});

/**
 * A provider that is not the demo: the same Batch API server, behind a proxy that removes what identifies the demo
 * model. It writes text of the same length instead, so that nothing else changes.
 */
interface RealGateway {
  /** As `OPENAI_BASE_URL`. */
  readonly url: string;
  readonly gateway: Gateway;
  close(): Promise<void>;
}

/** `port`: of the proxy; 0: a free one. `models`: what `GET /models` answers, where it is not the list. */
async function startRealGateway(
  options: Pick<GatewayOptions, "dataDir"> & Partial<GatewayOptions>,
  { port = 0, models }: { port?: number; models?: number } = {},
): Promise<RealGateway> {
  const gateway = await startGateway({ demoModel: true, batchDelayMs: 0, ...options });
  const server = createServer((incoming, reply) => {
    if (models !== undefined && incoming.url?.endsWith("/models") === true)
      reply.writeHead(models, { "content-type": "application/json" }).end("{}");
    else pass(gateway, incoming, reply);
  });
  await once(server.listen(port, "127.0.0.1"), "listening");
  const address = server.address();
  if (address === null || typeof address === "string") throw new Error("not a TCP server");
  return {
    url: `http://127.0.0.1:${address.port}/v1`,
    gateway,
    close: async () => {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
      await gateway.close();
    },
  };
}

function pass(gateway: Gateway, incoming: IncomingMessage, reply: ServerResponse): void {
  const { origin } = new URL(gateway.url);
  const options = { method: incoming.method, headers: incoming.headers };
  const passed = request(new URL(incoming.url ?? "/", origin), options, (answer) => {
    const chunks: Buffer[] = [];
    answer.on("data", (chunk: Buffer) => chunks.push(chunk));
    answer.on("end", () => {
      const text = Buffer.concat(chunks).toString("latin1");
      reply.writeHead(answer.statusCode ?? 500, answer.headers).end(withoutMarks(text), "latin1");
    });
    answer.on("error", () => reply.destroy());
  });
  passed.on("error", () => reply.destroy());
  incoming.pipe(passed);
}

function withoutMarks(text: string): string {
  const fingerprint = "fp_".padEnd(DEMO_FINGERPRINT.length, "0");
  return text.replaceAll(DEMO_FINGERPRINT, fingerprint).replaceAll(DEMO_OWNER, "openai".padEnd(DEMO_OWNER.length, "-"));
}
