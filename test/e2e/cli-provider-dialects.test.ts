/**
 * `rowmill up` with servers that speak OpenAI's API otherwise than OpenAI does: what a person sees, and what it costs
 * in calls.
 */
import { afterEach, beforeAll, describe, expect, it } from "vitest";
import type { Call, Fault, GatewayFaults } from "../../src/gateway/engine/faults.js";
import type { Answer } from "../../src/gateway/protocol/wire.js";
import { sql } from "../../src/postgres/database.js";
import { buildCli, filmsPipeline, serverKind, startCliProject, type CliProject } from "../support/cli.js";
import { countLabels, createFilms, insertFilms } from "../support/cli-films.js";
import { drop, faultsOf, is, refusal } from "../support/provider-faults.js";

beforeAll(buildCli, 150_000);

type Body = Record<string, unknown>;
const ROWS = 40;

function changed(answer: Answer, change: (body: Body) => object): Fault | undefined {
  if (answer.kind !== "json" || answer.status !== 200) return undefined;
  return { kind: "reply", status: 200, body: change({ ...answer.body }) };
}

/** As Azure works on a file before it takes it, and others write times, counts and words. */
function otherwise(): Partial<GatewayFaults> {
  const iso = (seconds: unknown) => new Date(Number(seconds) * 1_000).toISOString();
  const batch = (body: Body): Body => ({
    ...body,
    created_at: iso(body["created_at"]),
    status: String(body["status"]).toUpperCase(),
    request_counts: JSON.parse(
      JSON.stringify(body["request_counts"], (_, value: unknown) =>
        typeof value === "number" ? String(value) : value,
      ),
    ),
    errors: "",
  });
  const foreign = { id: "batch_x", created_at: null, status: null, input_file_id: "file-x", metadata: null };
  const lost = faultsOf("createBatch", [drop]);
  let looks = 0;
  return {
    beforeEffect: (call) => {
      if (is("findInputs")(call)) return refusal(405, "Method Not Allowed");
      // After two looks nothing is to be learned of the file any more: then the create has to say whether it is ready.
      if (isRecord(call))
        return looks++ < 2 ? { kind: "reply", status: 200, body: { id: "f", status: "Pending" } } : refusal(500, "No.");
      return undefined;
    },
    afterEffect: (call, answer) => {
      if (is("uploadInput")(call)) return changed(answer, (file) => ({ ...file, status: "pending" }));
      if (is("findBatches")(call))
        return changed(answer, ({ data, ...list }) => ({
          ...list,
          data: [foreign, null, ...(data as Body[]).map(batch)],
        }));
      return lost(call) ?? (is("retrieveBatch")(call) ? changed(answer, batch) : undefined);
    },
  };
}

function isRecord({ method, route }: Call): boolean {
  return method === "GET" && route === "/v1/files/:id";
}

describe("rowmill up, with a server of another dialect", { timeout: 90_000 }, () => {
  let project: CliProject;
  afterEach(async () => {
    await project.check().finally(() => project.close());
  });

  async function start(faults: Partial<GatewayFaults>): Promise<void> {
    project = await startCliProject(serverKind, { gateway: { faults } });
    await createFilms(project);
    await insertFilms(project, ROWS);
    await project.writeConfig(filmsPipeline());
  }

  async function calls(route: string): Promise<number> {
    return (await project.gateway.journal.summary()).calls.get(route) ?? 0;
  }

  it("asks each row once and reads each answer, whatever form times, words, lists and file records have", async () => {
    await start(otherwise());
    const ended = await project.run("up", "--until-idle");
    expect(ended.status, ended.stderr).toBe(0);
    expect(await countLabels(project)).toBe(ROWS);
    expect((await project.gateway.journal.summary()).executed).toBe(ROWS);
    expect(await calls("POST /v1/files")).toBe(1);
    expect(await calls("POST /v1/batches")).toBe(1);
    expect(await calls("GET /v1/files/:id/content")).toBe(1);
  });

  it.each<[string, Fault, number]>([
    [
      "has no room for another file",
      refusal(400, "The quota for files without expiry is reached. The maximum is 500.", {
        code: "quotaExceeded",
      }),
      1,
    ],
    ["refuses files of every size", refusal(413, "Request Entity Too Large"), 3],
    ["refuses each file for no known reason", refusal(400, "Gremlins.", { code: "odd" }), 3],
  ])("pauses where it %s: says why, and no row pays for it", async (_, fault, uploads) => {
    let isUnwell = true;
    await start({ beforeEffect: (call) => (isUnwell && is("uploadInput")(call) ? fault : undefined) });
    const ended = await project.run("up", "--until-idle");
    expect(ended.status, ended.stderr).toBe(4);
    const said = fault.kind === "reply" ? (fault.body as { error: { message: string } }).error.message : "";
    expect(ended.stderr).toContain(said);
    const [status] = (await project.status()).pipelines;
    expect(status).toMatchObject({ failed: 0, paused: expect.stringContaining(said) });
    expect((status?.waiting ?? 0) + (status?.batched ?? 0)).toBe(ROWS);
    expect(await calls("POST /v1/files")).toBe(uploads);
    const counted = sql`select 1 from rowmill.requests where tries + returns > 0`;
    expect(await project.database.rows(counted)).toEqual([]);
    isUnwell = false;
    expect((await project.run("resume", "films")).status).toBe(0);
    const again = await project.run("up", "--until-idle");
    expect(again.status, again.stderr).toBe(0);
    expect((await project.gateway.journal.summary()).executed).toBe(ROWS);
    expect(await countLabels(project)).toBe(ROWS);
  });
});
