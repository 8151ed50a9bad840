/** All routes of the service. The tests go through this list, and the OpenAPI description is made from it. */
import { z } from "zod";
import { describeRoutes, type RouteWords } from "./openapi.js";
import { takePush } from "./push/push-route.js";
import { giveResults, LIMIT_DEFAULT, LIMIT_MAX, WAIT_SECONDS_MAX } from "./results/results-route.js";
import { giveRow, removeRow } from "./row-routes.js";
import type { Route } from "./routes.js";
import { pushAnswer, pushBody, resultLine, rowAnswer } from "./schemas.js";

/** A caller that sees the answer sends it again; the others lose rows, so they are let wait. Below their 5 seconds. */
const PUSH_WAIT_MS = 500;
const INGEST_WAIT_MS = 3_000;

const pushing: Omit<RouteWords, "operationId" | "about"> = {
  body: { "application/json": pushBody, "application/x-ndjson": z.string() },
  gives: {
    200: { about: "What became of the rows.", media: ["application/json", pushAnswer] },
    422: { about: "None of the rows was taken.", media: ["application/json", pushAnswer] },
  },
  refuses: [400, 404, 413, 415, 429],
};

export const ROUTES: readonly Route[] = [
  {
    method: "POST",
    path: "/v1/pipelines/:name/rows",
    scope: "push",
    words: { operationId: "pushRows", about: "Accepts rows. Replies once they are stored.", ...pushing },
    answer: (desk, call, token) =>
      takePush(desk, call, { pipeline: call.req.param("name") ?? "", token, repeatedBy: null, waitMs: PUSH_WAIT_MS }),
  },
  {
    method: "GET",
    path: "/v1/pipelines/:name/rows/:key",
    scope: "read",
    words: {
      operationId: "getRow",
      about: "Returns a row, the state of its request, and its answer.",
      gives: { 200: { about: "The row.", media: ["application/json", rowAnswer] } },
      refuses: [404, 429],
    },
    answer: giveRow,
  },
  {
    method: "DELETE",
    path: "/v1/pipelines/:name/rows/:key",
    scope: "push",
    words: {
      operationId: "deleteRow",
      about: "Deletes a row. Its answer stays in the target.",
      gives: { 204: { about: "It is deleted.", media: null } },
      refuses: [404, 429],
    },
    answer: removeRow,
  },
  {
    method: "GET",
    path: "/v1/pipelines/:name/results",
    scope: "read",
    words: {
      operationId: "getResults",
      about: "Returns results, oldest first, each at least once.",
      query: {
        after: {
          about: "The cursor of the last line that you have. Without it, results start with the first.",
          schema: z.string(),
        },
        limit: { about: `Lines. Default ${LIMIT_DEFAULT}.`, schema: z.int().min(1).max(LIMIT_MAX) },
        wait: {
          about: "Seconds to wait for the first line. Default 0.",
          schema: z.int().min(0).max(WAIT_SECONDS_MAX),
        },
      },
      gives: { 200: { about: "One JSON object a line.", media: ["application/x-ndjson", resultLine] } },
      refuses: [400, 404, 410, 429],
    },
    answer: giveResults,
  },
  {
    method: "POST",
    path: "/v1/in/:token",
    scope: "push",
    tokenInPath: true,
    words: {
      operationId: "ingestRows",
      about: "Like pushRows, for callers that cannot set headers, such as http_post in SQL.",
      ...pushing,
    },
    answer: (desk, call, token) =>
      takePush(desk, call, {
        pipeline: token?.pipeline ?? "",
        token,
        repeatedBy: token?.id ?? null,
        waitMs: INGEST_WAIT_MS,
      }),
  },
  {
    method: "GET",
    path: "/v1/openapi.json",
    scope: "any",
    words: {
      operationId: "getDescription",
      about: "Gives this description.",
      gives: { 200: { about: "OpenAPI 3.1.", media: ["application/json", z.looseObject({})] } },
      refuses: [],
    },
    answer: () => Response.json(describeRoutes(ROUTES)),
  },
  {
    method: "GET",
    path: "/healthz",
    scope: null,
    words: {
      operationId: "getHealth",
      about: "Whether the server runs.",
      gives: { 200: { about: "It does.", media: ["application/json", z.strictObject({ ok: z.literal(true) })] } },
      refuses: [],
    },
    answer: () => Response.json({ ok: true }),
  },
];
