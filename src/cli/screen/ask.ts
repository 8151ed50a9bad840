/** Questions on the terminal. Without one nothing is asked: the caller says what to do instead. */
import { proseLine } from "../../model/words/one-line.js";
import { Interrupted } from "./interruption.js";

/** Others appear by scrolling. */
const CHOICES_SHOWN_MAX = 12;

/** Ctrl-D on a terminal in raw mode. */
const END_OF_INPUT = "\u0004";

/** @throws Interrupted when it is answered with Ctrl-C, Ctrl-D or Esc. */
export async function askYesNo(message: string, signal?: AbortSignal): Promise<boolean> {
  const { confirm } = await loadPrompts();
  // Its own: the prompt never stops listening to it, and would write to the screen long after its answer.
  const whileAsked = new AbortController();
  const abort = (): void => whileAsked.abort();
  signal?.throwIfAborted();
  signal?.addEventListener("abort", abort);
  try {
    const answer = await confirm({
      message: proseLine(message),
      initialValue: false,
      output: process.stderr,
      signal: whileAsked.signal,
    });
    return typeof answer === "symbol" ? interrupted(signal) : answer;
  } finally {
    signal?.removeEventListener("abort", abort);
  }
}

/** True when exactly `word` was typed. @throws Interrupted when it is answered with Ctrl-C, Ctrl-D or Esc. */
export async function askTyped(message: string, word: string): Promise<boolean> {
  const { text } = await loadPrompts();
  const answer = await text({
    message: proseLine(`${message} Type "${word}" to confirm.`),
    output: process.stderr,
  });
  if (typeof answer === "symbol") return interrupted();
  return answer === word;
}

async function loadPrompts(): Promise<typeof import("@clack/prompts")> {
  const prompts = await import("@clack/prompts");
  // Otherwise Ctrl-D ends the input but not the question: the process would end silently with the cursor hidden.
  prompts.updateSettings({ aliases: { [END_OF_INPUT]: "cancel" } });
  return prompts;
}

/** The prompts answer a symbol for Ctrl-C and for an aborted signal. */
function interrupted(signal?: AbortSignal): never {
  signal?.throwIfAborted();
  throw new Interrupted("SIGINT");
}

/** A line of text; `check` returns what is wrong with it. @throws Interrupted when it is answered with Ctrl-C, Ctrl-D or Esc. */
export async function askText(
  message: string,
  options: { initial?: string; check?: (text: string) => string | null } = {},
): Promise<string> {
  const { text } = await loadPrompts();
  const initial = options.initial ?? "";
  const answer = await text({
    message: proseLine(message),
    initialValue: proseLine(initial),
    validate: (value) => {
      const meant = value === proseLine(initial) ? initial : (value ?? "");
      const wrong = options.check?.(meant.trim()) ?? null;
      return wrong === null ? undefined : proseLine(wrong);
    },
    output: process.stderr,
  });
  if (typeof answer === "symbol") return interrupted();
  return (answer === proseLine(initial) ? initial : answer).trim();
}

/** A line that is masked while it is typed. @throws Interrupted when it is answered with Ctrl-C, Ctrl-D or Esc. */
export async function askSecret(message: string): Promise<string> {
  const { password } = await loadPrompts();
  const answer = await password({ message, output: process.stderr });
  if (typeof answer === "symbol") return interrupted();
  return answer;
}

export interface Choice {
  readonly value: string;
  readonly label: string;
  readonly hint?: string;
}

/** Names of tables and columns may hold anything. */
function shownChoice({ value, label, hint }: Choice): Choice {
  return { value, label: proseLine(label), ...(hint === undefined ? {} : { hint: proseLine(hint) }) };
}

/** One of these values. @throws Interrupted when it is answered with Ctrl-C, Ctrl-D or Esc. */
export async function choose(message: string, options: readonly Choice[]): Promise<string> {
  const { select } = await loadPrompts();
  const answer = await select({
    message: proseLine(message),
    options: options.map(shownChoice),
    ...(options[0] === undefined ? {} : { initialValue: options[0].value }),
    maxItems: CHOICES_SHOWN_MAX,
    output: process.stderr,
  });
  if (typeof answer === "symbol") return interrupted();
  return answer;
}

/** At least one of these values, in their order. @throws Interrupted when it is answered with Ctrl-C, Ctrl-D or Esc. */
export async function chooseSome(
  message: string,
  options: readonly Choice[],
  initial: readonly string[],
): Promise<string[]> {
  const { multiselect } = await loadPrompts();
  const answer = await multiselect({
    message: proseLine(message),
    options: options.map(shownChoice),
    initialValues: [...initial],
    required: true,
    maxItems: CHOICES_SHOWN_MAX,
    output: process.stderr,
  });
  if (typeof answer === "symbol") return interrupted();
  return options.map((option) => option.value).filter((value) => answer.includes(value));
}
