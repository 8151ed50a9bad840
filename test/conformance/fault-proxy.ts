/**
 * Stands before an HTTP server and breaks calls that are named by method and path, before or after the server had
 * them.
 */
import { once } from "node:events";
import http from "node:http";
import type { SuiteFault } from "./provider-stand-in.js";

export interface FaultProxy {
  readonly origin: string;
  break(call: { method: string; path: RegExp }, at: "before" | "after", fault: SuiteFault, times: number): void;
  fix(): void;
  /** Calls that arrived. */
  count(method: string, path: RegExp): number;
  close(): Promise<void>;
}

interface Trouble {
  readonly method: string;
  readonly path: RegExp;
  readonly at: "before" | "after";
  readonly fault: SuiteFault;
  left: number;
}

interface Reply {
  readonly status: number;
  readonly headers: http.OutgoingHttpHeaders;
  readonly body: Buffer;
}

export async function startFaultProxy(target: string): Promise<FaultProxy> {
  const troubles: Trouble[] = [];
  const seen: { method: string; path: string }[] = [];
  const faultOf = (method: string, path: string, at: "before" | "after"): SuiteFault | null => {
    const due = troubles.find((one) => one.at === at && one.method === method && one.path.test(path) && one.left > 0);
    if (due === undefined) return null;
    due.left -= 1;
    return due.fault;
  };
  const server = http.createServer((request, response) => {
    const { method = "", url = "" } = request;
    const path = url.split("?")[0] ?? "";
    seen.push({ method, path });
    void readAll(request).then(async (body) => {
      const before = faultOf(method, path, "before");
      const reply = before === null ? await pass(target, request, body) : null;
      answer(response, reply, before ?? faultOf(method, path, "after"));
    });
  });
  await once(server.listen(0, "127.0.0.1"), "listening");
  const address = server.address();
  if (address === null || typeof address === "string") throw new Error("not a TCP server");
  return {
    origin: `http://127.0.0.1:${address.port}`,
    break: (call, at, fault, times) => troubles.push({ ...call, at, fault, left: times }),
    fix: () => {
      troubles.length = 0;
    },
    count: (method, path) => seen.filter((one) => one.method === method && path.test(one.path)).length,
    close: async () => {
      const closed = once(server, "close");
      server.close();
      server.closeAllConnections();
      await closed;
    },
  };
}

async function readAll(stream: http.IncomingMessage): Promise<Buffer> {
  const parts: Buffer[] = [];
  for await (const part of stream) parts.push(part as Buffer);
  return Buffer.concat(parts);
}

async function pass(target: string, incoming: http.IncomingMessage, body: Buffer): Promise<Reply> {
  const { method, headers, url = "" } = incoming;
  const passed = http.request(new URL(url, target), { method, headers });
  passed.end(body);
  const [reply] = (await once(passed, "response")) as [http.IncomingMessage];
  return { status: reply.statusCode ?? 500, headers: reply.headers, body: await readAll(reply) };
}

function answer(response: http.ServerResponse, reply: Reply | null, fault: SuiteFault | null): void {
  if (fault?.kind === "drop") return void response.destroy();
  const given = fault?.kind === "reply" ? replyOf(fault) : reply;
  if (given === null) return void response.destroy();
  const { "transfer-encoding": _, ...headers } = given.headers;
  response.writeHead(given.status, { ...headers, "content-length": given.body.length });
  if (fault?.kind !== "cut" && fault?.kind !== "stall") return void response.end(given.body);
  response.write(given.body.subarray(0, fault.afterBytes), () => {
    if (fault.kind === "cut") response.destroy();
  });
}

function replyOf({ status, body = {}, headers = {} }: Extract<SuiteFault, { kind: "reply" }>): Reply {
  const text = typeof body === "string" ? body : JSON.stringify(body);
  return { status, headers: { "content-type": "application/json", ...headers }, body: Buffer.from(text) };
}
