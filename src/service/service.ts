/**
 * The server of `rowmill up --http`: takes pushed rows and gives results. Its handler is Web-standard, a function from
 * `Request` to `Response`. Every call needs a token, apart from the health check.
 */
import type { HttpBindings } from "@hono/node-server";
import { Hono } from "hono";
import { problem } from "../http/problem.js";
import { DatabaseError } from "../postgres/database.js";
import { admit } from "./access.js";
import { databaseUnavailable } from "./database-unavailable.js";
import { takePush } from "./push-route.js";
import { GatheredPushes } from "./gathered-pushes.js";
import { RefusedPushes } from "./refused-pushes.js";
import { Room } from "./room.js";
import type { Call, Desk, Route, ServiceParts } from "./routes.js";

/** Bytes of bodies in memory at once. */
const BODY_BYTES_ROOM = 160 * 1024 * 1024;
/** Bodies that come line by line, at once; each holds a chunk in memory. */
const STREAMS_ROOM = 8;
/** Connections to the database that large pushes may hold; workers need the others. */
const PUSHES_ROOM = 2;
const WAITERS_MAX = 500;
/** A caller that sees the answer sends it again; the others lose rows, so they are let wait. Below their 5 seconds. */
const PUSH_WAIT_MS = 500;
const INGEST_WAIT_MS = 3_000;

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
    streams: new Room(STREAMS_ROOM, WAITERS_MAX),
    pushes: new Room(PUSHES_ROOM, WAITERS_MAX),
    gathered: new GatheredPushes(parts.database, WAITERS_MAX),
    known: new Set(),
    refused: new RefusedPushes(parts.database, parts.log),
  };
  const app = new Hono<{ Bindings: HttpBindings }>();
  for (const route of ROUTES) app.on(route.method, route.path, (call) => answer(desk, call, route));
  app.notFound(() => problem({ status: 404, code: "unknown_path", detail: "There is no such path here." }));
  app.onError((error) => {
    parts.log.error({ err: error }, "a call failed");
    // The token or the pipeline could not be looked up.
    if (error instanceof DatabaseError) return databaseUnavailable();
    return problem({
      status: 500,
      code: "internal",
      detail: "The server had an error while it processed your request.",
    });
  });
  return { fetch: app.fetch, close: () => desk.refused.close() };
}

async function answer(desk: Desk, call: Call, route: Route): Promise<Response> {
  if (route.scope === null) return route.answer(desk, call, null);
  const token = await admit(desk, call, route);
  return token instanceof Response ? token : route.answer(desk, call, token);
}
