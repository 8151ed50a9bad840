/** Errors of the AWS SDK as ConnectorErrors. No message repeats a credential, a signature or a token. Pure. */
import { ConnectorError } from "../../model/connector.js";
import { thrownMessage } from "../../model/words/thrown-message.js";

const THROTTLED_AGAIN_MS = 5_000;
const WORDS_MAX = 300;

const THROTTLED = new Set([
  "ProvisionedThroughputExceededException",
  "ThrottlingException",
  "Throttling",
  "RequestLimitExceeded",
  "LimitExceededException",
]);

/** AWS may repeat the signed request, with the session's token, in what it says of these. */
const REFUSED_CREDENTIALS = new Set([
  "UnrecognizedClientException",
  "InvalidClientTokenId",
  "InvalidSignatureException",
  "IncompleteSignature",
  "IncompleteSignatureException",
  "MissingAuthenticationToken",
  "MissingAuthenticationTokenException",
  "ExpiredToken",
  "ExpiredTokenException",
  "RequestExpired",
]);

const CHAIN = "The AWS SDK takes credentials from AWS_ACCESS_KEY_ID, AWS_PROFILE, or the machine's role.";

export function nameOf(error: unknown): string {
  return error instanceof Error ? error.name : "";
}

export function isThrottle(error: unknown): boolean {
  return THROTTLED.has(nameOf(error));
}

export function throttled(place: string): ConnectorError {
  return new ConnectorError("again", `${place} is over its capacity (throttled).`, {
    retryAfterMs: THROTTLED_AGAIN_MS,
  });
}

/** `place`: such as `the DynamoDB table "films"`. */
export function explain(error: unknown, place: string): ConnectorError {
  if (error instanceof ConnectorError) return error;
  const name = nameOf(error);
  const stop = (message: string, ...hints: readonly string[]) =>
    new ConnectorError("stop", `${place}: ${message}`, { hints });
  if (isThrottle(error)) return throttled(place);
  if (REFUSED_CREDENTIALS.has(name))
    return stop(`AWS refuses the credentials (${name}).`, CHAIN, "Check them, and this machine's clock.");
  if (name === "AccessDeniedException")
    return stop(wordsOf(error), "Grant this action in the policy of the user or role.");
  // It was there a moment ago: the next try makes it, or says that it is missing.
  if (name === "ResourceNotFoundException") return new ConnectorError("again", `${place} was deleted.`);
  if (name === "ValidationException") return stop(wordsOf(error));
  return explainLocal(error, place, stop);
}

/** Before an answer of AWS: the machine's settings, or the network. */
function explainLocal(
  error: unknown,
  place: string,
  stop: (message: string, ...hints: readonly string[]) => ConnectorError,
): ConnectorError {
  const name = nameOf(error);
  const code = error instanceof Error && "code" in error && typeof error.code === "string" ? error.code : name;
  if (name === "CredentialsProviderError" || name === "TokenProviderError")
    return stop("there are no AWS credentials.", CHAIN);
  if (thrownMessage(error) === "Region is missing")
    return stop("no region.", "Set AWS_REGION, or dynamodb({ …, region }).");
  const isLate = name === "AbortError" || name === "TimeoutError";
  const status = isLate ? "in time" : statusOf(error);
  return new ConnectorError("again", `${place} did not answer (${status ?? code}).`);
}

/** Of an answer. */
function statusOf(error: unknown): string | null {
  if (!(error instanceof Error) || !("$metadata" in error)) return null;
  const { httpStatusCode } = error.$metadata as { readonly httpStatusCode?: number };
  return httpStatusCode === undefined ? null : `${error.name}, HTTP ${httpStatusCode}`;
}

/** The first line of what AWS says. */
export function wordsOf(error: unknown): string {
  const [line = ""] = thrownMessage(error).split("\n");
  return line === "" ? nameOf(error) : line.slice(0, WORDS_MAX);
}
