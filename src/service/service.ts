/**
 * The server of `rowmill up --http`: takes pushed rows and gives results. Its handler is Web-standard, a function from
 * `Request` to `Response`. Every call needs a token, apart from the health check.
 */
import type { HttpBindings } from "@hono/node-server";
import { Hono } from "hono";
import { problem } from "../http/problem.js";
import { DatabaseError } from "../postgres/database.js";
import { admit } from "./access.js";
import { answerInTime, LateCalls } from "./deadline.js";
import { isLines, takePush } from "./push-route.js";
import { RefusedPushes } from "./refused-pushes.js";
import { answerRepeated, KnownTokens } from "./repeated-push.js";
import { Room } from "./room.js";
import type { Call, Desk, Route, ServiceEnv, ServiceParts } from "./routes.js";

/** Bytes of bodies in memory at once. */
const BODY_BYTES_ROOM = 160 * 1024 * 1024;
/** Connections to the database that pushes may hold; workers need the others. */
const PUSHES_ROOM = 4;
const WAITERS_MAX = 500;
/** A caller that sees the answer sends it again; the others lose rows, so they are let wait. Below their 5 seconds. */
const PUSH_WAIT_MS = 500;
const INGEST_WAIT_MS = 3_000;
const RETRY_AFTER = "1";

export const ROUTES: readonly Route[] = [
  {
    method: "POST",
    path: "/v1/pipelines/:name/rows",
    scope: "push",
    about: "Takes rows. Answers once they are durable.",
    answer: (desk, call) =>
      takePush(desk, call, { pipeline: call.req.param("name") ?? "", repeatedBy: null, waitMs: PUSH_WAIT_MS }),
  },
  {
    method: "POST",
    path: "/v1/in/:token",
    scope: "push",
    tokenInPath: true,
    about: "The same for callers that cannot set headers, such as http_post in SQL.",
    answer: (desk, call, token) =>
      takePush(desk, call, { pipeline: token?.pipeline ?? "", repeatedBy: token?.id ?? null, waitMs: INGEST_WAIT_MS }),
  },
  {
    method: "GET",
    path: "/healthz",
    scope: null,
    about: "Whether the server runs.",
    answer: () => Response.json({ ok: true }),
  },
];

export interface Service {
  readonly fetch: (request: Request, env: HttpBindings) => Response | Promise<Response>;
  /** Writes what it still has to record. */
  close(): Promise<void>;
}

export function createService(parts: ServiceParts): Service {
  const desk: Desk = {
    ...parts,
    bodies: new Room(BODY_BYTES_ROOM, WAITERS_MAX),
    pushes: new Room(PUSHES_ROOM, WAITERS_MAX),
    refused: new RefusedPushes(parts.database, parts.log),
    late: new LateCalls(),
    known: new KnownTokens(),
  };
  const app = new Hono<ServiceEnv>();
  for (const route of ROUTES) app.on(route.method, route.path, (call) => answer(desk, call, route));
  app.notFound(() => problem({ status: 404, code: "unknown_path", detail: "There is no such path here." }));
  app.onError((error) => {
    parts.log.error({ err: error }, "a call failed");
    return problem({
      status: 500,
      code: "internal",
      detail: "The server had an error while it processed your request.",
    });
  });
  return { fetch: app.fetch, close: () => close(desk) };
}

function close(desk: Desk): Promise<void> {
  desk.late.giveUp();
  return desk.refused.close();
}

async function answer(desk: Desk, call: Call, route: Route): Promise<Response> {
  if (route.scope === null) return route.answer(desk, call, null);
  let pipeline = call.req.param("name") ?? null;
  const note = (reason: string) => {
    if (route.scope === "push") desk.refused.note({ pipeline, reason });
  };
  const work = async () => {
    try {
      const repeated = route.tokenInPath ? await answerRepeated(desk, call) : null;
      if (repeated !== null) return repeated;
      const token = await admit(desk, call, route);
      if (token instanceof Response) return token;
      if (route.tokenInPath) desk.known.add(call.req.param("token") ?? "");
      pipeline ??= token.pipeline;
      return await route.answer(desk, call, token);
    } catch (error) {
      if (!(error instanceof DatabaseError)) throw error;
      desk.log.warn({ err: error }, "the database failed a call");
      const detail = "The database does not answer now. Send the call again later.";
      note(`503: ${detail}`);
      return problem({ status: 503, code: "database_unavailable", detail }, { "retry-after": RETRY_AFTER });
    } finally {
      call.get("early")?.release();
    }
  };
  // A stream takes as long as its caller sends.
  if (!route.tokenInPath || isLines(call)) return work();
  return answerInTime(work, {
    late: desk.late,
    note,
    onError: (error) => {
      desk.log.error({ err: error }, "a call failed after its caller had an answer");
      note("500: The server had an error while it processed the push.");
    },
  });
}
