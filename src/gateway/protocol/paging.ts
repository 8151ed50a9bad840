/** Owns pages of lists by OpenAI's `limit`, `after` and `order`. Pure. */
import { refusal, type Answer, type ListObject } from "./wire.js";

export interface PageRules {
  readonly limitDefault: number;
  readonly limitMax: number;
  /** The message for an unknown `after`, such as "No such File object: x". */
  readonly unknownAfter: (id: string) => string;
}

/** Newest first unless the query has `order=asc`. */
export function pageOf<T extends { readonly id: string }>(
  oldestFirst: readonly T[],
  query: Readonly<Record<string, unknown>>,
  rules: PageRules,
): { readonly page: ListObject<T> } | { readonly refused: Answer } {
  const limit = query["limit"] === undefined ? rules.limitDefault : Number(query["limit"]);
  const wrongLimit = limitRefusal(query["limit"], limit, rules.limitMax);
  if (wrongLimit !== null) return { refused: wrongLimit };
  const order = query["order"] ?? "desc";
  if (order !== "asc" && order !== "desc") {
    const message = `Invalid value: '${String(order)}'. Supported values are: 'asc' and 'desc'.`;
    return { refused: refusal(400, message, { param: "order", code: "invalid_value" }) };
  }
  const sorted = order === "asc" ? oldestFirst : oldestFirst.toReversed();
  const after = query["after"];
  const at = typeof after === "string" ? sorted.findIndex((entry) => entry.id === after) : -1;
  if (typeof after === "string" && at === -1) {
    return { refused: refusal(404, rules.unknownAfter(after), { param: "after" }) };
  }
  const data = sorted.slice(at + 1, at + 1 + limit);
  return {
    page: {
      object: "list",
      data,
      first_id: data[0]?.id ?? null,
      last_id: data.at(-1)?.id ?? null,
      has_more: at + 1 + limit < sorted.length,
    },
  };
}

function limitRefusal(asked: unknown, limit: number, max: number): Answer | null {
  if (!Number.isInteger(limit)) {
    const message = `Invalid type for 'limit': expected an integer, but got '${String(asked)}' instead.`;
    return refusal(400, message, { param: "limit", code: "invalid_type" });
  }
  if (limit < 1) {
    const message = `Invalid 'limit': integer below minimum value. Expected a value >= 1, but got ${limit} instead.`;
    return refusal(400, message, { param: "limit", code: "integer_below_min_value" });
  }
  if (limit <= max) return null;
  const message = `Invalid 'limit': integer above maximum value. Expected a value <= ${max}, but got ${limit} instead.`;
  return refusal(400, message, { param: "limit", code: "integer_above_max_value" });
}
