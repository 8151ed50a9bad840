/** The suite for targets, on files: each pipeline has its own, which is read as others would read it. */
import { mkdtemp, readFile, rename, rm, mkdir } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { files } from "../../src/connectors/files/files.js";
import type { TargetConnector } from "../../src/model/connector.js";
import type { Json } from "../../src/model/pipeline.js";
import { describeTarget } from "../../src/testing/testing.js";

type Cells = Readonly<Record<string, Json>>;

/** One connector that has a file for each pipeline, since two pipelines cannot share one. */
function filesIn(folder: string): TargetConnector {
  const opened = new Map<string, TargetConnector>();
  const of = (pipeline: string): TargetConnector => {
    const known = opened.get(pipeline) ?? files(join(folder, `${pipeline}.jsonl`));
    opened.set(pipeline, known);
    return known;
  };
  return {
    ...of("films"),
    prepare: (options) => of(options.pipeline).prepare(options),
    write: (changes, options) => of(options.pipeline).write(changes, options),
    settle: async (options) => of(options.pipeline).settle?.(options),
  };
}

describeTarget(
  "files",
  async () => {
    const root = await mkdtemp(join(tmpdir(), "rowmill-files-"));
    const folder = join(root, "out");
    await mkdir(folder);
    return {
      connect: () => filesIn(folder),
      held: async (pipeline) => {
        const reader = filesIn(folder);
        const signal = new AbortController().signal;
        const fields = ["label", "score"].map((field) => ({
          field,
          type: field === "label" ? ("text" as const) : ("bigint" as const),
          nullable: true,
          check: null,
        }));
        await reader.prepare({ pipeline, fields, signal });
        await reader.settle?.({ pipeline, signal });
        const text = await readFile(join(folder, `${pipeline}.jsonl`), "utf8");
        const rows = text
          .split("\n")
          .slice(0, -1)
          .map((line) => JSON.parse(line) as Cells);
        return new Map(rows.map(({ key, ...cells }) => [String(key), cells]));
      },
      refused: { label: "no whole number", score: 1.5 },
      goDown: () => rename(folder, join(root, "away")),
      comeBack: () => rename(join(root, "away"), folder),
      close: () => rm(root, { recursive: true }),
    };
  },
  { describe, it, expect },
);
