/** Stands before dynalite and refuses calls as AWS does: dynalite has neither capacity nor rights. */
import { once } from "node:events";
import http from "node:http";
import type { AddressInfo } from "node:net";
import { expect } from "vitest";
import { ConnectorError } from "../../src/model/connector.js";
import { DYNALITE_ENV } from "./dynalite.js";

interface Refusal {
  readonly type: string;
  readonly message?: string;
}

export interface FaultyDynamo {
  readonly endpoint: string;
  /** Of each call: its operation, such as `Scan`, and how many of them came before. Null: it goes through. */
  refuse: (operation: string, before: number) => Refusal | null;
  /** Before a call goes through. */
  before: (operation: string) => Promise<void>;
  close(): Promise<void>;
}

export async function startFaultyDynamo(behind: string): Promise<FaultyDynamo> {
  const counts = new Map<string, number>();
  const faulty: Omit<FaultyDynamo, "endpoint" | "close"> = { refuse: () => null, before: () => Promise.resolve() };
  const server = http.createServer((request, reply) => {
    void handle(request, reply).catch(() => reply.destroy());
  });
  const handle = async (request: http.IncomingMessage, reply: http.ServerResponse) => {
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk as Buffer);
    const target = String(request.headers["x-amz-target"]);
    const operation = target.split(".")[1] ?? "";
    const before = counts.get(operation) ?? 0;
    counts.set(operation, before + 1);
    const refusal = faulty.refuse(operation, before);
    reply.setHeader("content-type", "application/x-amz-json-1.0");
    if (refusal !== null) {
      const { type, message = type } = refusal;
      reply.writeHead(400).end(JSON.stringify({ __type: `com.amazonaws.dynamodb.v20120810#${type}`, message }));
      return;
    }
    await faulty.before(operation);
    const headers = { "x-amz-target": target, "content-type": "application/x-amz-json-1.0" };
    const authorization = String(request.headers.authorization);
    const given = await fetch(behind, {
      method: "POST",
      headers: { ...headers, authorization, "x-amz-date": String(request.headers["x-amz-date"]) },
      body: Buffer.concat(chunks),
    });
    reply.writeHead(given.status).end(await given.text());
  };
  await once(server.listen(0, "127.0.0.1"), "listening");
  return Object.assign(faulty, {
    endpoint: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    close: async () => {
      server.close();
      server.closeAllConnections();
      await once(server, "close");
    },
  });
}

/** What a connector throws; it says no secret. */
export async function failureOf(work: Promise<unknown>): Promise<ConnectorError> {
  const error: unknown = await work.then(
    () => new Error("It did not fail."),
    (thrown: unknown) => thrown,
  );
  if (!(error instanceof ConnectorError)) throw error;
  for (const secret of [DYNALITE_ENV.AWS_SECRET_ACCESS_KEY, DYNALITE_ENV.AWS_ACCESS_KEY_ID])
    expect(`${error.message} ${error.hints.join(" ")}`).not.toContain(secret);
  return error;
}
