/** The project's own gateway as the suite of providers wants it. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { startGateway } from "../../src/gateway/gateway.js";
import { createOpenAIProvider } from "../../src/providers/openai/adapter.js";
import { startFaultProxy } from "./fault-proxy.js";
import type { ConformanceStandIn, SuiteCall, SuiteEntry } from "./provider-stand-in.js";

const KEY = "sk-proj-abcdefghijklmnopqrstuvwxyz";
const MODEL = "gpt-4o-mini";

const CALLS: Readonly<Record<SuiteCall, { method: string; path: RegExp }>> = {
  create: { method: "POST", path: /\/batches$/ },
  list: { method: "GET", path: /\/batches$/ },
  status: { method: "GET", path: /\/batches\/[^/]+$/ },
  results: { method: "GET", path: /\/content$/ },
  cancel: { method: "POST", path: /\/cancel$/ },
};

export async function makeOpenAIStandIn(): Promise<ConformanceStandIn> {
  const folder = await mkdtemp(join(tmpdir(), "rowmill-gateway-"));
  let laterMs = 0;
  let held = false;
  const nowMs = () => Date.now() + laterMs;
  const gateway = await startGateway({
    dataDir: folder,
    demoModel: true,
    batchDelayMs: 0,
    log: () => {},
    clock: { nowMs },
    faults: { hold: () => held },
  });
  const proxy = await startFaultProxy(new URL(gateway.url).origin);
  const account = new OtherClient(gateway.url);
  return {
    key: KEY,
    model: MODEL,
    provider: ({ origin = proxy.origin, ...timeouts } = {}) =>
      createOpenAIProvider({ apiKey: KEY, baseURL: `${origin}/v1`, timeouts: { backoffMs: 1, ...timeouts } }),
    break: (call, at, fault, times = 1) => proxy.break(CALLS[call], at, fault, times),
    fix: () => proxy.fix(),
    hold: (isHeld) => {
      held = isHeld;
      if (!isHeld) gateway.release();
    },
    expire: (id, afterRequests) => {
      held = false;
      gateway.expire(id, { afterRequests });
      return Promise.resolve();
    },
    until: async (id) => void (await gateway.until(id)),
    advance: (ms) => {
      laterMs += ms;
      return Promise.resolve();
    },
    nowSeconds: () => Math.floor(nowMs() / 1_000),
    createForeign: (requests) => account.create(requests),
    losePart: async (id) => {
      const { output_file_id: output } = (await account.get(`/batches/${id}`)) as { output_file_id: string };
      await account.delete(`/files/${output}`);
      return (await gateway.until(id)).request_counts.failed;
    },
    creates: () => Promise.resolve(proxy.count("POST", CALLS.create.path)),
    batches: async () => (await gateway.journal.summary()).batches.length,
    executed: async () => (await gateway.journal.summary()).executed,
    lying: () => account.files(),
    shows: { uploads: true, input: true, cached: true },
    words: wordsOf(account),
    close: async () => {
      await proxy.close();
      await gateway.close();
      await rm(folder, { recursive: true, force: true });
    },
  };
}

/** Of the same account, with batches that bear nothing of ours. */
class OtherClient {
  private readonly url: string;
  private readonly headers = { authorization: `Bearer ${KEY}` };
  private readonly inputs = new Map<number, Promise<string>>();

  constructor(url: string) {
    this.url = url;
  }

  async get(path: string): Promise<object> {
    return (await (await fetch(`${this.url}${path}`, { headers: this.headers })).json()) as object;
  }

  async files(): Promise<string[]> {
    const { data } = (await this.get("/files")) as { data: readonly { id: string }[] };
    return data.map(({ id }) => id);
  }

  async delete(path: string): Promise<void> {
    await fetch(`${this.url}${path}`, { method: "DELETE", headers: this.headers });
  }

  async create(requests: number): Promise<string> {
    const input = this.inputs.get(requests) ?? this.upload(requests);
    this.inputs.set(requests, input);
    const body = { input_file_id: await input, endpoint: "/v1/chat/completions", completion_window: "24h" };
    const reply = await fetch(`${this.url}/batches`, {
      method: "POST",
      headers: { ...this.headers, "content-type": "application/json" },
      body: JSON.stringify(body),
    });
    return ((await reply.json()) as { id: string }).id;
  }

  private async upload(requests: number): Promise<string> {
    const body = { model: MODEL, messages: [{ role: "user", content: "Of somebody else." }] };
    const lines = Array.from({ length: requests }, (_, index) =>
      JSON.stringify({ custom_id: `foreign-${index}`, method: "POST", url: "/v1/chat/completions", body }),
    );
    const form = new FormData();
    form.set("purpose", "batch");
    form.set("file", new File([lines.map((line) => `${line}\n`).join("")], "foreign.jsonl"));
    const reply = await fetch(`${this.url}/files`, { method: "POST", headers: this.headers, body: form });
    return ((await reply.json()) as { id: string }).id;
  }
}

async function listedAs(account: OtherClient, entry: SuiteEntry): Promise<{ readonly id?: string }> {
  if (entry === null) return { object: "batch" } as object;
  if (typeof entry === "string") return account.get(`/batches/${entry}`);
  const {
    input_file_id: _,
    metadata: __,
    ...rest
  } = (await account.get(`/batches/${entry.untold}`)) as Record<string, unknown>;
  return rest;
}

function wordsOf(account: OtherClient): ConformanceStandIn["words"] {
  return {
    error: (message) => ({ error: { message, type: "t", param: null, code: null } }),
    capacity: {
      kind: "reply",
      status: 429,
      body: { error: { message: "Too many queued batches.", type: "t", param: null, code: null } },
    },
    page: async (entries, more) => {
      const data = await Promise.all(entries.map((entry) => listedAs(account, entry)));
      const { id } = data.at(-1) ?? {};
      return { kind: "reply", status: 200, body: { object: "list", data, has_more: more, last_id: id } };
    },
    unnamed: async (id) => {
      const batch = await account.get(`/batches/${id}`);
      const [output, error] = [{ output_file_id: null }, { error_file_id: null }];
      const replies = [output, error, { ...output, ...error }];
      return replies.map((missing) => ({ kind: "reply", status: 200, body: { ...batch, ...missing } }));
    },
    answer: (customId, { uncachedInput, cachedInput, shownOutput, reasoning }) => {
      const usage = {
        prompt_tokens: uncachedInput + cachedInput,
        prompt_tokens_details: { cached_tokens: cachedInput },
        completion_tokens: shownOutput + reasoning,
        completion_tokens_details: { reasoning_tokens: reasoning },
      };
      const choices = [{ index: 0, message: { role: "assistant", content: "{}" }, finish_reason: "stop" }];
      const response = { status_code: 200, body: { model: MODEL, choices, usage } };
      return JSON.stringify({ custom_id: customId, response, error: null });
    },
    strangeBatch: async (id, word) => {
      const body = { ...(await account.get(`/batches/${id}`)), status: word, created_at: "yesterday" };
      return { kind: "reply", status: 200, body };
    },
  };
}
