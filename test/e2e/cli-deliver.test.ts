/** Answers for an HTTP service of the user: delivered, refused, shown, and delivered again. */
import { createServer, type Server } from "node:http";
import { once } from "node:events";
import { json } from "node:stream/consumers";
import { afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { sql } from "../../src/postgres/database.js";
import { buildCli, serverKind, startCliProject, unlessServer, type CliProject } from "../support/cli.js";
import { createFilms, insertFilms } from "../support/cli-films.js";

beforeAll(buildCli, 150_000);

interface Sent {
  readonly key: string;
  readonly fence: string;
  readonly cells?: { readonly summary: string };
  readonly deleted?: true;
}

/** As a user writes it: the service names the rows that it refuses. */
const target = (port: number, more = "") => `films: pipeline({ source, polling, request, answer, target: {
  name: "search index",
  write: async (changes, { signal }) => {
    const body = JSON.stringify(changes);
    const reply = await fetch("http://127.0.0.1:${port}", { method: "POST", body, signal });
    if (!reply.ok) throw new Error("It answered " + reply.status);
    return reply.json();
  },
}, ${more} })`;

describe.skipIf(serverKind === "embedded")(`A target over HTTP${unlessServer}`, { timeout: 150_000 }, () => {
  let project: CliProject;
  let server: Server;
  let port = 0;
  let sent: Sent[] = [];
  let status = 200;
  let refused: readonly string[] = [];
  /** It answers 500 to a delivery that holds this row. */
  let poison: string | null = null;
  beforeEach(async () => {
    [sent, status, refused, poison] = [[], 200, [], null];
    server = createServer((request, response) => {
      void json(request).then((changes) => {
        if ((changes as Sent[]).some(({ key }) => key === poison)) return void response.writeHead(500).end();
        if (status === 200) sent.push(...(changes as Sent[]));
        const failed = refused.map((key) => ({ key, reason: "No film of that name." }));
        response.writeHead(status, { "content-type": "application/json" }).end(JSON.stringify({ failed }));
      });
    });
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    const address = server.address();
    if (typeof address === "object" && address !== null) ({ port } = address);
    project = await startCliProject(serverKind, { prepared: true });
    await createFilms(project);
    await insertFilms(project, 3);
    await project.writeConfig(target(port));
  });
  afterEach(async () => {
    server.closeAllConnections();
    server.close();
    await project.check().finally(() => project.close());
  });

  const deliveries = async () => (await project.status()).pipelines[0]?.deliveries;
  const waitLong = async () => {
    await project.database.run(sql`update rowmill.deliveries set next_at = now() where state = 'waiting'`);
    await project.database.run(sql`update rowmill.deliverers set next_at = now()`);
  };

  it("also gets the answers that were in a table before it, without another request", async () => {
    // More than one chunk, and ids of several lengths.
    await insertFilms(project, 597, 3);
    await project.writeConfig(`films: pipeline({ source, polling, request, answer,
      target: { table: "labels", columns: { summary: "one_line" } } })`);
    expect(await project.run("up", "--until-idle", "--yes")).toMatchObject({ status: 0 });
    await project.database.pool.query(
      "update labels set one_line = 'Mine.' where id = 1; delete from labels where id = 2",
    );
    await project.writeConfig(target(port));
    const moved = await project.run("up", "--until-idle", "--yes");
    expect(moved.status, moved.stderr).toBe(0);
    expect(moved.stderr).toContain("films: 599 rows copied for the new target");
    expect(moved.stderr).toContain("films: 1 answer not copied: the previous table lacks them, or they do not fit.");
    expect(sent.map(({ key }) => Number(key)).toSorted((a, b) => a - b)).toEqual(
      Array.from({ length: 600 }, (_, id) => id).filter((id) => id !== 2),
    );
    expect(sent.find(({ key }) => key === "1")?.cells?.summary).toBe("Mine.");
    expect((await project.gateway.journal.summary()).executed).toBe(600);
    expect((await project.run("up", "--until-idle", "--yes")).stderr).not.toContain("copied");
    expect(sent).toHaveLength(599);
  });

  it("also gets them if the prompt changes with it, and the answers to the previous one are kept", async () => {
    await project.writeConfig(`films: pipeline({ source, polling, request, answer, target: { table: "labels" } })`);
    expect(await project.run("up", "--until-idle", "--yes")).toMatchObject({ status: 0 });
    const asks = 'onChange: "keep", request: { ...request, user: "Another question: {{ title }}" }';
    await project.writeConfig(target(port, asks));
    expect(await project.run("up", "--until-idle", "--yes")).toMatchObject({ status: 0 });
    expect(sent.map(({ key }) => key).toSorted()).toEqual(["0", "1", "2"]);
    expect((await project.gateway.journal.summary()).executed).toBe(3);
  });

  it("gets all answers before up --until-idle ends, and status counts them apart from rows", async () => {
    expect(await project.run("doctor")).toMatchObject({ status: 0 });
    const script = (await project.run("up", "--print-sql")).stdout;
    expect(script).toMatch(
      /create schema if not exists rowmill_data;[^]*create table if not exists "?rowmill_data"?\."films_answers"/,
    );
    expect(await project.run("up", "--until-idle", "--yes")).toMatchObject({ status: 0 });
    expect(sent.map(({ key }) => key).toSorted()).toEqual(["0", "1", "2"]);
    expect(sent.every(({ cells }) => typeof cells?.summary === "string")).toBe(true);
    expect(await deliveries()).toEqual({
      target: "search index",
      waiting: 0,
      delivered: 3,
      stale: 0,
      failed: 0,
      reason: null,
      trouble: null,
      nextAt: null,
    });
    expect((await project.run("status")).stdout).toContain("films: 3 answers delivered to search index, 0 waiting");
    const again = await project.run("deliver", "films", "--replay");
    expect(again.stdout).toBe("films: there is nothing that was not delivered\n");
    const all = await project.run("deliver", "--replay", "--all");
    expect(all.stdout).toBe("films: 3 answers will be delivered to search index again\n");
    await project.run("up", "--once");
    expect(sent).toHaveLength(6);
    const [first, second] = [sent.slice(0, 3), sent.slice(3)].map((part) =>
      Math.max(...part.map(({ fence }) => +fence)),
    );
    expect(second).toBeGreaterThan(first ?? 0);
    expect((await project.gateway.journal.summary()).executed).toBe(3);
  });

  it("that is down keeps the answers: up says so and ends, and they are delivered later at no cost", async () => {
    status = 503;
    const ended = await project.run("up", "--until-idle", "--yes");
    expect(ended.status).toBe(4);
    expect(ended.stderr).toMatch(
      /films: 3 answers were not delivered to search index yet, next try .*: It answered 503/,
    );
    expect((await project.status()).pipelines[0]).toMatchObject({
      succeeded: 3,
      deliveries: { waiting: 3, delivered: 0, trouble: { message: "It answered 503" } },
    });
    status = 200;
    await waitLong();
    expect(await project.run("up", "--once")).toMatchObject({ status: 0 });
    expect(sent).toHaveLength(3);
    expect((await project.gateway.journal.summary()).executed).toBe(3);
  });

  it("that cannot take answers is found before anything is sent, and paid for once it can", async () => {
    const noRoom = (fails: boolean) => `films: pipeline({ source, polling, request, answer, target: {
      prepare: () => { if (${fails}) throw Object.assign(new Error("It has no index of that name."), { kind: "stop" }); },
      write: async () => {},
    } })`;
    await project.writeConfig(noRoom(true));
    const ended = await project.run("up", "--until-idle", "--yes");
    expect(ended.status).toBe(4);
    expect(ended.stderr).toContain("films: paused: It has no index of that name. Then: rowmill resume films\n");
    expect((await project.gateway.journal.summary()).executed).toBe(0);
    await project.writeConfig(noRoom(false));
    await project.run("resume", "films");
    expect(await project.run("up", "--until-idle", "--yes")).toMatchObject({ status: 0 });
    expect((await project.gateway.journal.summary()).executed).toBe(3);
    expect(await deliveries()).toMatchObject({ delivered: 3, waiting: 0 });
  });

  it("may refuse a row: the reason is shown, and rowmill deliver --replay delivers it once it is fixed", async () => {
    refused = ["1"];
    expect(await project.run("up", "--until-idle", "--yes")).toMatchObject({ status: 4 });
    await project.database.run(sql`update rowmill.deliveries set failures = 7 where state = 'waiting'`);
    await waitLong();
    await project.run("up", "--once");
    expect(await deliveries()).toMatchObject({ delivered: 2, failed: 1, reason: "No film of that name." });
    const row = await project.run("show", "films", "1");
    expect(row.stdout).toMatch(
      /\ndelivery\n {2}failed, refused 8 times\n {2}reason: No film of that name\.\n {2}to search index/,
    );
    expect(JSON.parse((await project.run("show", "films", "0", "--json")).stdout)).toMatchObject({
      delivery: { target: "search index", state: "delivered", deleted: false, failures: 0, reason: null, nextAt: null },
    });
    const progress = sql`
      select succeeded, deliveries_waiting, deliveries_delivered, deliveries_stale, deliveries_failed
      from rowmill.progress`;
    expect(await project.database.first(progress)).toEqual({
      succeeded: "3",
      deliveries_waiting: "0",
      deliveries_delivered: "2",
      deliveries_stale: "0",
      deliveries_failed: "1",
    });
    const shown = await project.run("status");
    expect(shown.stdout).toContain("films: 1 answer was not delivered to search index: No film of that name.");
    expect(shown.stdout).toContain("rowmill deliver films --replay");
    refused = [];
    expect((await project.run("deliver", "films", "--replay", "--failed")).stdout).toContain("1 answer will be");
    await project.run("up", "--once");
    expect(await deliveries()).toMatchObject({ delivered: 3, failed: 0, reason: null });
  });

  it("that throws for one row gets the others in the same run, and that row is shown with what was thrown", async () => {
    poison = "1";
    expect(await project.run("up", "--until-idle", "--yes")).toMatchObject({ status: 4 });
    expect(sent.map(({ key }) => key).toSorted()).toEqual(["0", "2"]);
    expect(await deliveries()).toMatchObject({ waiting: 1, delivered: 2, reason: "It answered 500", trouble: null });
    poison = null;
    await waitLong();
    expect(await project.run("up", "--once")).toMatchObject({ status: 0 });
    expect(await deliveries()).toMatchObject({ waiting: 0, delivered: 3 });
    expect((await project.gateway.journal.summary()).executed).toBe(3);
  });

  it("is told when you forget a row and its answer", async () => {
    await project.run("up", "--until-idle", "--yes");
    await project.database.run(sql`delete from films where id = 1`);
    const forgotten = await project.run("forget", "films", "--key", "1", "--answers", "--yes");
    expect(forgotten).toMatchObject({ status: 0 });
    sent = [];
    await project.run("up", "--once");
    expect(sent).toEqual([{ key: "1", fence: expect.stringMatching(/^\d+$/), deleted: true }]);
    const lines = sql`select key from rowmill.deliveries order by key`;
    expect(await project.database.column(lines)).toEqual(["0", "2"]);
  });

  it("is no table: deliver refuses a pipeline that has one, and doctor says what a target may be", async () => {
    await project.writeConfig('films: pipeline({ source, polling, request, answer, target: { table: "labels" } })');
    await project.run("up", "--until-idle", "--yes");
    const ended = await project.run("deliver", "films", "--replay");
    expect(ended.status).toBe(4);
    expect(ended.stderr).toContain("films does not have a target elsewhere");
    await project.writeConfig("films: pipeline({ source, polling, request, answer, target: { write: 1 } })");
    expect((await project.run("doctor")).stdout).toContain("{ write } with a function");
  });
});
