/** The one list of adapters, and what a config may say of them. */
import type { Adapter } from "../model/provider/provider-choice.js";
import { OPENAI_VARIABLES, OTHER_NAMES, variableProblems } from "./openai/environment.js";
import { openai } from "./openai/openai.js";

export { openai, type OpenAIConfig } from "./openai/openai.js";

const openaiAdapter: Adapter = {
  configExample: "openai({ … })",
  choice: openai(),
  variables: OPENAI_VARIABLES,
  otherNames: OTHER_NAMES,
  keyVariable: "OPENAI_API_KEY",
  keyExample: "OPENAI_API_KEY=sk-…",
  variablesFor: ({ url, key }) => ({ OPENAI_API_KEY: key, OPENAI_BASE_URL: url }),
  variableProblems,
};

/** The first is used where a config names none. */
export const ADAPTERS: readonly [Adapter, ...Adapter[]] = [openaiAdapter];
