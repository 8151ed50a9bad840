/**
 * The public face of the package: what a `rowmill.config.ts` imports. Everything else is internal and may change
 * with any version. Importing it does nothing: no file, no network, no environment.
 */
export { z } from "zod";
export { defineConfig, json, pipeline } from "./config/spec.js";
export type {
  AnswerField,
  AnswerOf,
  AnswerSchema,
  AnswerValue,
  BatchSpec,
  BudgetSpec,
  ConfigSpec,
  JsonAnswer,
  JsonObject,
  JsonValue,
  Pipeline,
  PipelineSpec,
  PollingSpec,
  PriceSpec,
  RequestSpec,
  Row,
  SourceSpec,
  TargetSpec,
  WhenSpec,
} from "./config/spec.js";
export type { Duration } from "./model/duration.js";
export type { BudgetPeriod } from "./model/pipeline.js";
