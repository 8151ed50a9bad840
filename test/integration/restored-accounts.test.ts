/** A restored ledger whose lost batches are in another account than their pipeline, or whose pipeline is gone. */
import { randomUUID } from "node:crypto";
import { afterEach, expect, it } from "vitest";
import { prepareRestore, restoreLedger } from "../../src/app/deployment/restore-ledger.js";
import { sweepAll } from "../../src/app/open/round.js";
import type { Provider } from "../../src/model/provider/provider.js";
import { formatCustomId } from "../../src/model/request/custom-id.js";
import { createOpenAIProvider } from "../../src/providers/openai/adapter.js";
import { contentsOf } from "../../src/sources/source.js";
import type { Pipeline, WorkerContext } from "../../src/worker/context.js";
import { lookOnce } from "../../src/worker/rounds/duplicates.js";
import { bookKeepers, describeDatabases } from "../support/databases.js";
import { createNotes, notesPipeline, plain } from "../support/notes.js";
import { sql, startProject, type TestProject } from "../support/project.js";

const KEYS = { own: "key-of-one-account", other: "key-of-another-account" } as const;
const { signal } = new AbortController();

describeDatabases(
  "A restored ledger with two accounts",
  (kind) => {
    let project: TestProject;
    afterEach(async () => {
      await project.check().finally(() => project.close());
    });

    function providerOf(organization: keyof typeof KEYS): Provider {
      return createOpenAIProvider({ apiKey: KEYS[organization], baseURL: project.gateway.url, organization });
    }

    /** Two pipelines over one table, each with an account of its own. */
    async function start(): Promise<{ context: WorkerContext; notes: Pipeline; other: Provider }> {
      project = await startProject(kind, { gateway: { apiKeys: Object.values(KEYS) } });
      await createNotes(project, plain(1));
      const second = notesPipeline();
      const opened = await project.worker({ notes: notesPipeline(), second });
      const [own, other] = [providerOf("own"), providerOf("other")];
      const pipelines = new Map(
        [...opened.pipelines].map(([id, one]) => [id, { ...one, provider: one.config.name === "notes" ? own : other }]),
      );
      const context = { ...opened, pipelines };
      const [notes] = [...pipelines.values()].filter(({ config }) => config.name === "notes");
      if (notes === undefined) throw new Error("There is no pipeline of this name.");
      return { context, notes, other };
    }

    async function post(key: string, path: string, body: FormData | string): Promise<string> {
      const type = typeof body === "string" ? { "content-type": "application/json" } : {};
      const headers = { authorization: `Bearer ${key}`, ...type };
      const reply = await fetch(`${project.gateway.url}${path}`, { method: "POST", headers, body });
      const { id }: { id: string } = JSON.parse(await reply.text());
      return id;
    }

    /** In the other account, created by a later state of this ledger. */
    async function createLost(pipeline: string, customId: string): Promise<string> {
      const [ledger] = await project.rows<{ id: string }>(sql`select id from rowmill.deployment`);
      const messages = [{ role: "user", content: "A text." }];
      const line = { custom_id: customId, method: "POST", url: "/v1/chat/completions" };
      const upload = new FormData();
      upload.set("purpose", "batch");
      const text = `${JSON.stringify({ ...line, body: { model: "gpt-4o-mini", messages } })}\n`;
      upload.set("file", new File([text], "lost.jsonl"));
      const created = {
        input_file_id: await post(KEYS.other, "/files", upload),
        endpoint: "/v1/chat/completions",
        completion_window: "24h",
        metadata: { rowmill_deployment: ledger?.id, rowmill_batch: randomUUID(), rowmill_pipeline: pipeline },
      };
      const id = await post(KEYS.other, "/batches", JSON.stringify(created));
      await project.gateway.until(id);
      return id;
    }

    async function restore(context: WorkerContext): Promise<void> {
      const restoration = await prepareRestore(context, signal);
      const place = { database: { kind: "server", url: project.url }, file: "" } as const;
      await restoreLedger(context, place, { restoration, signal });
    }

    it("leaves a batch of a pipeline that is gone alone, and does not ask about it again", async () => {
      const { context, other } = await start();
      const lost = await createLost("gone", "1-1-0123456789ab");
      expect(await lookOnce(context, other, signal)).toBe(false);
      await restore(context);
      const recorded = sql`select account, provider_batch_id as id from rowmill.duplicate_batches`;
      expect(await project.rows(recorded)).toEqual([{ account: other.account, id: lost }]);
      context.memory.comparisons.delete(other);
      expect(await lookOnce(context, other, signal)).toBe(true);
    });

    it("adopts a batch for the account that has it, not for the one that its pipeline uses now", async () => {
      const { context, notes, other } = await start();
      await sweepAll(context, signal);
      const [request] = await project.rows<{ id: string; key: string }>(
        sql`select id::text, key from rowmill.requests where pipeline_id = ${notes.id}`,
      );
      const hash = await context.database.transaction(async (tx) => {
        for await (const [row] of contentsOf(notes.source, tx, [request?.key ?? ""])) return row?.hash;
        return undefined;
      });
      const lost = await createLost("notes", formatCustomId(request?.id ?? "", 1, hash ?? ""));
      await restore(context);
      const adopted = sql`
        select b.account, b.provider_batch_id as id
        from rowmill.batches b
        where b.pipeline_id = ${notes.id}`;
      expect(await project.rows(adopted)).toEqual([{ account: other.account, id: lost }]);
    });
  },
  bookKeepers,
);
