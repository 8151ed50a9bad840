/** Pushes at a steady rate, as many clients at once as it takes, each sent again until it is acknowledged. */
import { setTimeout as sleep } from "node:timers/promises";
import { Pool } from "undici";
import type { PushProject } from "./push-project.js";

const CONNECTIONS = 64;
const TICK_MS = 5;
const RETRY_MS = 100;
/** A push that is not acknowledged by then is an error of the bench. */
const PUSH_MS_MAX = 120_000;
const TEXT = "The story of a weary detective who hunts a killer in rainy Lisbon, falls in love and loses. ".repeat(2);

export interface Acknowledged {
  readonly push: number;
  /** When it was due, from the start of the load; sending it late counts as latency. */
  readonly dueMs: number;
  readonly latencyMs: number;
  readonly tries: number;
}

export interface Load {
  readonly perSecond: number;
  readonly seconds: number;
  readonly rows: number;
}

/** Ten rows a push, and so on: `PUSH-NUMBER` is the key. */
export function rowsOf(push: number, count: number): readonly { id: string; title: string; description: string }[] {
  return Array.from({ length: count }, (_, number) => ({
    id: `${push}-${number}`,
    title: `Film ${number} of push ${push}`,
    description: TEXT,
  }));
}

/** Resolves when all are acknowledged. */
export async function pushSteadily(
  { origin, token }: Pick<PushProject, "origin" | "token">,
  { perSecond, seconds, rows }: Load,
): Promise<Acknowledged[]> {
  const pool = new Pool(origin, { connections: CONNECTIONS });
  const headers = { authorization: `Bearer ${token}`, "content-type": "application/json" };
  const began = performance.now();
  const one = async (push: number): Promise<Acknowledged> => {
    const dueMs = (1_000 * push) / perSecond;
    const body = JSON.stringify(rowsOf(push, rows));
    for (let tries = 1; ; tries++) {
      const status = await pool
        .request({ method: "POST", path: "/v1/pipelines/films/rows", headers, body })
        .then(async (reply) => (await reply.body.dump(), reply.statusCode))
        .catch(() => null);
      const latencyMs = performance.now() - began - dueMs;
      if (status === 200) return { push, dueMs, latencyMs, tries };
      if ((status !== null && status !== 429 && status !== 503) || latencyMs > PUSH_MS_MAX)
        throw new Error(`Push ${push} was answered with ${status} after ${tries} tries.`);
      await sleep(RETRY_MS);
    }
  };
  const pushes: Promise<Acknowledged>[] = [];
  const all = perSecond * seconds;
  try {
    while (pushes.length < all) {
      const due = Math.min(all, Math.floor(((performance.now() - began) / 1_000) * perSecond));
      while (pushes.length < due) pushes.push(one(pushes.length));
      await sleep(TICK_MS);
    }
    return await Promise.all(pushes);
  } finally {
    await pool.destroy();
  }
}

/** As fast as the server takes them, each connection one push after another. Returns pushes a second. */
export async function pushFlatOut(
  { origin, token }: Pick<PushProject, "origin" | "token">,
  { seconds, rows, connections, first }: { seconds: number; rows: number; connections: number; first: number },
): Promise<{ readonly pushes: number; readonly ms: number }> {
  const pool = new Pool(origin, { connections });
  const headers = { authorization: `Bearer ${token}`, "content-type": "application/json" };
  const began = performance.now();
  let next = first;
  const client = async (): Promise<void> => {
    while (performance.now() - began < 1_000 * seconds) {
      const body = JSON.stringify(rowsOf(next++, rows));
      const reply = await pool.request({ method: "POST", path: "/v1/pipelines/films/rows", headers, body });
      await reply.body.dump();
      if (reply.statusCode !== 200) throw new Error(`A push was answered with ${reply.statusCode}.`);
    }
  };
  try {
    await Promise.all(Array.from({ length: connections }, client));
    return { pushes: next - first, ms: performance.now() - began };
  } finally {
    await pool.destroy();
  }
}
