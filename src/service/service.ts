/**
 * The server of `rowmill up --http`: takes pushed rows and gives results. Its handler is Web-standard, a function from
 * `Request` to `Response`. Every call needs a token, apart from the health check.
 */
import type { HttpBindings } from "@hono/node-server";
import { Hono } from "hono";
import { problem } from "../http/problem.js";
import { admit } from "./access.js";
import { answerInTime, LateCalls } from "./push/deadline.js";
import { GatheredPushes } from "./push/gathered-pushes.js";
import { isLines } from "./push/push-route.js";
import { ofCircumstances } from "./refusals.js";
import { RefusedPushes } from "./push/refused-pushes.js";
import { ResultsWatch } from "./results/results-watch.js";
import { Room } from "./room.js";
import { ROUTES } from "./route-list.js";
import type { Call, Desk, Route, ServiceParts } from "./routes.js";
import { TokenMemory } from "./token-memory.js";

/** Bytes of bodies in memory at once. */
const BODY_BYTES_ROOM = 160 * 1024 * 1024;
/** Bodies that come line by line, at once; each holds a chunk in memory. */
const STREAMS_ROOM = 8;
/** Connections to the database that large pushes may hold, and reads; workers need the others. */
const PUSHES_ROOM = 2;
const READS_ROOM = 2;
/** Calls in line for any of these. */
const WAITERS_MAX = 500;
/** Calls that wait for results, each on a connection of its own. */
const RESULT_WAITERS_ROOM = 200;

export interface Service {
  readonly fetch: (request: Request, env: HttpBindings) => Response | Promise<Response>;
  /** Calls that wait for results are answered at once from now on. */
  endWaits(): void;
  /** Writes what it still has to record. */
  close(): Promise<void>;
}

export function createService(parts: ServiceParts): Service {
  const desk: Desk = {
    ...parts,
    bodies: new Room(BODY_BYTES_ROOM, WAITERS_MAX),
    streams: new Room(STREAMS_ROOM, WAITERS_MAX),
    pushes: new Room(PUSHES_ROOM, WAITERS_MAX),
    reads: new Room(READS_ROOM, WAITERS_MAX),
    waiters: new Room(RESULT_WAITERS_ROOM, 0),
    watch: new ResultsWatch(parts.database, parts.log),
    tokens: new TokenMemory(parts.database),
    gathered: new GatheredPushes(parts.database, WAITERS_MAX),
    pipelines: new Set(),
    refused: new RefusedPushes(parts.database, parts.log),
    late: new LateCalls(),
  };
  const app = new Hono<{ Bindings: HttpBindings }>();
  for (const route of ROUTES) app.on(route.method, route.path, (call) => answer(desk, call, route));
  app.notFound(({ req }) => {
    const detail = `There is no ${req.method} for this path. GET /v1/openapi.json describes all routes.`;
    return problem({ status: 404, code: "unknown_path", detail });
  });
  app.onError((error) => {
    const passing = ofCircumstances(error);
    if (passing !== null) {
      parts.log.warn({ err: error }, "a call failed at the database");
      return passing;
    }
    parts.log.error({ err: error }, "a call failed");
    return problem({
      status: 500,
      code: "internal",
      detail: "The server had an error while it processed your request.",
    });
  });
  const endWaits = (): void => desk.watch.close();
  return {
    fetch: app.fetch,
    endWaits,
    close: () => {
      endWaits();
      desk.late.giveUp();
      return desk.refused.close();
    },
  };
}

async function answer(desk: Desk, call: Call, route: Route): Promise<Response> {
  if (route.scope === null) return route.answer(desk, call, null);
  const name = call.req.param("name");
  // Whoever has no token may say any name.
  let pipeline = name !== undefined && desk.pipelines.has(name) ? name : null;
  const note = (reason: string) => {
    if (route.scope === "push") desk.refused.note({ pipeline, reason });
  };
  const work = async () => {
    try {
      const token = await admit(desk, call, route);
      if (token instanceof Response) return token;
      pipeline ??= token.pipeline;
      return await route.answer(desk, call, token);
    } catch (error) {
      const passing = ofCircumstances(error);
      if (passing === null) throw error;
      desk.log.warn({ err: error }, "a call failed at the database");
      note(`${passing.status}: The database did not take the push.`);
      return passing;
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
