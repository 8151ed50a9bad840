/** A checked pipeline over films, for tests that need no database. */
import { z } from "zod";
import { openai } from "../../src/index.js";
import type { MessageSource, PipelineConfig } from "../../src/model/pipeline.js";

export function smallPipeline(user: MessageSource, system: MessageSource | null = null): PipelineConfig {
  return {
    name: "films",
    provider: openai(),
    source: {
      kind: "table",
      table: "films",
      key: ["id"],
      columns: ["title"],
      where: null,
      existing: "include",
      onGone: "drop",
      replica: null,
    },
    when: { rows: 1, maxWaitMs: 1 },
    batch: { requestsMax: null, bytesMax: null },
    request: {
      model: "gpt-4o-mini",
      parameters: { temperature: 0.1 },
      system,
      user,
      maxOutputTokens: 99,
      price: null,
    },
    answer: z.object({ genre: z.string() }),
    validate: null,
    attempts: 3,
    target: {
      table: "labels",
      columns: null,
      access: "private",
      addColumns: false,
      trustOwner: false,
      elsewhere: null,
    },
    budget: null,
    onChange: "ask",
    dedupe: false,
    approveAboveUsd: 1,
    limit: null,
    polling: { minMs: 1, maxMs: 1 },
    files: { keep: false },
    reconcile: { windowMs: 1, unknown: null },
  };
}
