/** What a route of the service is. All routes stand in one list (route-list.ts). */
import type { HttpBindings } from "@hono/node-server";
import type { Context } from "hono";
import type { Logger } from "pino";
import type { Database } from "../postgres/database.js";
import type { Scope, Token } from "../store/tokens/tokens.js";
import type { RouteWords } from "./openapi.js";
import type { LateCalls } from "./push/deadline.js";
import type { GatheredPushes } from "./push/gathered-pushes.js";
import type { RefusedPushes } from "./push/refused-pushes.js";
import type { ResultsWatch } from "./results/results-watch.js";
import type { Room } from "./room.js";
import type { TokenMemory } from "./token-memory.js";

export interface ServiceParts {
  readonly database: Database;
  readonly log: Logger;
}

/** What routes share. */
export interface Desk extends ServiceParts {
  /** Bytes of bodies in memory. */
  readonly bodies: Room;
  /** Bodies that come line by line. */
  readonly streams: Room;
  /** Large pushes in the database at once. */
  readonly pushes: Room;
  /** Reads in the database at once. */
  readonly reads: Room;
  /** Calls that wait for results. */
  readonly waiters: Room;
  readonly watch: ResultsWatch;
  readonly tokens: TokenMemory;
  readonly gathered: GatheredPushes;
  /** Pipelines that were seen to take rows. */
  readonly pipelines: Set<string>;
  readonly refused: RefusedPushes;
  readonly late: LateCalls;
}

export type Call = Context<{ Bindings: HttpBindings }>;

export interface Route {
  readonly method: "GET" | "POST" | "DELETE";
  /** As Hono writes it: `/v1/pipelines/:name/rows`. A route of one pipeline has `:name`. */
  readonly path: string;
  /**
   * Who may call it, in addition to `operate` and `admin`, which may call every route. "any": any valid token. Null:
   * no token is needed.
   */
  readonly scope: Scope | "any" | null;
  /** The token stands in the path, as `:token`, instead of a header. */
  readonly tokenInPath?: true;
  /** For the OpenAPI description. */
  readonly words: RouteWords;
  readonly answer: (desk: Desk, call: Call, token: Token | null) => Promise<Response> | Response;
}
