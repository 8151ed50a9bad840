/**
 * Servers that speak OpenAI's API otherwise than OpenAI does: records of files that are gone or wrong, refusals that
 * are about no line, unknown entries and words. What is not needed may be anything; no row pays for what is not its
 * own fault.
 */
import { afterEach, expect, it } from "vitest";
import type { Call, Fault, GatewayFaults } from "../../src/gateway/engine/faults.js";
import type { Answer } from "../../src/gateway/protocol/wire.js";
import type { WorkerContext } from "../../src/worker/context.js";
import { bookKeepers, describeDatabases } from "../support/databases.js";
import { batchRows, createNotes, notesPipeline, outcomes, plain, requests } from "../support/notes.js";
import { sql, startProject, type TestProject } from "../support/project.js";
import {
  drop,
  executions,
  expectAllAnsweredOnce,
  faultsOf,
  hurry,
  impatient,
  is,
  listen,
  passTime,
  pauseOf,
  refusal,
  resumeAll,
  type ProviderCall,
  type Warnings,
} from "../support/provider-faults.js";

type Body = Record<string, unknown>;

const ROWS = 40;
const UPLOAD = "POST /v1/files";
const CONTENT = "GET /v1/files/:id/content";
const RECORD = "GET /v1/files/:id";
const isRecord = ({ method, route }: Call) => `${method} ${route}` === RECORD;

/** The true reply of these calls, changed. */
function shown(isMeant: (call: Call) => boolean, change: (body: Body) => unknown): GatewayFaults["afterEffect"] {
  return (call, answer) => (isMeant(call) ? changed(answer, change) : undefined);
}

function changed(answer: Answer, change: (body: Body) => unknown): Fault | undefined {
  if (answer.kind !== "json" || answer.status !== 200) return undefined;
  return { kind: "reply", status: 200, body: change({ ...answer.body }) as object };
}

describeDatabases(
  "A provider with a dialect of its own",
  (kind) => {
    let project: TestProject;
    let warnings: Warnings;
    afterEach(async () => {
      await project.check().finally(() => project.close());
    });

    async function start(faults: Partial<GatewayFaults>, rows = ROWS): Promise<WorkerContext> {
      project = await startProject(kind, { gateway: { faults } });
      await createNotes(project, plain(rows));
      warnings = listen();
      return project.worker({ notes: notesPipeline() }, { timeouts: impatient, log: warnings.log });
    }

    async function calls(route: string): Promise<number> {
      return (await project.gateway.journal.summary()).calls.get(route) ?? 0;
    }

    async function expectUntouched(): Promise<void> {
      const rows = await requests(project);
      expect(rows.filter(({ state }) => state === "failed")).toEqual([]);
      expect(rows.filter(({ tries, returns }) => tries + returns > 0)).toEqual([]);
      expect(await executions(project)).toEqual([]);
    }

    async function expectAllAfterResume(worker: WorkerContext, rows = ROWS): Promise<void> {
      await resumeAll(project);
      await hurry(project, worker);
      await expectAllAnsweredOnce(project, rows);
    }

    it.each<[string, Fault]>([
      ["404", refusal(404, "No such File object.")],
      ["500", refusal(500, "The server had an error.")],
      ["another size", { kind: "reply", status: 200, body: { id: "file-1", bytes: 1_000_000_000 } }],
      ["no JSON object", { kind: "reply", status: 200, body: [] }],
      ["nothing, indefinitely,", { kind: "stall", afterBytes: 0 }],
    ])("says %s of a file whose content it gives: the content is read, once", async (_, fault) => {
      const worker = await start({ afterEffect: (call) => (isRecord(call) ? fault : undefined) }, 3);
      await hurry(project, worker);
      await expectAllAnsweredOnce(project, 3);
      expect(await calls(CONTENT)).toBe(1);
      expect(await pauseOf(project)).toBeNull();
    });

    it("gives a file without its end, and says of it that it is longer: it is read again until it is whole", async () => {
      let cuts = 2;
      const cut = (call: Call, answer: Answer): Fault | undefined =>
        is("readLines")(call) && answer.kind === "file" && cuts-- > 0
          ? { kind: "reply", status: 200, body: { custom_id: "half of a li" } }
          : undefined;
      const worker = await start({ afterEffect: cut }, 3);
      await hurry(project, worker);
      await expectAllAnsweredOnce(project, 3);
      expect(await calls(CONTENT)).toBe(3);
    });

    it.each<[string, ProviderCall, number, Fault, string]>([
      [
        "400 for its quota of files",
        "uploadInput",
        1,
        refusal(400, "The quota for files without expiry is reached. The maximum is 500.", {
          code: "quotaExceeded",
        }),
        "account",
      ],
      ["507", "uploadInput", 1, refusal(507, "Insufficient Storage"), "account"],
      ["405", "uploadInput", 1, refusal(405, "Method Not Allowed"), "provider"],
      ["400 for an unknown reason", "uploadInput", 3, refusal(400, "Gremlins.", { code: "odd" }), "provider"],
      ["409 of a create for such a reason", "createBatch", 3, refusal(409, "A conflict."), "provider"],
      ["413 to every size", "uploadInput", 3, refusal(413, "Request Entity Too Large"), "provider"],
    ])(
      "says %s: the pipeline pauses with its words, and no row pays for it",
      async (_, name, uploads, fault, paused) => {
        let isUnwell = true;
        const worker = await start({
          beforeEffect: (call) => (isUnwell && is(name)(call) ? fault : undefined),
        });
        await hurry(project, worker);
        const said = fault.kind === "reply" ? (fault.body as { error: { message: string } }).error.message : "";
        expect(await pauseOf(project)).toMatchObject({
          kind: paused,
          reason: expect.stringMatching(new RegExp(`${said.replaceAll(".", "\\.")}.*rowmill resume notes`)),
        });
        expect(await calls(UPLOAD)).toBe(uploads);
        await expectUntouched();
        isUnwell = false;
        await expectAllAfterResume(worker);
      },
    );

    it("takes small files only, and does not say how small: they become smaller until they pass", async () => {
      const bytesMax = 4_000;
      const tooLarge = refusal(413, "<html>413 Request Entity Too Large</html>");
      const worker = await start({
        beforeEffect: (call) =>
          is("uploadInput")(call) && (call.contentLength ?? 0) > bytesMax ? tooLarge : undefined,
      });
      await project.run(sql`insert into public.notes (body) values (${"A long one. ".repeat(250)})`);
      await hurry(project, worker);
      expect(await outcomes(project)).toMatchObject({ answered: ROWS + 1 });
      await expectAllAnsweredOnce(project, ROWS + 1);
      const refused = (await batchRows(project)).filter(({ state }) => state === "rejected");
      // The first one, and at most one for each time that the size of the next ones was doubled too far.
      expect(refused.length).toBeLessThanOrEqual(3);
    });

    it.each<[unknown]>([[[]], ["Gremlins."]])(
      "fails each batch, with the errors %j: three files, and the pipeline pauses",
      async (errors) => {
        let isUnwell = true;
        const worker = await start({
          hold: () => isUnwell,
          afterEffect: shown(is("retrieveBatch"), (batch) =>
            isUnwell ? { ...batch, status: "failed", errors } : batch,
          ),
        });
        await hurry(project, worker);
        expect(await pauseOf(project)).toMatchObject({
          kind: "provider",
          reason: expect.stringMatching(/refused 3 files and named no line: (The provider gave no reason|Gremlins)\./),
        });
        expect(await calls(UPLOAD)).toBe(3);
        await expectUntouched();
        isUnwell = false;
        await expectAllAfterResume(worker);
      },
    );

    it("works on a file before it takes it: the create waits until the file is ready", async () => {
      let looks = 0;
      const pending = (body: Body) => ({ ...body, status: "pending" });
      const notReady = refusal(400, "File is in 'pending' state. Only files with status 'Processed' are accepted.");
      const worker = await start({
        beforeEffect: (call) => (is("createBatch")(call) && looks < 5 ? notReady : undefined),
        afterEffect: (call, answer) => {
          if (isRecord(call)) looks++;
          return is("uploadInput")(call) || (isRecord(call) && looks < 5) ? changed(answer, pending) : undefined;
        },
      });
      await hurry(project, worker);
      await expectAllAnsweredOnce(project, ROWS);
      expect(await calls(UPLOAD)).toBe(1);
      expect(await calls("POST /v1/batches")).toBe(1);
      expect(looks).toBe(5);
    });

    it.each<[string, unknown, number]>([
      ["uploaded", "uploaded", 3],
      ["pending", "pending", 30],
      ["nothing", null, 0],
    ])(
      "says %s of a file indefinitely and takes the create: Rowmill waits within a bound",
      async (_, status, looks) => {
        const asSaid = (body: Body) => ({ ...body, status });
        const worker = await start({
          afterEffect: shown((call) => is("uploadInput")(call) || isRecord(call), asSaid),
        });
        await hurry(project, worker);
        await expectAllAnsweredOnce(project, ROWS);
        expect(await calls(UPLOAD)).toBe(1);
        expect(await calls(RECORD)).toBe(looks);
      },
    );

    it("never makes a file ready: the pipeline pauses with its words, and continues with that file", async () => {
      let isUnwell = true;
      const notReady = refusal(400, "File file-1 is in 'pending' state.");
      const worker = await start({
        beforeEffect: (call) => (isUnwell && is("createBatch")(call) ? notReady : undefined),
      });
      await hurry(project, worker);
      expect(await pauseOf(project)).toMatchObject({
        kind: "provider",
        reason: expect.stringMatching(/is in 'pending' state\..* To try again: rowmill resume notes$/),
      });
      await expectUntouched();
      isUnwell = false;
      await expectAllAfterResume(worker);
      expect(await calls(UPLOAD)).toBe(1);
    });

    it("cannot use the file: the pipeline pauses with the file's own details, and uploads it again after resume", async () => {
      let isUnwell = true;
      const broken = (body: Body) => (isUnwell ? { ...body, status: "error", status_details: "Disk trouble." } : body);
      const worker = await start({
        afterEffect: (call, answer) => {
          if (is("findInputs")(call))
            return changed(answer, ({ data, ...list }) => ({
              ...list,
              data: (data as Body[]).map((file) => ({ ...file, status: "error" })),
            }));
          return is("uploadInput")(call) ? changed(answer, broken) : undefined;
        },
      });
      await hurry(project, worker);
      expect(await pauseOf(project)).toMatchObject({
        kind: "provider",
        reason: expect.stringContaining("Disk trouble."),
      });
      expect(await calls(UPLOAD)).toBe(1);
      await expectUntouched();
      isUnwell = false;
      await expectAllAfterResume(worker);
      expect(await calls(UPLOAD)).toBe(2);
    });

    it.each([400, 405])(
      "says %s to the list of files: one upload, and a lost create is found all the same",
      async (status) => {
        const lost = faultsOf("createBatch", [drop]);
        const worker = await start({
          beforeEffect: (call) => (is("findInputs")(call) ? refusal(status, "No list.") : undefined),
          afterEffect: (call) => lost(call),
        });
        await hurry(project, worker);
        await expectAllAnsweredOnce(project, ROWS);
        expect(await calls(UPLOAD)).toBe(1);
        expect(await calls("POST /v1/batches")).toBe(1);
      },
    );

    it("writes times as ISO 8601, counts as text and words in capitals, next to strange batches in its list", async () => {
      const iso = (seconds: unknown) => new Date(Number(seconds) * 1_000).toISOString();
      const other = (batch: Body): Body => ({
        ...batch,
        created_at: iso(batch["created_at"]),
        status: String(batch["status"]).toUpperCase(),
        request_counts: Object.fromEntries(
          Object.entries(batch["request_counts"] as Body).map(([name, count]) => [name, String(count)]),
        ),
        metadata: Object.keys(batch["metadata"] as Body).length === 0 ? null : batch["metadata"],
        errors: batch["errors"] ?? "",
      });
      const strange = [
        { id: "batch_x", created_at: null, status: null, input_file_id: "file-x" },
        { id: 17, created_at: 1.5, status: {}, input_file_id: "file-y", metadata: null, errors: 4 },
        null,
        "batch",
        { id: null, input_file_id: "file-z" },
      ];
      const isBatch = (call: Call) => is("retrieveBatch")(call) || is("createBatch")(call);
      const lost = faultsOf("createBatch", [drop]);
      const worker = await start({
        afterEffect: (call, answer) => {
          if (is("findBatches")(call))
            return changed(answer, ({ data, ...list }) => ({
              ...list,
              data: [...strange, ...(data as Body[]).map(other)],
            }));
          return lost(call) ?? (isBatch(call) ? changed(answer, other) : undefined);
        },
      });
      await hurry(project, worker);
      await expectAllAnsweredOnce(project, ROWS);
      expect(await calls("POST /v1/batches")).toBe(1);
      expect(await batchRows(project)).toMatchObject([{ state: "settled", provider_status: "completed" }]);
      expect(await pauseOf(project)).toBeNull();
    });

    it("has a list entry that may be the batch in question: it is not created again before you confirm it", async () => {
      const untold = {
        id: "batch_x",
        created_at: null,
        status: "in_progress",
        input_file_id: null,
        metadata: null,
      };
      const lost = faultsOf("createBatch", [drop]);
      const worker = await start({
        beforeEffect: (call) =>
          lost(call) ??
          (is("findBatches")(call)
            ? { kind: "reply", status: 200, body: { data: [untold], has_more: false } }
            : undefined),
      });
      await hurry(project, worker, { each: "3 minutes" });
      expect(await pauseOf(project)).toMatchObject({
        kind: "provider",
        reason: expect.stringMatching(
          /an entry whose id is "batch_x", input_file_id is null and metadata is null: .* rowmill resume notes$/,
        ),
      });
      expect(await calls("POST /v1/batches")).toBe(1);
      await expectUntouched();
      await resumeAll(project);
      await hurry(project, worker, { each: "3 minutes" });
      await expectAllAnsweredOnce(project, ROWS);
      expect(await calls("POST /v1/batches")).toBe(2);
    });

    it.each<[string, unknown, string]>([
      ["an unknown word", "ARCHIVED", `the status "ARCHIVED"`],
      ["no status", null, `the status "null"`],
    ])(
      "says %s of a batch indefinitely: after ten looks in a row the pipeline pauses and names it",
      async (_, status, said) => {
        let isOdd = true;
        const worker = await start({
          afterEffect: shown(is("retrieveBatch"), (batch) => (isOdd ? { ...batch, status } : batch)),
        });
        await hurry(project, worker);
        expect(await pauseOf(project)).toMatchObject({
          kind: "provider",
          reason: expect.stringContaining(said),
        });
        expect(await calls("GET /v1/batches/:id")).toBe(10);
        isOdd = false;
        await expectAllAfterResume(worker);
        expect(await calls("POST /v1/batches")).toBe(1);
      },
    );

    it("says an unknown word while you have paused the pipeline: Rowmill asks at the pace of polls", async () => {
      const odd = shown(is("retrieveBatch"), (body) => ({ ...body, status: "reticulating" }));
      const worker = await start({ afterEffect: odd }, 2);
      await project.round(worker);
      await project.run(
        sql`update rowmill.pipelines set pause_kind = 'person', pause_reason = 'a pause', paused_at = now()`,
      );
      const before = await calls("GET /v1/batches/:id");
      for (let round = 0; round < 15; round++) {
        await passTime(project, "0 seconds");
        await project.round(worker);
      }
      expect((await calls("GET /v1/batches/:id")) - before).toBe(15);
      expect(await pauseOf(project)).toMatchObject({ kind: "person" });
    });

    it("answers about a batch what cannot be read: the pipeline pauses and names field and value", async () => {
      let isOdd = true;
      const worker = await start({
        afterEffect: shown(is("retrieveBatch"), (batch) => (isOdd ? { ...batch, id: { odd: true } } : batch)),
      });
      await hurry(project, worker);
      expect(await pauseOf(project)).toMatchObject({
        kind: "provider",
        reason: expect.stringContaining(`a batch whose id is {"odd":true}`),
      });
      expect(warnings.messages.length).toBeGreaterThan(0);
      isOdd = false;
      await expectAllAfterResume(worker);
    });

    it("loses the record of an input file while its create is looked for: nothing changes", async () => {
      const lost = faultsOf("createBatch", [drop]);
      const worker = await start({
        beforeEffect: (call) => (isRecord(call) ? refusal(404, "No such File object.") : undefined),
        afterEffect: (call) => lost(call),
      });
      await project.round(worker);
      await passTime(project, "10 seconds");
      await hurry(project, worker);
      await expectAllAnsweredOnce(project, ROWS);
    });
  },
  bookKeepers,
);
