/** Large bodies from many clients at once: how many are taken, and whether the others are told when to come again. */
import { Pool } from "undici";
import type { PushProject } from "./push-project.js";

const CLIENTS_CONNECT_MS = 60_000;

export interface Bodies {
  /** Status → how many clients got it. */
  readonly statuses: Readonly<Record<number, number>>;
  /** All refusals for want of room said when to come again. */
  readonly saidWhen: boolean;
}

/** One list of about so many bytes from each client. */
export async function pushBodies(
  { origin, token }: Pick<PushProject, "origin" | "token">,
  { clients, bytes, name }: { readonly clients: number; readonly bytes: number; readonly name: string },
): Promise<Bodies> {
  const text = "A film in which much is said and little is done. ".repeat(40);
  const pool = new Pool(origin, { connections: clients, headersTimeout: CLIENTS_CONNECT_MS * 10 });
  const one = async (client: number) => {
    const rows: string[] = [];
    for (let size = 2; size < bytes;) {
      const row = JSON.stringify({
        id: `${name}-${client}-${rows.length}`,
        title: `Film ${rows.length}`,
        description: text,
      });
      rows.push(row);
      size += row.length + 1;
    }
    const reply = await pool.request({
      method: "POST",
      path: "/v1/pipelines/films/rows",
      headers: { authorization: `Bearer ${token}`, "content-type": "application/json" },
      body: `[${rows.join(",")}]`,
    });
    await reply.body.dump();
    return { status: reply.statusCode, saidWhen: reply.headers["retry-after"] !== undefined };
  };
  try {
    const answers = await Promise.all(Array.from({ length: clients }, (_, client) => one(client)));
    const statuses: Record<number, number> = {};
    for (const { status } of answers) statuses[status] = (statuses[status] ?? 0) + 1;
    return { statuses, saidWhen: answers.every(({ status, saidWhen }) => status !== 429 || saidWhen) };
  } finally {
    await pool.destroy();
  }
}
