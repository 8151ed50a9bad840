/** No word of a vendor stands outside its adapter: the engine asks the interface. */
import { readdir, readFile } from "node:fs/promises";
import { join, relative } from "node:path";
import { describe, expect, it } from "vitest";

const repository = join(import.meta.dirname, "../..");

/** Each kind of word, as it would stand in code, text or comment. */
const words: Readonly<Record<string, RegExp>> = {
  "a vendor":
    /openai|azure|anthropic|\bclaude|gemini|mistral|\bgroq|bedrock|together\.?ai|\bxai\b|deepseek|cohere|openrouter/gi,
  "a family of models": /\bgpt-?\d|\bgpt-(?:oss|tokenizer)|\bo[134]-(?:mini|pro)|text-embedding-|\bllama-?\d/gi,
  "a tokenizer": /tiktoken|o200k|cl100k/gi,
  "an id of a file": /\b(?:input|output|error)_?file_?ids?\b/gi,
  "our metadata": /\browmill_(?:batch|deployment|pipeline|definition|attempt)\b/g,
  // Rowmill's own paths are none of a vendor's.
  "a path of an API": /\/v1\b(?!\/(?:pipelines\/|in\/|openapi\.json))|chat\/completions|\/(?:files|batches)\/\{/g,
  "a field of a request": /max_completion_tokens|response_format|\bjson_object\b|completion_window/g,
  "a code of an error":
    /insufficient_quota|token_limit_exceeded|model_not_found|rate_limit_exceeded|batch_expired|invalid_json_line|invalid_request_error/g,
};

/** Where they are at home. */
const homes = [/^src\/providers\/[^/]+\//, /^src\/gateway\//, /^src\/providers\/adapters\.ts$/];

/** File → the only words that it may have, and why. */
const exceptions: Readonly<Record<string, { readonly words: RegExp; readonly why: string }>> = {
  "src/index.ts": { words: /^openai$/i, why: "what a config imports has the vendor's name" },
  "src/config/spec.ts": {
    words: /^openai$/,
    why: "the editor shows on hover how a config names its provider",
  },
  "src/cli/advanced-commands.ts": { words: /^OpenAI$/, why: "the command says which API src/gateway speaks" },
};

interface Found {
  readonly kind: string;
  readonly word: string;
  readonly line: number;
}

function find(text: string): Found[] {
  return Object.entries(words).flatMap(([kind, pattern]) =>
    [...text.matchAll(pattern)].map((match) => ({
      kind,
      word: match[0],
      line: text.slice(0, match.index).split("\n").length,
    })),
  );
}

async function sources(): Promise<readonly (readonly [file: string, text: string])[]> {
  const entries = await readdir(join(repository, "src"), { recursive: true, withFileTypes: true });
  const files = entries.filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name));
  return Promise.all(
    files.map(
      async (file) => [relative(repository, file).replaceAll("\\", "/"), await readFile(file, "utf8")] as const,
    ),
  );
}

describe("Words of a vendor", () => {
  it("stand in its adapter, in the gateway, and in the list of adapters alone", async () => {
    const elsewhere = (await sources()).filter(([file]) => !homes.some((home) => home.test(file)));
    const found = elsewhere.flatMap(([file, text]) =>
      find(text)
        .filter(({ word }) => exceptions[file]?.words.test(word) !== true)
        .map(({ kind, word, line }) => `${file}:${line}: ${kind}: ${word}`),
    );
    expect(elsewhere.length).toBeGreaterThan(200);
    expect(found).toEqual([]);
  });

  it("have no exception that is not needed any more", async () => {
    const texts = new Map(await sources());
    const idle = Object.entries(exceptions)
      .filter(([file, of]) => !find(texts.get(file) ?? "").some(({ word }) => of.words.test(word)))
      .map(([file]) => file);
    expect(idle).toEqual([]);
  });

  it.each([
    ["a vendor", "// As OpenAI has it."],
    ["a vendor", 'if (provider.name === "azure") return;'],
    ["a family of models", 'const MODEL = "gpt-4o-mini";'],
    ["a family of models", 'model.startsWith("o3-mini")'],
    ["a tokenizer", 'await import("gpt-tokenizer/encoding/o200k_base")'],
    ["a vendor", 'process.env["OPENAI_API_KEY"]'],
    ["an id of a file", "b.input_file_id"],
    ["an id of a file", "batch.outputFileId"],
    ["our metadata", 'batch.metadata["rowmill_batch"]'],
    ["a path of an API", 'url.endsWith("/v1")'],
    ["a path of an API", '"chat/completions"'],
    ["a field of a request", "body.max_completion_tokens"],
    ["a code of an error", 'error.code === "insufficient_quota"'],
  ])("are seen: %s in %s", (kind, text) => {
    expect(find(text).map((found) => found.kind)).toContain(kind);
  });

  it.each([
    "the rows of rowmill.batches",
    "create role rowmill_worker",
    "json_object_agg(state, batches)",
    "the definition, the deployment and the attempt",
    "https://api.example.test/v10",
  ])("are none: %s", (text) => {
    expect(find(text)).toEqual([]);
  });
});
