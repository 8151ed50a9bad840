/**
 * A provider that is not the demo: the same Batch API server, behind a proxy that takes away by which the demo model
 * is known. What is put in its place has the same length, so that nothing else changes.
 */
import { once } from "node:events";
import { createServer, request, type IncomingMessage, type ServerResponse } from "node:http";
import { startGateway, type Gateway, type GatewayOptions } from "../../src/gateway/gateway.js";
import { DEMO_FINGERPRINT, DEMO_OWNER } from "../../src/model/provider/outcome.js";

export interface RealGateway {
  /** As `OPENAI_BASE_URL`. */
  readonly url: string;
  readonly gateway: Gateway;
  close(): Promise<void>;
}

/** `port`: of the proxy; 0: a free one. `models`: what `GET /models` answers, where it is not the list. */
export async function startRealGateway(
  options: Pick<GatewayOptions, "dataDir"> & Partial<GatewayOptions>,
  { port = 0, models }: { port?: number; models?: number } = {},
): Promise<RealGateway> {
  const gateway = await startGateway({ demoModel: true, batchDelayMs: 0, ...options });
  const server = createServer((incoming, reply) => {
    if (models !== undefined && incoming.url?.endsWith("/models") === true)
      reply.writeHead(models, { "content-type": "application/json" }).end("{}");
    else pass(gateway, incoming, reply);
  });
  await once(server.listen(port, "127.0.0.1"), "listening");
  const address = server.address();
  if (address === null || typeof address === "string") throw new Error("not a TCP server");
  return {
    url: `http://127.0.0.1:${address.port}/v1`,
    gateway,
    close: async () => {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
      await gateway.close();
    },
  };
}

function pass(gateway: Gateway, incoming: IncomingMessage, reply: ServerResponse): void {
  const { origin } = new URL(gateway.url);
  const options = { method: incoming.method, headers: incoming.headers };
  const passed = request(new URL(incoming.url ?? "/", origin), options, (answer) => {
    const chunks: Buffer[] = [];
    answer.on("data", (chunk: Buffer) => chunks.push(chunk));
    answer.on("end", () => {
      const text = Buffer.concat(chunks).toString("latin1");
      reply.writeHead(answer.statusCode ?? 500, answer.headers).end(withoutMarks(text), "latin1");
    });
    answer.on("error", () => reply.destroy());
  });
  passed.on("error", () => reply.destroy());
  incoming.pipe(passed);
}

function withoutMarks(text: string): string {
  const fingerprint = "fp_".padEnd(DEMO_FINGERPRINT.length, "0");
  return text.replaceAll(DEMO_FINGERPRINT, fingerprint).replaceAll(DEMO_OWNER, "openai".padEnd(DEMO_OWNER.length, "-"));
}
