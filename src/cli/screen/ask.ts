/** Questions on the terminal; each throws Interrupted at Ctrl-C, Ctrl-D or Esc. Without a terminal nothing is asked. */
import { proseLine } from "../../model/words/one-line.js";
import { RowmillError } from "../../model/errors.js";
import { Interrupted } from "./interruption.js";

const CHOICES_SHOWN_MAX = 12;
/** Ctrl-D on a terminal in raw mode. */
const END_OF_INPUT = "\u0004";
const output = process.stderr;

/** For where no one can be asked. `result`: what did not happen; `hint`: how to do it without a question. */
export function noTerminal(result: string, hint: string): RowmillError {
  return new RowmillError("refused", `There is no terminal to ask on, so ${result}.`, { hints: [hint] });
}

async function answerTo<T>(
  ask: (prompts: typeof import("@clack/prompts")) => Promise<T>,
  signal?: AbortSignal,
): Promise<Exclude<T, symbol>> {
  const prompts = await import("@clack/prompts");
  // Otherwise Ctrl-D ends the input but not the question: the process would end silently with the cursor hidden.
  prompts.updateSettings({ aliases: { [END_OF_INPUT]: "cancel" } });
  const answer = await ask(prompts);
  if (isAnswer(answer)) return answer;
  signal?.throwIfAborted();
  throw new Interrupted("SIGINT");
}

/** The prompts give a symbol where they were ended. */
function isAnswer<T>(answer: T): answer is Exclude<T, symbol> {
  return typeof answer !== "symbol";
}

export async function askYesNo(question: string, signal?: AbortSignal): Promise<boolean> {
  // Its own: the prompt never stops listening to it, and would write to the screen long after its answer.
  const whileAsked = new AbortController();
  const abort = (): void => whileAsked.abort();
  signal?.throwIfAborted();
  signal?.addEventListener("abort", abort);
  const asked = { message: proseLine(question), initialValue: false, output, signal: whileAsked.signal };
  try {
    return await answerTo(({ confirm }) => confirm(asked), signal);
  } finally {
    signal?.removeEventListener("abort", abort);
  }
}

export async function askTyped(question: string, word: string): Promise<boolean> {
  const message = proseLine(`${question} Type "${word}" to confirm.`);
  return (await answerTo(({ text }) => text({ message, output }))) === word;
}

/** A line of text; `check` returns what is wrong with it. */
export async function askText(
  question: string,
  options: { initial?: string; check?: (text: string) => string | null } = {},
): Promise<string> {
  const initial = options.initial ?? "";
  const initialValue = proseLine(initial);
  const meant = (typed: string) => (typed === initialValue ? initial : typed).trim();
  const validate = (typed = "") => {
    const wrong = options.check?.(meant(typed)) ?? null;
    return wrong === null ? undefined : proseLine(wrong);
  };
  const message = proseLine(question);
  return meant(await answerTo(({ text }) => text({ message, initialValue, validate, output })));
}

export async function askSecret(message: string): Promise<string> {
  return answerTo(({ password }) => password({ message, output }));
}

export interface Choice {
  readonly value: string;
  readonly label: string;
  readonly hint?: string;
}

function shown(question: string, choices: readonly Choice[]) {
  const options = choices.map(({ value, label, hint }) => {
    return { value, label: proseLine(label), ...(hint === undefined ? {} : { hint: proseLine(hint) }) };
  });
  return { message: proseLine(question), options, maxItems: CHOICES_SHOWN_MAX, output };
}

/** One of these values; the cursor begins at `initial` if that is one of them. */
export async function choose(question: string, choices: readonly Choice[], initial?: string): Promise<string> {
  const begin = choices.find(({ value }) => value === initial) ?? choices[0];
  const first = begin === undefined ? {} : { initialValue: begin.value };
  return answerTo(({ select }) => select({ ...shown(question, choices), ...first }));
}

/** At least one of these values, in their order. */
export async function chooseSome(
  question: string,
  choices: readonly Choice[],
  initial: readonly string[],
): Promise<string[]> {
  const asked = { ...shown(question, choices), initialValues: [...initial], required: true };
  const chosen = await answerTo(({ multiselect }) => multiselect(asked));
  return choices.map(({ value }) => value).filter((value) => chosen.includes(value));
}
