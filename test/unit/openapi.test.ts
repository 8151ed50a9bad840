import { describe, expect, test } from "vitest";
import { z } from "zod";
import { describeRoutes, pathOf } from "../../src/service/openapi.js";
import { ROUTES } from "../../src/service/route-list.js";

const parameter = z.strictObject({
  name: z.string(),
  in: z.enum(["path", "query"]),
  required: z.literal(true).optional(),
  description: z.string().min(1),
  schema: z.record(z.string(), z.unknown()),
});
const content = z.record(z.string(), z.strictObject({ schema: z.record(z.string(), z.unknown()) }));
const operation = z.strictObject({
  operationId: z.string(),
  summary: z.string().min(1),
  description: z.string().optional(),
  security: z.array(z.strictObject({ token: z.tuple([]) })),
  parameters: z.array(parameter),
  requestBody: z.strictObject({ required: z.literal(true), content }).optional(),
  responses: z.record(
    z.string().regex(/^\d{3}$/),
    z.strictObject({ description: z.string().min(1), content: content.optional() }),
  ),
});
/** What OpenAPI 3.1 asks of the parts that are used. */
const description = z.strictObject({
  openapi: z.literal("3.1.0"),
  info: z.strictObject({ title: z.string(), version: z.string(), description: z.string() }),
  paths: z.record(z.string().startsWith("/"), z.partialRecord(z.enum(["get", "post", "delete"]), operation)),
  components: z.strictObject({ securitySchemes: z.looseObject({}), schemas: z.looseObject({}) }),
});

const described = description.parse(JSON.parse(JSON.stringify(describeRoutes(ROUTES))));
const operations = Object.values(described.paths).flatMap((path) => Object.values(path));

describe("The OpenAPI description", () => {
  test.each(ROUTES.map((route) => [`${route.method} ${route.path}`, route] as const))("has %s", (_, route) => {
    const found = described.paths[pathOf(route)]?.[z.enum(["get", "post", "delete"]).parse(route.method.toLowerCase())];
    expect(found?.operationId).toBe(route.words.operationId);
    const inPath = found?.parameters.filter((one) => one.in === "path").map(({ name }) => name);
    expect(inPath).toEqual([...route.path.matchAll(/:(\w+)/g)].map((match) => match[1]));
    const takesHeader = route.scope !== null && route.tokenInPath !== true;
    expect(found?.security).toEqual(takesHeader ? [{ token: [] }] : []);
    expect(Object.keys(found?.responses ?? {}).includes("401")).toBe(route.scope !== null);
  });

  test("has nothing else, and no operation twice", () => {
    expect(operations).toHaveLength(ROUTES.length);
    expect(new Set(operations.map(({ operationId }) => operationId)).size).toBe(ROUTES.length);
  });

  test("refers only to what it has", () => {
    const refs = [...JSON.stringify(described).matchAll(/"\$ref":"([^"]+)"/g)].map((match) => match[1]);
    expect([...new Set(refs)]).toEqual(["#/components/schemas/Problem"]);
    expect(Object.keys(described.components.schemas)).toEqual(["Problem"]);
  });
});
