/** The one list that names the adapters, and what of them a config may say. */
import type { Adapter } from "../model/provider/provider-choice.js";
import { openaiVariables, otherNames, variableProblems } from "./openai/environment.js";
import { openai } from "./openai/openai.js";

export { openai, type OpenAIConfig } from "./openai/openai.js";

const openaiAdapter: Adapter = {
  configExample: "openai({ … })",
  choice: openai(),
  variables: openaiVariables,
  otherNames,
  keyVariable: "OPENAI_API_KEY",
  keyExample: "OPENAI_API_KEY=sk-…",
  variablesFor: ({ url, key }) => ({ OPENAI_API_KEY: key, OPENAI_BASE_URL: url }),
  variableProblems,
};

/** The first is asked where a config names none. */
export const adapters: readonly [Adapter, ...Adapter[]] = [openaiAdapter];
