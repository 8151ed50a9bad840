/**
 * A receiver of web hooks as its owner might write it: checks the signature, keeps the greatest fence of each row, and
 * answers 207. Written apart from the sender, so that both would have to be wrong in the same way.
 */
import { createHmac, timingSafeEqual } from "node:crypto";
import { once } from "node:events";
import http from "node:http";
import type { AddressInfo } from "node:net";
import { z } from "zod";

const BODY = z.object({
  pipeline: z.string(),
  results: z.array(
    z.union([
      z.strictObject({ key: z.string(), fence: z.string().regex(/^\d+$/), deleted: z.literal(true) }),
      z.strictObject({
        key: z.string(),
        fence: z.string().regex(/^\d+$/),
        model: z.string(),
        cells: z.record(z.string(), z.json()),
      }),
    ]),
  ),
});

type Result = z.infer<typeof BODY>["results"][number];

export interface HookReceiver {
  readonly port: number;
  /** `http://127.0.0.1:port/hook` */
  readonly url: string;
  readonly seen: readonly { readonly headers: http.IncomingHttpHeaders; readonly body: string }[];
  /** Rows that have an answer. */
  held(pipeline: string): ReadonlyMap<string, Record<string, z.core.util.JSONType>>;
  /** Answers so from now on, instead of taking anything. */
  answerWith(answer: (reply: http.ServerResponse) => void): void;
  goDown(): Promise<void>;
  comeBack(): Promise<void>;
}

/** `refused`: a label that it does not take. */
export async function startReceiver(secret: string, { refused = "" } = {}): Promise<HookReceiver> {
  const rows = new Map<string, Map<string, Result>>();
  const seen: { headers: http.IncomingHttpHeaders; body: string }[] = [];
  let answer: ((reply: http.ServerResponse) => void) | null = null;
  const open = async (port: number): Promise<http.Server> => {
    const server = http.createServer((request, reply) => {
      const chunks: Buffer[] = [];
      request.on("data", (chunk: Buffer) => chunks.push(chunk));
      request.on("end", () => {
        const body = Buffer.concat(chunks).toString("utf8");
        seen.push({ headers: request.headers, body: body.length > 10_000 ? "" : body });
        if (answer !== null) answer(reply);
        else if (isSigned(request.headers, body, secret)) sendJson(reply, 207, take(rows, body, refused));
        else sendJson(reply, 401, { error: "bad signature" });
      });
    });
    await once(server.listen(port, "127.0.0.1"), "listening");
    return server;
  };
  let server = await open(0);
  const { port } = server.address() as AddressInfo;
  return {
    port,
    url: `http://127.0.0.1:${port}/hook`,
    seen,
    held: (pipeline) =>
      new Map([...(rows.get(pipeline) ?? [])].flatMap(([key, row]) => ("cells" in row ? [[key, row.cells]] : []))),
    answerWith: (given) => (answer = given),
    goDown: async () => {
      server.close();
      server.closeAllConnections();
      await once(server, "close");
    },
    comeBack: async () => void (server = await open(port)),
  };
}

export function sendJson(reply: http.ServerResponse, status: number, body: unknown): void {
  reply.writeHead(status, { "content-type": "application/json" }).end(JSON.stringify(body));
}

const TOLERANCE_SECONDS = 300;

function isSigned(headers: http.IncomingHttpHeaders, body: string, secret: string): boolean {
  const id = String(headers["webhook-id"]);
  const at = Number(headers["webhook-timestamp"]);
  if (headers["idempotency-key"] !== id || !(Math.abs(Date.now() / 1_000 - at) < TOLERANCE_SECONDS)) return false;
  const key = Buffer.from(secret.slice("whsec_".length), "base64");
  const expected = createHmac("sha256", key).update(`${id}.${at}.`).update(body).digest();
  return String(headers["webhook-signature"])
    .split(" ")
    .some((signature) => {
      const given = Buffer.from(signature.replace(/^v1,/, ""), "base64");
      return given.length === expected.length && timingSafeEqual(given, expected);
    });
}

function take(rows: Map<string, Map<string, Result>>, body: string, refused: string): object {
  const { pipeline, results } = BODY.parse(JSON.parse(body));
  const held = rows.get(pipeline) ?? new Map<string, Result>();
  rows.set(pipeline, held);
  return {
    results: results.map((result) => {
      const { key, fence } = result;
      const newest = held.get(key)?.fence ?? "0";
      if (BigInt(newest) > BigInt(fence)) return { key, status: 409, fence: newest };
      if ("cells" in result && refused !== "" && result.cells["label"] === refused)
        return { key, status: 422, reason: "this label is not allowed" };
      held.set(key, result);
      return { key, status: 200 };
    }),
  };
}
