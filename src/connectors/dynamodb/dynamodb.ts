/** `dynamodb()` of a config: a table of Amazon DynamoDB, as a source or as a target. Loads no driver. */
import type { SyncedSource } from "../../config/define-source.js";
import type { TargetConnector } from "../../model/connector.js";
import { dynamodbSource, type DynamodbSourceSpec } from "./source.js";
import { dynamodbTarget, type DynamodbTargetOptions } from "./target.js";

/**
 * A table of Amazon DynamoDB: with `columns` that are a list, a source whose items Rowmill reads; otherwise a target,
 * to which it delivers answers. Credentials come from the AWS SDK's own chain: environment, profile, role.
 */
export function dynamodb<const Column extends string, const Key extends string>(
  spec: DynamodbSourceSpec<Column, Key>,
): SyncedSource<Column, Key>;
export function dynamodb(options: DynamodbTargetOptions): TargetConnector;
export function dynamodb(
  given: DynamodbSourceSpec<string, string> | DynamodbTargetOptions,
): SyncedSource<string, string> | TargetConnector {
  return isSource(given) ? dynamodbSource(given) : dynamodbTarget(given);
}

function isSource(
  given: DynamodbSourceSpec<string, string> | DynamodbTargetOptions,
): given is DynamodbSourceSpec<string, string> {
  return Array.isArray(given.columns);
}
