import { expect, test } from "vitest";
import type { RefusalAbout } from "../../src/model/batch/refusal.js";
import { judgeRefusal } from "../../src/providers/openai/http/refusal.js";

const said = { code: null, line: null };

test.each<[RefusalAbout, string | null, number | undefined, string]>([
  ["account", "quotaExceeded", 400, "The quota for files without expiry is reached. The maximum is 500."],
  ["account", null, 413, "You have reached your storage limit of 100 GB."],
  ["account", null, 507, "Insufficient Storage"],
  ["account", null, 402, "Payment required."],
  ["account", "billing_hard_limit_reached", undefined, "Billing hard limit has been reached."],
  ["account", null, 400, "Too many files in this project."],
  ["size", null, 413, "<html>Request Entity Too Large</html>"],
  ["size", null, 413, "nothing that we know"],
  ["size", null, 400, "File is too large."],
  ["size", null, 400, "The input file exceeds the maximum size of 100 MB."],
  ["size", "too_many_tasks", undefined, "The input file has 100,001 tasks."],
  ["notReady", null, 400, "File file-1 is in 'pending' state. Only files with status 'Processed' are accepted."],
  ["notReady", null, 409, "The file has not yet been processed."],
  [
    "notReady",
    "invalid_request",
    undefined,
    "Cannot find file file-1, or organization org-x does not have access to it.",
  ],
  ["definition", "model_not_found", undefined, "The provided model 'x' is not supported by the Batch API."],
  ["tokens", "token_limit_exceeded", undefined, "Enqueued token limit reached. Your quota is used up."],
  ["other", null, 409, "A conflict."],
  ["other", null, 400, "max_tokens is too large: 99999. This model supports at most 16384 completion tokens."],
  ["other", null, 400, "This request exceeds the rate limit of 500 requests per minute."],
  ["other", null, 400, "Quotation marks are missing."],
])("%s: code %s, status %s, %s", (about, code, status, message) => {
  expect(judgeRefusal({ ...said, code, message, ...(status === undefined ? {} : { status }) }).about).toBe(about);
});

test("a line is named by its number, whatever is said of it, except what every line shares", () => {
  const line = { line: 3, message: "The file is too large: no quota." };
  expect(judgeRefusal({ ...line, code: null }).about).toBe("line");
  expect(judgeRefusal({ ...line, code: "invalid_url" }).about).toBe("definition");
});

test.each([
  [
    "Enqueued token limit reached for gpt-4o-mini in organization org-x. Limit: 2,000,000 enqueued tokens. Please try again once some in_progress batches have been completed.",
    2_000_000,
  ],
  ["Limit: 90000 enqueued tokens.", 90_000],
  ["Limit: 1.350.000 enqueued tokens", 1_350_000],
  ["Enqueued token limit reached.", null],
  ["Limit: many enqueued tokens", null],
  ["Limit: 50,000 lines", null],
])("%s names the limit %s in tokens", (message, limit) => {
  expect(judgeRefusal({ ...said, code: "token_limit_exceeded", message })).toEqual({
    about: "tokens",
    limit,
  });
});

test.each([
  ["The file is larger than the 209715200 maximum for the gpt-4o-mini model.", 209_715_200],
  ["The file is larger than the 209,715,200 maximum.", 209_715_200],
  ["The maximum file size is 100 MB.", 100_000_000],
  ["Payload too large, limit: 1048576 bytes", 1_048_576],
  ["File is too large.", null],
  ["The file exceeds the maximum size.", null],
  ["The maximum is 0 bytes.", null],
])("%s names the limit %s in bytes", (message, limit) => {
  expect(judgeRefusal({ ...said, message, status: 413 })).toEqual({ about: "size", limit });
});
