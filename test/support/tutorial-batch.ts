/**
 * What the tutorial's endpoint does: lines with custom ids of its own, uploaded and made a batch by the official SDK.
 */
import OpenAI, { toFile } from "openai";

export interface TutorialLine {
  readonly customId: string;
  readonly text: string;
}

/** The tutorial's prompt; its answers are those of the schema, as a model mostly gives them. */
const responseFormat = {
  type: "json_schema",
  json_schema: {
    name: "movie",
    strict: true,
    schema: {
      type: "object",
      properties: { categories: { type: "array", items: { type: "string" } }, summary: { type: "string" } },
      required: ["categories", "summary"],
      additionalProperties: false,
    },
  },
};

export async function createTutorialBatch(
  gatewayUrl: string,
  lines: readonly TutorialLine[],
  /** In place of, or beside, what the tutorial asks with. */
  parameters: Readonly<Record<string, string | number>> = {},
): Promise<{ client: OpenAI; batchId: string; inputFileId: string }> {
  const client = new OpenAI({ apiKey: "test", baseURL: gatewayUrl });
  const text = lines
    .map(({ customId, text: content }) =>
      JSON.stringify({
        custom_id: customId,
        method: "POST",
        url: "/v1/chat/completions",
        body: {
          model: "gpt-4o-mini",
          temperature: 0.1,
          ...parameters,
          response_format: responseFormat,
          messages: [
            { role: "system", content: "Extract the categories of the movie and a one-sentence summary." },
            { role: "user", content },
          ],
        },
      }),
    )
    .join("\n");
  const file = await client.files.create({
    file: await toFile(Buffer.from(text), "batch_tasks.jsonl"),
    purpose: "batch",
  });
  const batch = await client.batches.create({
    input_file_id: file.id,
    endpoint: "/v1/chat/completions",
    completion_window: "24h",
  });
  return { client, batchId: batch.id, inputFileId: file.id };
}
