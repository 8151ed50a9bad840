/**
 * The OpenAPI 3.1 description of the routes, made from their list: a route without words does not compile. Plain
 * objects: schemas of zod become JSON schema by zod itself, and no validator comes between a body and its reader. Pure.
 */
import { z } from "zod";
import { VERSION } from "../version.js";
import type { Route } from "./routes.js";
import { problemBody } from "./schemas.js";

export interface RouteWords {
  readonly operationId: string;
  readonly about: string;
  /** Its query parameters, all optional. */
  readonly query?: Readonly<Record<string, { readonly about: string; readonly schema: z.ZodType }>>;
  /** Media type → schema. */
  readonly body?: Readonly<Record<string, z.ZodType>>;
  /** Status → what it gives. */
  readonly gives: Readonly<Record<number, Given>>;
  /** Statuses of its problems, beside those that every call with a token can meet. */
  readonly refuses: readonly number[];
}

interface Given {
  readonly about: string;
  /** Null: no body. */
  readonly media: readonly [type: string, schema: z.ZodType] | null;
}

const PROBLEMS: Readonly<Record<number, string>> = {
  400: "The call or its body is malformed.",
  401: "There is no token, or it is unknown or revoked.",
  403: "The token may not do this.",
  404: "There is no such pipeline or row.",
  410: "The cursor is not of this ledger.",
  413: "The body, a line or its JSON is larger than the limit, which the problem names.",
  415: "The body has a content encoding other than gzip.",
  422: "None of the rows was taken.",
  429: "There is no room. Send it again after Retry-After.",
  503: "The database, or the table with the answers, cannot be used now. Send it again later.",
};

const PARTS: Readonly<Record<string, string>> = {
  name: "The pipeline.",
  key: "The row's key, percent-encoded; of several columns, a JSON array of their values.",
  token: "A token of the scope push for one pipeline.",
};

export function describeRoutes(routes: readonly Route[]): object {
  const paths: Record<string, Record<string, object>> = {};
  for (const route of routes) (paths[pathOf(route)] ??= {})[route.method.toLowerCase()] = operationOf(route);
  return {
    openapi: "3.1.0",
    info: { title: "Rowmill", version: VERSION, description: "Push rows, and fetch the answers to them." },
    paths,
    components: {
      securitySchemes: { token: { type: "http", scheme: "bearer", description: "rowmill tokens create" } },
      schemas: { Problem: schemaOf(problemBody) },
    },
  };
}

/** `/v1/pipelines/{name}/rows` */
export function pathOf({ path }: Pick<Route, "path">): string {
  return path.replaceAll(/:(\w+)/g, "{$1}");
}

function operationOf(route: Route): object {
  const { words, scope, tokenInPath } = route;
  const needsToken = scope !== null;
  const refuses = [...new Set([...words.refuses, ...(needsToken ? [401, 403, 503] : [])])].toSorted((a, b) => a - b);
  return {
    operationId: words.operationId,
    summary: words.about,
    ...(needsToken && scope !== "any" ? { description: `Scope of the token: ${scope}, operate or admin.` } : {}),
    ...(needsToken && tokenInPath !== true ? { security: [{ token: [] }] } : { security: [] }),
    parameters: parametersOf(route),
    ...(words.body === undefined ? {} : { requestBody: { required: true, content: contentOf(words.body) } }),
    responses: {
      ...Object.fromEntries(Object.entries(words.gives).map(([status, given]) => [status, givenOf(given)])),
      ...Object.fromEntries(refuses.filter((status) => !(status in words.gives)).map(problemOf)),
    },
  };
}

function parametersOf({ path, words }: Route): object[] {
  const inPath = [...path.matchAll(/:(\w+)/g)].map(([, name = ""]) => ({
    name,
    in: "path",
    required: true,
    description: PARTS[name] ?? name,
    schema: { type: "string" },
  }));
  const inQuery = Object.entries(words.query ?? {}).map(([name, { about, schema }]) => ({
    name,
    in: "query",
    description: about,
    schema: schemaOf(schema),
  }));
  return [...inPath, ...inQuery];
}

function contentOf(media: Readonly<Record<string, z.ZodType>>): object {
  return Object.fromEntries(Object.entries(media).map(([type, schema]) => [type, { schema: schemaOf(schema) }]));
}

function givenOf({ about, media }: Given): object {
  return { description: about, ...(media === null ? {} : { content: contentOf({ [media[0]]: media[1] }) }) };
}

function problemOf(status: number): [string, object] {
  const content = { "application/problem+json": { schema: { $ref: "#/components/schemas/Problem" } } };
  return [String(status), { description: PROBLEMS[status] ?? "A problem.", content }];
}

function schemaOf(schema: z.ZodType): object {
  const { $schema: _dialect, ...rest } = z.toJSONSchema(schema, { io: "input" });
  return rest;
}
