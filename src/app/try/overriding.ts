/** The pipeline of the config with what the options of a try change, checked as the config is. Reads one file. */
import { open } from "node:fs/promises";
import { basename } from "node:path";
import { RowmillError } from "../../model/errors.js";
import { hasCode } from "../../model/file-errors.js";
import { hasWord, isFreeJson } from "../../model/json/free-json.js";
import type { PipelineConfig } from "../../model/pipeline.js";
import { templateProblems } from "../../model/request/template.js";
import { textProblem } from "../../model/words/storable-text.js";
import type { Overridden } from "../../store/tries/tries.js";

const PROMPT_BYTES_MAX = 1_000_000;

export interface Overrides {
  readonly model: string | null;
  readonly promptFile: string | null;
}

/** @throws RowmillError `usage` with every mistake of the option in its text */
export async function overriding(
  config: PipelineConfig,
  { model, promptFile }: Overrides,
): Promise<{ readonly config: PipelineConfig; readonly overridden: Overridden }> {
  const asked = model === null ? config : withModel(config, model);
  const prompted = promptFile === null ? asked : await withPrompt(asked, promptFile);
  return {
    config: prompted,
    overridden: {
      ...(asked.request.model === config.request.model ? {} : { model: true }),
      ...(promptFile === null ? {} : { prompt: basename(promptFile) }),
    },
  };
}

function withModel(config: PipelineConfig, model: string): PipelineConfig {
  const { request, provider } = config;
  if (model.trim() === "")
    throw new RowmillError("usage", `--model: expected the name of a model, such as ${provider.dialect.exampleModel}.`);
  if (model === request.model) return config;
  const problems = provider.dialect.parameterProblems(model, request.parameters);
  if (problems.length > 0) {
    const all = problems.map(({ name, problem }) => `${name}: ${problem}`).join("; ");
    throw new RowmillError("usage", `--model: ${model} does not take the parameters of the config. ${all}`, {
      hints: [`Change pipelines.${config.name}.request, or try another model.`],
    });
  }
  // The config's own price is that of its model.
  return { ...config, request: { ...request, model, price: null } };
}

async function withPrompt(config: PipelineConfig, file: string): Promise<PipelineConfig> {
  const text = await readPrompt(file);
  const problems = [
    ...(text.trim() === "" ? ["the file is empty"] : []),
    ...[textProblem(text)].filter((problem) => problem !== null),
    ...templateProblems(text, config.source.columns),
    ...wordProblems(config, text),
  ];
  if (problems.length > 0)
    throw new RowmillError("usage", `--prompt-file ${file}: ${problems.join("; ")}.`, {
      hints: [`It is a template such as "Summarize: {{ ${config.source.columns[0] ?? "column"} }}", as request.user.`],
    });
  return { ...config, request: { ...config.request, user: { kind: "template", text } } };
}

/** As the config's own check of a free JSON answer. */
function wordProblems({ answer, provider, request: { system } }: PipelineConfig, text: string): string[] {
  const { freeJsonWord: word, title } = provider.dialect;
  const isSaid =
    word === null || hasWord(word, text) || system?.kind === "function" || hasWord(word, system?.text ?? "");
  return !isFreeJson(answer) || isSaid ? [] : [`for an answer of json(), ${title} needs the word "${word}" in it`];
}

/** Without the line end that editors put at the end of a file. */
async function readPrompt(file: string): Promise<string> {
  try {
    const opened = await open(file);
    try {
      const bytes = Buffer.alloc(PROMPT_BYTES_MAX + 1);
      let length = 0;
      for (let read = 1; read > 0 && length < bytes.length; length += read)
        read = (await opened.read(bytes, length, bytes.length - length)).bytesRead;
      if (length > PROMPT_BYTES_MAX)
        throw new RowmillError("usage", `--prompt-file ${file}: it is larger than ${PROMPT_BYTES_MAX} bytes.`);
      return new TextDecoder("utf-8", { fatal: true }).decode(bytes.subarray(0, length)).replace(/(?:\r?\n)+$/, "");
    } finally {
      await opened.close();
    }
  } catch (error) {
    if (error instanceof RowmillError) throw error;
    const why = hasCode(error, "ENOENT") ? "there is no such file" : "it cannot be read as UTF-8 text";
    throw new RowmillError("usage", `--prompt-file ${file}: ${why}.`, { cause: error });
  }
}
