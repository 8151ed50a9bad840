/**
 * The public face of the package: what a `rowmill.config.ts` imports. Everything else is internal and may change
 * with any version. Importing it does nothing: no file, no network, no environment.
 */
export { z } from "zod";
export { defineSource } from "./config/define-source.js";
export { defineTarget, type DefinedTarget } from "./config/define-target.js";
export { defineConfig, json, pipeline, push } from "./config/spec.js";
export { dynamodb } from "./connectors/dynamodb/dynamodb.js";
export type { DynamodbIndex, DynamodbSourceSpec } from "./connectors/dynamodb/source.js";
export type { DynamodbTargetOptions } from "./connectors/dynamodb/target.js";
export { files, type FilesSpec, type FileTargetOptions } from "./connectors/files/files.js";
export { mysql } from "./connectors/mysql/mysql.js";
export type { MysqlSourceSpec } from "./connectors/mysql/source.js";
export type { MysqlTargetOptions } from "./connectors/mysql/target.js";
export { postgres } from "./connectors/postgres/postgres.js";
export type { PostgresSourceSpec } from "./connectors/postgres/source.js";
export type { PostgresTargetOptions } from "./connectors/postgres/target.js";
export type { SqliteSourceSpec } from "./connectors/sqlite/source.js";
export { sqlite } from "./connectors/sqlite/sqlite.js";
export type { SqliteTargetOptions } from "./connectors/sqlite/target.js";
export type { WebhookOptions } from "./connectors/webhook/options.js";
export { webhook } from "./connectors/webhook/webhook.js";
export { ConnectorError } from "./model/connector.js";
export { LINES, ProviderError } from "./model/provider/provider.js";
export { openai, type OpenAIConfig } from "./providers/adapters.js";
export type {
  AnswerCells,
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
  PushSource,
  PushSpec,
  RequestSpec,
  Row,
  SourceSpec,
  TargetSpec,
  WhenSpec,
} from "./config/spec.js";
export type { SourceRows, SyncedSource, SyncedSpec } from "./config/define-source.js";
export type {
  Cell,
  Change,
  ConnectorFinding,
  DeliveryOptions,
  DeliveryPromise,
  Page,
  ReadOptions,
  RowAfter,
  SourceConnector,
  TargetConnector,
  Written,
} from "./model/connector.js";
export type { AnswerColumn, ValueLimits } from "./model/answer/answer-columns.js";
export type { Duration } from "./model/duration.js";
export type { AnswerOutcome, ModelRequest, Question, Said, TokenUsage } from "./model/provider/outcome.js";
export type { BudgetPeriod, Json } from "./model/pipeline.js";
export type { Price, PriceStep, Rates } from "./model/provider/pricing.js";
export type {
  Attempt,
  BatchMark,
  BatchRef,
  CallOptions,
  CreatedBatch,
  CreateIntent,
  Dialect,
  Encoded,
  Encoder,
  EndedBatch,
  FoundBatches,
  Frame,
  InputLine,
  Inputs,
  ListedBatch,
  ParameterProblem,
  Provider,
  ProviderBatch,
  ProviderBatchStatus,
  ProviderErrorKind,
  ProviderFinding,
  ProviderLimits,
  Readiness,
  Recovery,
  RequestShape,
  Results,
  ResultsEnd,
  ResultsOptions,
  SpoolFile,
  Staged,
  Staging,
} from "./model/provider/provider.js";
export type { ProviderChoice, ProviderSetup, SettingProblem } from "./model/provider/provider-choice.js";
export type { Proxies, Proxy } from "./model/provider/proxy.js";
export type { BatchInputError, Refusal, RefusalAbout } from "./model/batch/refusal.js";
