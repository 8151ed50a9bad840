/** How the demo model reads a text: words, sentences, the most central sentence. Pure; no language model. */

/** The model reads no further, which bounds the time of an answer. */
export const TEXT_CHARS_MAX = 4_000;
const SENTENCES_MAX = 60;
const SUMMARY_CHARS = 160;
const LABEL_CHARS_MAX = 60;
/** A summary is not cut before this many characters. */
const CLAUSE_CHARS_MIN = 40;

const STOP_WORDS = wordSet(`
  a an and are as at be been but by can could did do does for from had has have he her his him how i if in into
  is it its just me more most my no not of on one or our out over she so some than that the their them then
  there these they this to up us was we were what when where which while who will with would you your about
  after all also any because before between both during each few himself herself only other own same such
  through under until very`);

/** The words of the text in lower case, in order. */
export function wordsOf(text: string): string[] {
  return (
    text
      .slice(0, TEXT_CHARS_MAX)
      .toLowerCase()
      .match(/[\p{L}\p{N}]+(?:['’][\p{L}]+)?/gu) ?? []
  );
}

/** Words of three letters or more, without stop words. */
export function contentWordsOf(text: string): string[] {
  return wordsOf(text).filter((word) => word.length > 2 && !STOP_WORDS.has(word));
}

/** At most 60 trimmed sentences. A paragraph without an end mark, such as a title, counts as one. */
export function sentencesOf(text: string): string[] {
  const paragraphs = text.slice(0, TEXT_CHARS_MAX).split(/\n\s*\n/);
  return paragraphs.flatMap(sentencesOfParagraph).slice(0, SENTENCES_MAX);
}

function sentencesOfParagraph(text: string): string[] {
  const flat = text.replaceAll(/\s+/g, " ").trim();
  const parts = flat.split(/(?<=[.!?…。！？]["'”’)]?)\s+(?=["'“‘(]?[\p{Lu}\p{N}\p{Lo}])/u);
  return parts.filter((part) => part !== "");
}

/** The sentence whose words are the most frequent in the whole text; the first among equals. */
export function centralSentence(text: string): string {
  const sentences = sentencesOf(text);
  if (sentences.length < 2) return sentences[0] ?? "";
  const counts = new Map<string, number>();
  for (const word of contentWordsOf(text)) counts.set(word, (counts.get(word) ?? 0) + 1);
  const scoreOf = (sentence: string) => {
    const words = contentWordsOf(sentence);
    const sum = words.reduce((total, word) => total + (counts.get(word) ?? 0), 0);
    return words.length === 0 ? 0 : sum / Math.sqrt(words.length + 4);
  };
  let best = sentences[0] ?? "";
  let bestScore = scoreOf(best);
  for (const sentence of sentences.slice(1)) {
    const score = scoreOf(sentence);
    if (score > bestScore) [best, bestScore] = [sentence, score];
  }
  return best;
}

/** The central sentence, cut after a clause, with an end mark; "" for a text without words. */
export function summaryOf(text: string): string {
  const sentence = shorten(centralSentence(text), SUMMARY_CHARS);
  return sentence === "" || /[.!?…。！？]["'”’)]?$/u.test(sentence) ? sentence : `${sentence}.`;
}

/** The first `max` UTF-16 units; one fewer if that would split a character. */
export function cutText(text: string, max: number): string {
  if (text.length <= max) return text;
  const endsInHalf = /[\uD800-\uDBFF]/.test(text.charAt(max - 1));
  return text.slice(0, endsInHalf ? max - 1 : max);
}

/** At most `max` characters: cut after a clause that ends late enough, else after a word. */
export function shorten(text: string, max: number): string {
  if (text.length <= max) return text;
  const head = cutText(text, max);
  const clause = Math.max(head.lastIndexOf(", "), head.lastIndexOf("; "), head.lastIndexOf(" – "));
  if (clause >= CLAUSE_CHARS_MIN) return head.slice(0, clause).trimEnd();
  const space = head.lastIndexOf(" ");
  return (space > 0 ? head.slice(0, space) : head).trimEnd();
}

/** Capitalized phrases inside sentences (people, places, works), in order, each once. */
export function namesIn(text: string): string[] {
  const found = text
    .slice(0, TEXT_CHARS_MAX)
    .matchAll(/(?<![.!?]\s|^)(?<=\s|["“(])\p{Lu}[\p{L}'’-]+(?:\s(?:of|the|de|von|van)?\s?\p{Lu}[\p{L}'’.-]*)*/gu);
  return [...new Set([...found].map(([name]) => name.trim().replace(/[.'’-]+$/, "")))];
}

/** What follows `label:` at the start of a line, by the words of the label. The first one of each counts. */
export function labelsIn(text: string): ReadonlyMap<string, string> {
  const found = new Map<string, string>();
  if (!text.includes(":")) return found;
  for (const line of text.slice(0, TEXT_CHARS_MAX).split(/\n|\s\|\s/)) {
    const colon = line.indexOf(":");
    if (colon <= 0 || colon > LABEL_CHARS_MAX) continue;
    const label = labelWords(line.slice(0, colon));
    const value = line.slice(colon + 1).trim();
    if (label !== "" && value !== "" && !found.has(label)) found.set(label, value);
  }
  return found;
}

/** As `labelsIn` has them. */
export function labelWords(label: string): string {
  return label
    .toLowerCase()
    .replaceAll(/[^\p{L}\p{N}]+/gu, " ")
    .trim();
}

/** The words of a list that spaces and line breaks separate. */
export function wordSet(list: string): ReadonlySet<string> {
  return new Set(list.trim().split(/\s+/));
}

/** Remembers at most `max` results of a pure function of one text; then it forgets all of them. */
export function remembering<T>(of: (text: string) => T, max: number): (text: string) => T {
  const known = new Map<string, T>();
  return (text) => {
    const remembered = known.get(text);
    if (remembered !== undefined) return remembered;
    if (known.size >= max) known.clear();
    const result = of(text);
    known.set(text, result);
    return result;
  };
}
