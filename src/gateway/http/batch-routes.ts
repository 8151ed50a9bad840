/** /v1/batches: create, retrieve, list, cancel. Decides answers; sends nothing itself. */
import type { FastifyRequest } from "fastify";
import type { Owner } from "../storage/api-keys.js";
import { missingFileMessage } from "../engine/batch-moves.js";
import type { BatchRecord, BatchStore } from "../storage/batch-store.js";
import { readCreateRequest } from "./create-request.js";
import type { CreationLimit } from "./creation-limit.js";
import type { Engine } from "../engine/engine.js";
import type { FileStore } from "../storage/file-store.js";
import { jsonBodyOf, pathParam, type HttpServer } from "./http-server.js";
import { pageOf } from "../protocol/paging.js";
import { nowSeconds, type GatewaySettings } from "../settings.js";
import { ok, refusal, type Answer } from "../protocol/wire.js";

const PAGE_DEFAULT = 20;
const PAGE_MAX = 100;

export interface BatchRouteParts {
  readonly settings: GatewaySettings;
  readonly files: FileStore;
  readonly batches: BatchStore;
  readonly engine: Engine;
  readonly creations: CreationLimit;
}

export function addBatchRoutes(server: HttpServer, parts: BatchRouteParts): void {
  const { batches, engine } = parts;
  const withBatch = (answer: (record: BatchRecord) => Answer) => (request: FastifyRequest, caller: Owner) => {
    engine.wake();
    const id = pathParam(request, "id");
    const record = batches.get(id, caller);
    return record === undefined ? refusal(404, noSuchBatch(id)) : answer(record);
  };
  server.route("POST", "/v1/batches", (request, caller) => createBatch(request, parts, caller));
  server.route("GET", "/v1/batches", (request, caller) => listBatches(request, parts, caller));
  server.route(
    "GET",
    "/v1/batches/:id",
    withBatch((record) => ok(engine.show(record))),
  );
  server.route(
    "POST",
    "/v1/batches/:id/cancel",
    withBatch((record) => cancelBatch(record, engine)),
  );
}

function createBatch(request: FastifyRequest, parts: BatchRouteParts, caller: Owner): Answer {
  const { settings, files, engine, creations } = parts;
  const read = jsonBodyOf(request);
  if ("refused" in read) return read.refused;
  const asked = readCreateRequest(read.body);
  if ("refused" in asked) return asked.refused;
  const { inputFileId } = asked.input;
  const file = settings.faults.seesInput(inputFileId) ? files.get(inputFileId, caller) : undefined;
  if (file === undefined && settings.missingInput === "refused") {
    return refusal(400, missingFileMessage(inputFileId, settings.organization), { param: "input_file_id" });
  }
  if (file !== undefined && file.purpose !== "batch") {
    const message = `Invalid purpose of file ${inputFileId}: expected 'batch', but got '${file.purpose}'.`;
    return refusal(400, message, { param: "input_file_id", code: "invalid_value" });
  }
  const waitSeconds = creations.take(nowSeconds(settings.clock));
  if (waitSeconds !== null) return tooManyCreations(settings.limits.creationsPerHour, waitSeconds);
  return ok(engine.show(engine.create({ ...asked.input, owner: caller })));
}

function tooManyCreations(max: number, waitSeconds: number): Answer {
  const message = `Rate limit reached for batch creations. Limit: ${max} / hour. Please try again in ${waitSeconds}s.`;
  const headers = { "retry-after": String(waitSeconds) };
  return refusal(429, message, { type: "requests", code: "rate_limit_exceeded", headers });
}

function listBatches(request: FastifyRequest, { batches, engine }: BatchRouteParts, caller: Owner): Answer {
  engine.wake();
  const rules = { limitDefault: PAGE_DEFAULT, limitMax: PAGE_MAX, unknownAfter: noSuchBatch };
  const query = { ...(request.query as Readonly<Record<string, unknown>>), order: "desc" };
  const entries = batches.list(caller).map((record) => ({ id: record.batch.id, record }));
  const listed = pageOf(entries, query, rules);
  if ("refused" in listed) return listed.refused;
  return ok({ ...listed.page, data: listed.page.data.map(({ record }) => engine.show(record)) });
}

/** A second cancel is allowed, one of a batch that ended otherwise is a conflict (both recorded). */
function cancelBatch(record: BatchRecord, engine: Engine): Answer {
  const { status } = record.batch;
  if (status === "completed" || status === "failed" || status === "expired") {
    return refusal(409, `Cannot cancel a batch with status '${status}'.`);
  }
  engine.cancel(record);
  return ok(engine.show(record));
}

function noSuchBatch(id: string): string {
  return `No batch found with id '${id}'.`;
}
