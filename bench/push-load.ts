/** Clients that push: at a steady rate, as fast as they can, or lines without end; and an insert without Rowmill. */
import { Readable } from "node:stream";
import { setTimeout as sleep } from "node:timers/promises";
import type pg from "pg";
import { Pool } from "undici";
import type { PushProject } from "./push-project.js";

const STEADY_CONNECTIONS = 64;
const TICK_MS = 5;
const RETRY_MS = 100;
/** A push that is not acknowledged by then is an error of the bench. */
const PUSH_MS_MAX = 120_000;
const LINES_MS_MAX = 1_800_000;
const LINES_AT_ONCE = 500;
const TEXT = "The story of a weary detective who hunts a killer in rainy Lisbon, falls in love and loses. ".repeat(2);
const PATH = "/v1/pipelines/films/rows";

type Target = Pick<PushProject, "origin" | "token">;

interface Film {
  readonly id: string;
  readonly title: string;
  readonly description: string;
}

/** Keys are `NAME-PUSH-NUMBER`. */
function filmsOf(name: string, push: number, count: number): readonly Film[] {
  return Array.from({ length: count }, (_, number) => ({
    id: `${name}-${push}-${number}`,
    title: `Film ${number} of push ${push}`,
    description: TEXT,
  }));
}

function headersOf({ token }: Target, type: string): Record<string, string> {
  return { authorization: `Bearer ${token}`, "content-type": type };
}

export interface Acknowledged {
  readonly push: number;
  /** When it was due, from the start. */
  readonly dueMs: number;
  /** From then on, waits and tries included. */
  readonly latencyMs: number;
  readonly tries: number;
}

/** Each is due at its time, whatever became of the others, and is sent again until it is acknowledged. */
export async function pushSteadily(
  target: Target,
  load: { readonly name: string; readonly perSecond: number; readonly seconds: number; readonly rows: number },
): Promise<Acknowledged[]> {
  const { name, perSecond, seconds, rows } = load;
  const pool = new Pool(target.origin, { connections: STEADY_CONNECTIONS });
  const headers = headersOf(target, "application/json");
  const began = performance.now();
  const one = async (push: number): Promise<Acknowledged> => {
    const dueMs = (1_000 * push) / perSecond;
    const body = JSON.stringify(filmsOf(name, push, rows));
    for (let tries = 1; ; tries++) {
      const status = await pool.request({ method: "POST", path: PATH, headers, body }).then(
        async (reply) => (await reply.body.dump(), reply.statusCode),
        () => null,
      );
      const latencyMs = performance.now() - began - dueMs;
      if (status === 200) return { push, dueMs, latencyMs, tries };
      if ((status !== null && status !== 429 && status !== 503) || latencyMs > PUSH_MS_MAX)
        throw new Error(`Push ${push} was answered with ${status} after ${tries} tries.`);
      await sleep(RETRY_MS);
    }
  };
  const pushes: Promise<Acknowledged>[] = [];
  try {
    while (pushes.length < perSecond * seconds) {
      const due = Math.min(perSecond * seconds, Math.floor(((performance.now() - began) / 1_000) * perSecond));
      while (pushes.length < due) pushes.push(one(pushes.length));
      await sleep(TICK_MS);
    }
    return await Promise.all(pushes);
  } finally {
    await pool.destroy();
  }
}

export interface FlatOut {
  readonly pushes: number;
  readonly ms: number;
}

/** Each connection one push after another. */
export async function pushFlatOut(
  target: Target,
  load: { readonly name: string; readonly seconds: number; readonly rows: number; readonly connections: number },
): Promise<FlatOut> {
  const { name, seconds, rows, connections } = load;
  const pool = new Pool(target.origin, { connections });
  const headers = headersOf(target, "application/json");
  const began = performance.now();
  let next = 0;
  const client = async (): Promise<void> => {
    while (performance.now() - began < 1_000 * seconds) {
      const body = JSON.stringify(filmsOf(name, next++, rows));
      for (let status = 429; status === 429;) {
        const reply = await pool.request({ method: "POST", path: PATH, headers, body });
        await reply.body.dump();
        status = reply.statusCode;
        if (status !== 200 && status !== 429) throw new Error(`A push was answered with ${status}.`);
        if (status === 429) await sleep(RETRY_MS);
      }
    }
  };
  try {
    await Promise.all(Array.from({ length: connections }, client));
    return { pushes: next, ms: performance.now() - began };
  } finally {
    await pool.destroy();
  }
}

const FLOOR = `insert into public.floor_films (id, title, description)
  select id, title, description
  from json_to_recordset($1::json) as x (id text, title text, description text)
  on conflict (id) do update set title = excluded.title, description = excluded.description`;

/** One insert after another by one connection, each durable: no HTTP, no token, nothing else that watches the table. */
export async function floorFlatOut(
  client: pg.Client,
  { seconds, rows }: { readonly seconds: number; readonly rows: number },
): Promise<FlatOut> {
  await client.query('create table public.floor_films (id text collate "C" primary key, title text, description text)');
  const began = performance.now();
  let pushes = 0;
  while (performance.now() - began < 1_000 * seconds)
    await client.query(FLOOR, [JSON.stringify(filmsOf("floor", pushes++, rows))]);
  return { pushes, ms: performance.now() - began };
}

/** One body of about so many bytes, as fast as the server reads it. */
export async function streamLines(
  target: Target,
  { name, bytes }: { readonly name: string; readonly bytes: number },
): Promise<{ readonly rows: number; readonly bytes: number; readonly ms: number }> {
  const pool = new Pool(target.origin, { connections: 1, headersTimeout: LINES_MS_MAX, bodyTimeout: LINES_MS_MAX });
  let [rows, sent] = [0, 0];
  function* chunks(): Generator<Buffer> {
    for (let push = 0; sent < bytes; push++) {
      const films = filmsOf(name, push, LINES_AT_ONCE);
      const chunk = Buffer.from(films.map((film) => `${JSON.stringify(film)}\n`).join(""));
      rows += films.length;
      sent += chunk.length;
      yield chunk;
    }
  }
  const began = performance.now();
  try {
    const reply = await pool.request({
      method: "POST",
      path: PATH,
      headers: headersOf(target, "application/x-ndjson"),
      body: Readable.from(chunks()),
    });
    const told = (await reply.body.json()) as { accepted?: number };
    if (told.accepted !== rows) throw new Error(`Of ${rows} rows the server took ${JSON.stringify(told)}.`);
    return { rows, bytes: sent, ms: performance.now() - began };
  } finally {
    await pool.destroy();
  }
}
