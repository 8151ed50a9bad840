/** What the service takes and gives, for its OpenAPI description. PostgreSQL checks bodies, not these. */
import { z } from "zod";
import { REQUEST_STATES } from "../model/request/request-transitions.js";

const count = z.int().min(0);
const instant = z.iso.datetime();
const anyRow = z.record(z.string(), z.unknown()).describe("A row. Its undeclared fields are ignored.");

export const pushBody = z.union([
  z.array(anyRow),
  z.looseObject({ data: z.array(anyRow).nullable() }).describe("The rows, with other fields, which are ignored."),
  anyRow,
]);

export const pushAnswer = z.strictObject({
  accepted: count.describe("New or changed rows."),
  unchanged: count,
  older: count.describe("Rows that would have replaced a newer version."),
  refused: count,
  problems: z
    .array(
      z.strictObject({
        row: count.describe("Its place in the push, from 0."),
        key: z.string().nullable(),
        reason: z.string(),
      }),
    )
    .describe("The first 100 of the refused rows."),
});

const answered = {
  answer: z
    .record(z.string(), z.unknown())
    .nullable()
    .describe("By the fields of the config's answer, as the target has them now. Null: there is none."),
  model: z.string().nullable(),
  version: z.int().nullable().describe("Of the config that asked."),
};

export const rowAnswer = z.strictObject({
  key: z.string().describe("Of several columns: a JSON array of their values."),
  state: z.enum(["new", ...REQUEST_STATES]).describe("new: no worker has looked at the row yet."),
  error: z.strictObject({ code: z.string(), message: z.string().nullable() }).nullable(),
  attempts: count,
  row: z
    .strictObject({
      cells: z.record(z.string(), z.string().nullable()),
      pushedAt: instant,
      complete: z.boolean().describe("False: a column was added since, and the row waits until it is pushed again."),
    })
    .nullable()
    .describe("Null: it was deleted."),
  ...answered,
  answeredAt: instant.nullable(),
});

export const resultLine = z.strictObject({
  cursor: z.string().describe("Send it as `after` to continue after this line."),
  key: z.string().nullable().describe("Null: the ledger has forgotten the row."),
  ...answered,
  at: instant,
});

export const problemBody = z
  .looseObject({
    type: z.string(),
    title: z.string(),
    status: z.int(),
    code: z.string().describe("Stable, for programs."),
    detail: z.string().describe("What happened, why, and what to do."),
  })
  .describe("RFC 9457.");
