import type { CallOptions, ProviderFinding } from "../../model/provider.js";
import type { OpenAIOptions } from "./connection.js";
export function examine(
  _o: OpenAIOptions,
  _m: readonly string[],
  _c?: CallOptions,
): Promise<readonly ProviderFinding[]> {
  return Promise.resolve([]);
}
