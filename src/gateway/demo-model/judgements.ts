/** Mood and language of a text, by lists of words. Pure; no language model. */
import { wordsOf } from "./text.js";

const positive = new Set(
  (
    "good great excellent amazing wonderful love loved lovely best happy joy brilliant superb fantastic perfect nice enjoy enjoyed " +
    "beautiful pleased recommend success triumph win wins hope friendship charming delightful funny heartwarming thanks thank"
  ).split(" "),
);
const negative = new Set(
  (
    "bad terrible awful worst hate hated horrible poor boring sad angry disappointing disappointed broken fail failed failure " +
    "murder death dies dead kill killed killer war terror violent tragedy tragic evil fear pain loss lost problem late wrong ugly"
  ).split(" "),
);

/** By the surplus of friendly or unfriendly words. */
export function sentimentOf(text: string): "positive" | "negative" | "neutral" {
  let surplus = 0;
  for (const word of wordsOf(text)) surplus += positive.has(word) ? 1 : negative.has(word) ? -1 : 0;
  if (surplus === 0) return "neutral";
  return surplus > 0 ? "positive" : "negative";
}

const languages: readonly (readonly [name: string, code: string, words: ReadonlySet<string>])[] = [
  ["English", "en", new Set("the and of to is in with that his her an who".split(" "))],
  ["German", "de", new Set("der die das und ist nicht ein eine mit von auf zu".split(" "))],
  ["French", "fr", new Set("le la les et est une des dans pour que qui avec".split(" "))],
  ["Spanish", "es", new Set("el los las y es una del por para que con su".split(" "))],
  ["Italian", "it", new Set("il gli e è una di della che per con non si".split(" "))],
  ["Portuguese", "pt", new Set("o os as e é uma do da que para com não".split(" "))],
  ["Dutch", "nl", new Set("de het een en is van op niet met voor zijn te".split(" "))],
];

/** Name and ISO 639-1 code, by the commonest words; English when none is found. */
export function languageOf(text: string): readonly [name: string, code: string] {
  const words = wordsOf(text);
  let best: readonly [string, string] = ["English", "en"];
  let most = 0;
  for (const [name, code, common] of languages) {
    const hits = words.filter((word) => common.has(word)).length;
    if (hits > most) [best, most] = [[name, code], hits];
  }
  return best;
}
