/** A gateway on a free port and a folder of its own for one test, the official client, and batches made of lines. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import OpenAI, { toFile } from "openai";
import { onTestFinished } from "vitest";
import { startGateway, type Gateway, type GatewayOptions } from "../../src/gateway/gateway.js";

export type Started = { readonly gateway: Gateway; readonly client: OpenAI; readonly dataDir: string };
type Overrides = Partial<Omit<GatewayOptions, "demoModel">>;

/** Ends with the test. Statuses pass without delay unless the test asks for one. */
export async function startTestGateway(options: Overrides = {}): Promise<Started> {
  const dataDir = options.dataDir ?? (await temporaryDir());
  const gateway = await startGateway({ batchDelayMs: 0, ...options, dataDir, demoModel: true });
  onTestFinished(() => gateway.close());
  return { gateway, client: clientOf(gateway), dataDir };
}

export function clientOf(gateway: { readonly url: string }, apiKey = "demo"): OpenAI {
  return new OpenAI({ baseURL: gateway.url, apiKey, maxRetries: 0, timeout: 20_000 });
}

export async function temporaryDir(): Promise<string> {
  const dir = await mkdtemp(join(tmpdir(), "rowmill-gateway-"));
  onTestFinished(() => rm(dir, { recursive: true, force: true }));
  return dir;
}

const summarySchema = {
  type: "json_schema",
  json_schema: {
    name: "answer",
    strict: true,
    schema: {
      type: "object",
      properties: {
        categories: { type: "array", items: { type: "string" } },
        summary: { type: "string" },
      },
      required: ["categories", "summary"],
      additionalProperties: false,
    },
  },
};

export function chatBody(text: string, extra: object = {}): object {
  const messages = [
    { role: "system", content: "Extract categories and a summary." },
    { role: "user", content: text },
  ];
  return { model: "gpt-4o-mini", messages, response_format: summarySchema, ...extra };
}

export function chatLine(customId: string, text: string, extra: object = {}): string {
  const body = chatBody(text, extra);
  return JSON.stringify({ custom_id: customId, method: "POST", url: "/v1/chat/completions", body });
}

/** `count` lines with the custom ids `r-0`, `r-1`, … and texts that differ. */
export function chatLines(count: number): string[] {
  return Array.from({ length: count }, (_, index) =>
    chatLine(`r-${index}`, `Detective number ${index} hunts a serial killer.`),
  );
}

export async function upload(client: OpenAI, content: string | readonly string[], filename = "in.jsonl") {
  const text = typeof content === "string" ? content : content.map((line) => `${line}\n`).join("");
  return client.files.create({ file: await toFile(Buffer.from(text), filename), purpose: "batch" });
}

export function createBatch(client: OpenAI, fileId: string, metadata?: Record<string, string>) {
  return client.batches.create({
    input_file_id: fileId,
    endpoint: "/v1/chat/completions",
    completion_window: "24h",
    ...(metadata === undefined ? {} : { metadata }),
  });
}

/** Uploads the lines and creates a batch of them. */
export async function submit(client: OpenAI, lines: string | readonly string[]): Promise<string> {
  const file = await upload(client, lines);
  return (await createBatch(client, file.id)).id;
}

export interface OutputLine {
  readonly id: string;
  readonly custom_id: string;
  readonly response: {
    readonly status_code: number;
    readonly request_id: string;
    readonly body: {
      readonly choices: readonly {
        readonly finish_reason: string;
        readonly message: { readonly content: string | null; readonly refusal: string | null };
      }[];
      readonly usage: { readonly prompt_tokens: number; readonly completion_tokens: number };
      readonly system_fingerprint: string;
      readonly error?: {
        readonly message: string;
        readonly type: string;
        readonly code: string | null;
        readonly param: string | null;
      };
    };
  } | null;
  readonly error: { readonly code: string; readonly message: string } | null;
}

/** The lines of an output or error file; none for a file that is not there. */
export async function readLines(client: OpenAI, fileId: string | null | undefined): Promise<OutputLine[]> {
  if (fileId === null || fileId === undefined || fileId === "") return [];
  const text = await (await client.files.content(fileId)).text();
  return text
    .split("\n")
    .filter((line) => line !== "")
    .map((line) => JSON.parse(line) as OutputLine);
}

/** The refusal that the call ended with. Fails when it succeeds. */
export async function refusalOf(call: Promise<unknown>): Promise<InstanceType<typeof OpenAI.APIError>> {
  const ended = await call.then(
    () => null,
    (error: unknown) => error,
  );
  if (ended instanceof OpenAI.APIError) return ended;
  throw new Error(`Expected a refusal by the API, got ${String(ended)}.`);
}

/** A clock that tests move. */
export class TestClock {
  private ms: number;
  constructor(start: string) {
    this.ms = Date.parse(start);
  }
  nowMs(): number {
    return this.ms;
  }
  advanceSeconds(seconds: number): void {
    this.ms += seconds * 1000;
  }
}
