/** What pushes hold while they come, and what they do when two cross. */
import { once } from "node:events";
import { afterEach, beforeEach, expect, it } from "vitest";
import { pipeline, push } from "../../src/index.js";
import { openDatabase, sql, type Database } from "../../src/postgres/database.js";
import { bookKeepers, describeDatabases } from "../support/databases.js";
import { startProject, type TestProject } from "../support/project.js";
import { head, RawHttp } from "../support/raw-http.js";
import { startTestService, type TestService } from "../support/service.js";

const films = pipeline({
  source: push({ key: "id", columns: ["text"] }),
  request: { model: "gpt-4o-mini", user: "Sum up: {{ text }}", maxOutputTokens: 100 },
  target: { table: "film_labels" },
});
const ROWS = "/v1/pipelines/films/rows";
const LINES = "application/x-ndjson";
/** Rows of one statement. */
const CHUNK_ROWS = 2_000;

describeDatabases(
  "A push",
  (kind) => {
    let project: TestProject;
    let service: TestService;
    let token: string;
    const open: RawHttp[] = [];
    beforeEach(async () => {
      project = await startProject(kind);
      await project.worker({ films });
      service = await startTestService(project);
      token = await service.token("push", "films");
    });
    afterEach(async () => {
      for (const client of open.splice(0)) client.close();
      await service.close();
      await project.close();
    });

    /** Sends a head and the first bytes of a body. */
    const begin = async (headers: Readonly<Record<string, string | number>>, bytes: string): Promise<RawHttp> => {
      const client = await RawHttp.connect(Number(new URL(service.base).port));
      open.push(client);
      await client.send(head(`POST ${ROWS}`, { authorization: `Bearer ${token}`, ...headers }));
      await client.send(bytes);
      return client;
    };
    const post = async (body: string, type = "application/json") => {
      const response = await fetch(service.base + ROWS, {
        method: "POST",
        body,
        headers: { authorization: `Bearer ${token}`, "content-type": type },
      });
      return { status: response.status, body: (await response.json()) as Record<string, unknown> };
    };
    const chunkOf = (text: string) => `${text.length.toString(16)}\r\n${text}\r\n`;
    const stored = () => project.database.number(sql`select count(*)::float8 from rowmill_data.films`);

    it("in gzip takes the room of what it may unpack to, until it ends", async () => {
      const packed = { "content-encoding": "gzip", "content-length": 100_000 };
      // 64 MiB each, of 160: one of three finds no room, whichever comes last.
      const three = [await begin(packed, "\u001F"), await begin(packed, "\u001F"), await begin(packed, "\u001F")];
      const refused = await Promise.any(three.map((one) => one.until(/^HTTP[^\n]* 429/).then(() => one)));
      expect(await post('[{"id": 1}]')).toMatchObject({ status: 200 });
      for (const holder of three.filter((one) => one !== refused).slice(0, 1)) {
        const ended = once(holder.socket, "close");
        holder.close();
        await ended;
      }
      await expect
        .poll(async () => (await begin(packed, "x".repeat(100_000))).until(/^HTTP[^\n]*\n/), { timeout: 10_000 })
        .toContain("400");
    });

    it("of endless lines holds one of 8 places, and the database only while it writes", async () => {
      const type = { "content-type": LINES, "transfer-encoding": "chunked" };
      const lines = (from: number) =>
        chunkOf(Array.from({ length: CHUNK_ROWS }, (_, id) => `{"id": ${from + id}}\n`).join(""));
      const streams: RawHttp[] = [];
      for (let at = 0; at < 8; at++) streams.push(await begin(type, lines(at * CHUNK_ROWS)));
      // More than may write at once: each has written, and waits for its next lines.
      await expect.poll(stored, { timeout: 20_000 }).toBe(8 * CHUNK_ROWS);
      expect(await post('{"id": "ninth"}', LINES)).toMatchObject({ status: 429, body: { code: "too_busy" } });
      expect(await post('[{"id": "no lines"}]')).toMatchObject({ status: 200 });
      for (const stream of streams) await stream.send(`${chunkOf('{"id": "last"}')}0\r\n\r\n`);
      for (const stream of streams) expect(await stream.until(/"accepted":\d+/)).toMatch(/"accepted":200[01]/);
      expect(await post('{"id": "ninth"}', LINES)).toMatchObject({ status: 200 });
    });

    const many = Array.from({ length: 300 }, (_, id) => ({ id: `c${id}`, text: "more than are gathered" }));
    it.each([
      ["gathered with others", [], "application/json"],
      ["alone, for its size", many, "application/json"],
      ["as lines", [], LINES],
    ])("is repeated when it meets another the wrong way round: %s", async (_, more, type) => {
      await post('[{"id": "a", "text": "old"}, {"id": "b", "text": "old"}]');
      const mine = openDatabase({ connectionString: project.url, ssl: false });
      const rows = [{ id: "a", text: "new" }, { id: "b", text: "new" }, ...more];
      const body = type === LINES ? rows.map((row) => JSON.stringify(row)).join("\n") : JSON.stringify(rows);
      const pushedByMe = (tx: Pick<Database, "run">, id: string) =>
        tx.run(sql`select rowmill.push('films', ${JSON.stringify([{ id, text: "mine" }])}::jsonb)`);
      const before = await deadlocks();
      const pushing = await mine.transaction(async (tx) => {
        // The server gives up the one that notices first, which is the other one.
        await tx.run(sql`set local deadlock_timeout = '1min'`);
        await pushedByMe(tx, "b");
        const answer = post(body, type);
        await expect.poll(waiting, { timeout: 10_000 }).toBe(1);
        await pushedByMe(tx, "a");
        return { answer };
      });
      expect(await pushing.answer).toMatchObject({ status: 200, body: { accepted: rows.length, refused: 0 } });
      expect(await project.database.column(sql`select distinct text from rowmill_data.films where id < 'c'`)).toEqual([
        "new",
      ]);
      // Repeated at once, it may meet the same again.
      await expect.poll(deadlocks, { timeout: 10_000 }).toBeGreaterThan(before);
      await mine.close();
    });

    it("that keeps a digest is not held up by a long transaction of yours, and holds no other up", async () => {
      const mine = openDatabase({ connectionString: project.url, ssl: false });
      const large = JSON.stringify([{ id: "large", text: "x".repeat(20_000) }]);
      const ingest = async () => {
        const response = await fetch(`${service.base}/v1/in/${token}`, { method: "POST", body: large });
        return response.json();
      };
      const digests = () => project.database.number(sql`select count(*)::float8 from rowmill.push_digests`);
      await mine.transaction(async (tx) => {
        await tx.run(sql`select rowmill.push('films', '[{"id": "mine"}]')`);
        expect(await ingest()).toMatchObject({ accepted: 1 });
        expect(await post('[{"id": "other"}]')).toMatchObject({ status: 200, body: { accepted: 1 } });
        expect(await digests()).toBe(0);
      });
      expect(await ingest()).toMatchObject({ unchanged: 1 });
      expect(await digests()).toBe(1);
      await mine.close();
    });

    const waiting = () =>
      project.database.number(sql`
        select count(*)::float8
        from pg_catalog.pg_locks l
        join pg_catalog.pg_stat_activity a on a.pid = l.pid and a.datname = current_database()
        where not l.granted`);
    const deadlocks = () =>
      project.database.number(sql`
        select deadlocks::float8 from pg_catalog.pg_stat_database where datname = current_database()`);
  },
  // With a second session, which the embedded database does not have.
  bookKeepers.filter((kind) => kind !== "embedded"),
);
