/** A REST API with pages, as its owner might write it: rows in the order of their keys, or of their last changes. */
import { once } from "node:events";
import http from "node:http";
import type { AddressInfo } from "node:net";
import { sendJson } from "./hook-receiver.js";

export interface ApiRow {
  readonly id: string;
  readonly text: string | null;
}

interface StoredRow extends ApiRow {
  /** Milliseconds, by the clock of the API. */
  readonly changedAt: number;
}

export interface RowsApi {
  /** `http://127.0.0.1:port/rows`, with `?changed_since=MS` and `?after=TOKEN`. */
  readonly url: string;
  readonly rows: Map<string, StoredRow>;
  goDown(): Promise<void>;
  comeBack(): Promise<void>;
}

const PAGE_ROWS = 500;

export async function startRowsApi(): Promise<RowsApi> {
  const rows = new Map<string, StoredRow>();
  const open = async (port: number) => {
    const server = http.createServer((request, reply) => {
      const { searchParams } = new URL(request.url ?? "", "http://api");
      sendJson(reply, 200, pageOf([...rows.values()], searchParams));
    });
    await once(server.listen(port, "127.0.0.1"), "listening");
    return server;
  };
  let server = await open(0);
  const { port } = server.address() as AddressInfo;
  return {
    url: `http://127.0.0.1:${port}/rows`,
    rows,
    goDown: async () => {
      server.close();
      server.closeAllConnections();
      await once(server, "close");
    },
    comeBack: async () => void (server = await open(port)),
  };
}

function pageOf(rows: readonly StoredRow[], asked: URLSearchParams): object {
  const since = asked.get("changed_since");
  const orderOf = ({ id, changedAt }: StoredRow) =>
    since === null ? id : `${String(changedAt).padStart(16, "0")} ${id}`;
  const after = asked.get("after");
  const left = rows
    .filter((row) => (since === null || row.changedAt >= Number(since)) && (after === null || orderOf(row) > after))
    .toSorted((a, b) => (orderOf(a) < orderOf(b) ? -1 : 1));
  const page = left.slice(0, PAGE_ROWS);
  const last = page.at(-1);
  return {
    now: Date.now(),
    rows: page.map(({ id, text }) => ({ id, text })),
    next: last === undefined || left.length === page.length ? null : orderOf(last),
  };
}
