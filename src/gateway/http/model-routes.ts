/** Owns /v1/models and live /v1/chat/completions, answered by the same model as batches. Sends nothing itself. */
import { userTextOf, type ChatModel } from "../engine/chat-model.js";
import { jsonBodyOf, pathParam, type GatewayContext, type HttpServer } from "./http-server.js";
import { contentHashOf, type Journal } from "../storage/journal.js";
import type { JsonObject } from "../protocol/json.js";
import { nowSeconds, type GatewaySettings } from "../settings.js";
import { newId, ok, refusal, type Answer } from "../protocol/wire.js";

interface ModelRouteParts {
  readonly settings: GatewaySettings;
  readonly journal: Journal;
  readonly model: ChatModel;
}

export function addModelRoutes(server: HttpServer, parts: ModelRouteParts): void {
  const { model, settings } = parts;
  const created = nowSeconds(settings.clock);
  const describe = (id: string) => ({ id, object: "model", created, owned_by: model.ownedBy });
  const names = settings.models ?? model.names;
  server.route("GET", "/v1/models", () => ok({ object: "list", data: names.map(describe) }));
  server.route("GET", "/v1/models/:id", (context) => {
    const id = pathParam(context, "id");
    return names.includes(id) ? ok(describe(id)) : unknownModel(id);
  });
  server.route("POST", "/v1/chat/completions", (context) => complete(context, parts));
}

async function complete(context: GatewayContext, { model, settings, journal }: ModelRouteParts): Promise<Answer> {
  const read = await jsonBodyOf(context);
  if ("refused" in read) return read.refused;
  const body = read.body as JsonObject;
  if (typeof body["model"] !== "string") return refusal(400, "you must provide a model parameter");
  if (settings.models !== null && !settings.models.includes(body["model"])) return unknownModel(body["model"]);
  if (body["stream"] === true) {
    return refusal(400, "The gateway does not stream answers.", { param: "stream", code: "unsupported_value" });
  }
  const id = newId("chatcmpl-");
  const reply = await model.answer(body, { id, nowSeconds: nowSeconds(settings.clock) });
  journal.append({
    kind: "executed",
    at: settings.clock.nowMs(),
    batchId: null,
    customId: null,
    model: body["model"],
    contentHash: contentHashOf(userTextOf(body)),
    status: reply.status,
    behaviour: reply.behaviour,
  });
  return { kind: "json", status: reply.status, body: reply.body };
}

function unknownModel(id: string): Answer {
  const message = `The model '${id}' does not exist or you do not have access to it.`;
  return refusal(404, message, { code: "model_not_found" });
}
