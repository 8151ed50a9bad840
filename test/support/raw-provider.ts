/** Servers that stand in for a provider and misbehave in ways that the gateway cannot: raw HTTP, real sockets. */
import http from "node:http";
import type { AddressInfo } from "node:net";
import { expect } from "vitest";
import { RowmillError } from "../../src/model/errors.js";
import type { BatchMark, CreateIntent, Provider } from "../../src/model/provider/provider.js";
import { createOpenAIProvider, type OpenAIOptions } from "../../src/providers/openai/adapter.js";
import { connect, type Connection } from "../../src/providers/openai/http/connection.js";
import { findInputs, readLines } from "../../src/providers/openai/files.js";

export const KEY = "sk-proj-abcdefghijklmnopqrstuvwxyz";
export const BATCH = {
  id: "batch_1",
  status: "validating",
  created_at: 1_790_000_000,
  input_file_id: "file-1",
};

/** With its way to the server, for what is asked about files. */
export interface RawProvider extends Provider {
  readonly connection: Connection;
}

interface Seen {
  readonly method: string;
  readonly url: string;
  readonly headers: http.IncomingHttpHeaders;
  readonly body: string;
}

export type Handler = (response: http.ServerResponse, call: Seen, index: number) => void;

export const cleanups: (() => Promise<void>)[] = [];
/** After each test. */
export async function closeServers(): Promise<void> {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
}

/** Every call is answered by the handler, which also gets its number from 0. */
export async function serve(
  handler: Handler,
  options: Partial<OpenAIOptions> = {},
): Promise<{ provider: RawProvider; seen: Seen[]; url: string }> {
  const seen: Seen[] = [];
  const server = http.createServer((request, response) => {
    const parts: Buffer[] = [];
    request.on("data", (part: Buffer) => parts.push(part));
    request.on("end", () => {
      const { method = "", url = "", headers } = request;
      const call = { method, url, headers, body: Buffer.concat(parts).toString("latin1") };
      seen.push(call);
      handler(response, call, seen.length - 1);
    });
    request.on("error", () => response.destroy());
  });
  const url = await listen(server);
  return { provider: providerAt(url, options), seen, url };
}

export async function listen(server: http.Server): Promise<string> {
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  cleanups.push(() => closed(server));
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}/v1`;
}

function closed(server: http.Server): Promise<void> {
  return new Promise((resolve) => {
    server.close(() => resolve());
    server.closeAllConnections();
  });
}

export function providerAt(baseURL: string, more: Partial<OpenAIOptions> = {}): RawProvider {
  const timeouts = { backoffMs: 1, callMs: 20_000, stallMs: 20_000 };
  const options = { apiKey: KEY, baseURL, timeouts, ...more };
  return { ...createOpenAIProvider(options), connection: connect(options, baseURL) };
}

export function json(
  response: http.ServerResponse,
  status: number,
  body: unknown,
  headers: http.OutgoingHttpHeaders = {},
): void {
  response.writeHead(status, { "content-type": "application/json", ...headers });
  response.end(JSON.stringify(body));
}

export const refusal = (message: string, code: string | null = null) => ({
  error: { message, type: "t", param: null, code },
});
/** A create of the file that `staged` names. */
export function intentOf(staged: string, mark: Partial<BatchMark> = {}): CreateIntent {
  const whole = { deployment: "d1", batch: "b1", pipeline: "films", definition: "h1", ...mark };
  const spool = { batchId: whole.batch, path: "", bytes: 0, sha256: "" };
  return { mark: whole, staged, baseline: null, spool, requests: 1, model: "gpt-4o-mini" };
}

/** What a create of ours said, as the gateway's journal has it. */
export function markIn(metadata: Readonly<Record<string, string>> | null | undefined): BatchMark {
  return {
    deployment: metadata?.["rowmill_deployment"] ?? "",
    batch: metadata?.["rowmill_batch"] ?? "",
    pipeline: metadata?.["rowmill_pipeline"] ?? "",
    definition: metadata?.["rowmill_definition"] ?? "",
  };
}

export const createBatch = (provider: Provider) => provider.create(intentOf("file-1"));
export const retrieve = (provider: Provider) => provider.status("batch_1");

export async function readInto({ connection }: RawProvider, seen: string[]): Promise<void> {
  for await (const lines of readLines(connection, "file-1")) seen.push(...lines);
}

/** Ids of the input files of ours that lie at a server, newest first. */
export async function inputsAt(url: string): Promise<string[]> {
  return (await findInputs(providerAt(url).connection, "rowmill-")).map(({ id }) => id);
}

export async function failureOf(promise: Promise<unknown>): Promise<RowmillError & { kind?: string }> {
  const error: unknown = await promise.then(
    () => expect.fail("it did not fail"),
    (caught: unknown) => caught,
  );
  if (!(error instanceof RowmillError)) throw error;
  return error;
}
