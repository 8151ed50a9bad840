/** What a route of the service is. All routes stand in one list (service.ts), which the tests go through. */
import type { HttpBindings } from "@hono/node-server";
import type { Context } from "hono";
import type { Logger } from "pino";
import type { Database } from "../postgres/database.js";
import type { Scope, Token } from "../store/tokens/tokens.js";
import type { GatheredPushes } from "./gathered-pushes.js";
import type { RefusedPushes } from "./refused-pushes.js";
import type { Room } from "./room.js";

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
  readonly gathered: GatheredPushes;
  /** Pipelines that were seen to take rows. */
  readonly known: Set<string>;
  readonly refused: RefusedPushes;
}

export type Call = Context<{ Bindings: HttpBindings }>;

export interface Route {
  readonly method: "GET" | "POST" | "DELETE";
  /** As Hono writes it: `/v1/pipelines/:name/rows`. A route of one pipeline has `:name`. */
  readonly path: string;
  /** Who may call it, beside `operate` and `admin`, who may do all of it. Null: everyone, without a token. */
  readonly scope: Scope | null;
  /** The token stands in the path, as `:token`, instead of a header. */
  readonly tokenInPath?: true;
  /** For the OpenAPI description. */
  readonly about: string;
  readonly answer: (desk: Desk, call: Call, token: Token | null) => Promise<Response> | Response;
}
