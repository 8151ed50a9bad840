/** Sources and targets elsewhere: what a connector finds about its own side. */
import { compileAnswer } from "../../model/answer/answer.js";
import type { ConnectorFinding } from "../../model/connector.js";
import type { PipelineConfig } from "../../model/pipeline.js";
import { notChecked, ok, problem, type Finding } from "../../model/words/finding.js";
import { preparing } from "../../model/write-back.js";
import { thrownMessage } from "../../model/words/thrown-message.js";
import { callConnector } from "../../worker/connector-call.js";
import type { Check, Look } from "./look.js";

/** Of one side of one pipeline; all are asked at once. Less than a check may take. */
const ASK_MS_MAX = 8_000;

const ELSEWHERE = { group: "Elsewhere", needs: [], otherwise: "" } as const;

export const CONNECTOR_CHECKS: readonly Check[] = [
  { ...ELSEWHERE, id: "source-elsewhere", title: "Source", run: (look) => eachSide(look, askSource) },
  { ...ELSEWHERE, id: "target-elsewhere", title: "Target", run: (look) => eachSide(look, askTarget) },
];

/** Null: this side is a table of the database. */
type Ask = (pipeline: PipelineConfig) => Side | null;

interface Side {
  readonly name: string;
  /** Null: it has no `diagnose`. */
  readonly diagnose: ((signal: AbortSignal) => Promise<readonly ConnectorFinding[]>) | null;
}

const askSource: Ask = ({ source }) => {
  const connector = source.replica?.sync?.connector;
  if (connector === undefined) return null;
  const { name, diagnose } = connector;
  return { name, diagnose: diagnose === undefined ? null : (signal) => diagnose({ signal }) };
};

const askTarget: Ask = (config) => {
  const { elsewhere } = config.target;
  if (elsewhere === null) return null;
  const { name, diagnose } = elsewhere;
  const of = preparing(config, compileAnswer(config.answer).columns);
  return { name, diagnose: diagnose === undefined ? null : (signal) => diagnose({ ...of, signal }) };
};

async function eachSide(look: Look, ask: Ask): Promise<readonly Finding[]> {
  // Without a config it is not known whether there are any.
  const found = (look.config?.pipelines ?? []).map(async (pipeline) => {
    const side = ask(pipeline);
    return side === null ? [] : findingsOf(pipeline.name, side);
  });
  return (await Promise.all(found)).flat();
}

async function findingsOf(pipeline: string, { name, diagnose }: Side): Promise<readonly Finding[]> {
  if (diagnose === null)
    return [ok(`${pipeline}: ${name} has no \`diagnose\`, so only \`rowmill up\` shows whether it works`)];
  const seconds = ASK_MS_MAX / 1_000;
  const late = () => new Error(`${name} did not answer within ${seconds} seconds.`);
  const bounds = { msMax: ASK_MS_MAX, late, signal: new AbortController().signal, graceMs: 0 };
  try {
    const findings = await callConnector(diagnose, bounds);
    return findings.map(({ level, text, fixes = [], sql = [] }) => {
      const made = level === "notChecked" ? notChecked("") : ok("");
      return { ...made, level, text: `${pipeline}: ${text}`, fixes, sql, stops: false };
    });
  } catch (error) {
    return [problem(`${pipeline}: ${thrownMessage(error)}`, { fixes: ["Check its address, and the network."] })];
  }
}
