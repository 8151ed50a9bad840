/**
 * What the demo model writes into a field, from the field's name and description and the words of the message. Pure and
 * deterministic; no language model: the values are plausible, but nothing here understands the text.
 */
import {
  centralSentence,
  contentWordsOf,
  labelsIn,
  labelWords,
  namesIn,
  remembering,
  sentencesOf,
  shorten,
  summaryOf,
  wordSet,
  wordsOf,
} from "./text.js";
import { genresOf } from "./genre-lexicon.js";
import { loglineOf } from "./logline.js";

export interface Field {
  /** The property's name; an element of a list has the list's. */
  readonly name: string;
  readonly description: string;
  /** The user message, without special texts. */
  readonly text: string;
}

const LIST_DEFAULT = 3;
const NAMES_REMEMBERED_MAX = 1_000;
const TITLE_CHARS = 80;
const GENRE_WHEN_NONE = "drama";
const NUMBER_WORDS = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"];
const FILLER_WORDS = wordSet("is has was are contains mentions mention a an the in of");
const NEGATIONS = wordSet("no not never without none isn't doesn't hasn't");

/** "isScienceFiction" → "is science fiction". */
const spokenName = remembering((name) => {
  const spaced = name.replaceAll(/([a-z\d])([A-Z])/g, "$1 $2").replaceAll("_", " ");
  return wordsOf(spaced).join(" ");
}, NAMES_REMEMBERED_MAX);

/** Every field of an answer reads the same message, so each fact about it is worked out once. */
const TEXTS_REMEMBERED_MAX = 8;
const SEEN = {
  words: remembering(wordsOf, TEXTS_REMEMBERED_MAX),
  wordSet: remembering((text) => new Set(wordsOf(text)), TEXTS_REMEMBERED_MAX),
  sentences: remembering(sentencesOf, TEXTS_REMEMBERED_MAX),
  summary: remembering(summaryOf, TEXTS_REMEMBERED_MAX),
  logline: remembering(loglineOf, TEXTS_REMEMBERED_MAX),
  names: remembering(namesIn, TEXTS_REMEMBERED_MAX),
  genres: remembering(genresOf, TEXTS_REMEMBERED_MAX),
  sentiment: remembering(sentimentOf, TEXTS_REMEMBERED_MAX),
  language: remembering(languageOf, TEXTS_REMEMBERED_MAX),
  keywords: remembering(keywordsOf, TEXTS_REMEMBERED_MAX),
  numbers: remembering(numbersIn, TEXTS_REMEMBERED_MAX),
  labels: remembering(labelsIn, TEXTS_REMEMBERED_MAX),
};

/** The value that the message gives under the field's own label: `Director: …`. */
function labelFor({ name, text }: Field): string | undefined {
  return SEEN.labels(text).get(labelWords(spokenName(name)));
}

function about(field: Field, pattern: RegExp): boolean {
  return pattern.test(spokenName(field.name));
}

/** A text for the field; may be "". */
export function textFor(field: Field): string {
  const { text } = field;
  const label = labelFor(field);
  if (label !== undefined) return label;
  if (about(field, /categor|genre|topic|tag|theme/)) return SEEN.genres(text)[0] ?? GENRE_WHEN_NONE;
  if (about(field, /sentiment|mood|tone|polarity/)) return SEEN.sentiment(text);
  if (about(field, /lang|locale/)) return languageFor(field);
  if (about(field, /title|headline|subject|^name$/)) return titleOf(text);
  if (about(field, /e ?mail/)) return /(?<![\w.+-])[\w.+-]{1,64}@[\w-]+\.[\w.-]*\w/.exec(text)?.[0] ?? "";
  if (about(field, /url|link|website/)) return /https?:\/\/[^\s)>"]+/.exec(text)?.[0] ?? "";
  if (about(field, /date|when/)) return /\b\d{4}-\d\d-\d\d\b/.exec(text)?.[0] ?? yearIn(text)?.toString() ?? "";
  if (about(field, /author|director|person|character|who|hero|actor|place|location|city|country|company/)) {
    return SEEN.names(text)[0] ?? "";
  }
  if (about(field, /keyword|word|term/)) return SEEN.keywords(text)[0] ?? "";
  if (about(field, /first|opening/)) return SEEN.sentences(text)[0] ?? "";
  if (about(field, /summar|synopsis|logline|plot|one line|in short/)) return SEEN.logline(text) ?? SEEN.summary(text);
  return SEEN.summary(text);
}

/** Different texts for the field, best first; may be empty. */
export function listFor(field: Field): string[] {
  const { text } = field;
  const most = countIn(field.description) ?? LIST_DEFAULT;
  const label = labelFor(field);
  if (label !== undefined) return distinct(label.split(/,\s*/), most);
  if (about(field, /categor|genre|topic|tag|theme|label/)) {
    const found = SEEN.genres(text);
    return found.length === 0 ? [GENRE_WHEN_NONE] : found.slice(0, most);
  }
  if (about(field, /sentence|point|highlight|summar|fact/)) return distinct(SEEN.sentences(text), most);
  if (about(field, /name|person|people|character|actor|place|location|cit|countr|compan|entit|star|cast/)) {
    return distinct(SEEN.names(text), most);
  }
  return SEEN.keywords(text).slice(0, most);
}

/** Null when the text has no number for it. */
export function numberFor(field: Field): number | null {
  const { text } = field;
  if (about(field, /sentiment|polarity|mood/)) return { positive: 1, neutral: 0, negative: -1 }[SEEN.sentiment(text)];
  if (about(field, /word count|words/)) return SEEN.words(text).length;
  if (about(field, /year/)) return yearIn(text);
  const label = labelFor(field);
  const near = label === undefined ? undefined : numbersIn(label)[0];
  return near ?? SEEN.numbers(text)[0] ?? null;
}

/** True when a word of the field's name occurs in the text without a negation just before it. */
export function truthOf(field: Field): boolean {
  const wanted = spokenName(field.name)
    .split(" ")
    .filter((word) => !FILLER_WORDS.has(word));
  const words = SEEN.words(field.text);
  if (about(field, /positive|negative/)) return wanted.includes(SEEN.sentiment(field.text));
  return wanted.some((want) => {
    const at = words.findIndex((word) => word.startsWith(stemOf(want)));
    return at !== -1 && !words.slice(Math.max(0, at - 3), at).some((word) => NEGATIONS.has(word));
  });
}

/** The option that the text names, or that fits its genre, mood or language; else a vague one, else the first. */
export function chooseFrom(field: Field, options: readonly string[]): string | undefined {
  const words = SEEN.wordSet(field.text);
  const loose = (text: string) => wordsOf(text).join(" ");
  const guesses = [
    textFor(field),
    ...SEEN.genres(field.text),
    SEEN.sentiment(field.text),
    ...SEEN.language(field.text),
  ];
  const guessed = new Set(guesses.map(loose));
  return (
    options.find((option) => guessed.has(loose(option))) ??
    options.find((option) => wordsOf(option).length > 0 && wordsOf(option).every((word) => words.has(word))) ??
    options.find((option) => /^(other|unknown|none|neutral|mixed|n\/?a|medium)$/i.test(option)) ??
    options[0]
  );
}

/** The most frequent content words; the longest first among equals. */
function keywordsOf(text: string): string[] {
  const counts = new Map<string, number>();
  for (const word of contentWordsOf(text)) counts.set(word, (counts.get(word) ?? 0) + 1);
  return [...counts].sort(([a, n], [b, m]) => m - n || b.length - a.length).map(([word]) => word);
}

/** The number in a description such as "at most four" or "up to 5". */
function countIn(description: string): number | null {
  const digits = /\b\d{1,2}\b/.exec(description)?.[0];
  if (digits !== undefined) return Number(digits);
  const word = wordsOf(description).find((candidate) => NUMBER_WORDS.includes(candidate));
  return word === undefined || word === "one" || word === "zero" ? null : NUMBER_WORDS.indexOf(word);
}

function languageFor(field: Field): string {
  const [name = "English", code = "en"] = SEEN.language(field.text);
  return /code|iso|locale/i.test(`${field.name} ${field.description}`) ? code : name;
}

function titleOf(text: string): string {
  const quoted = /["“]([^"”]{2,80})["”]/.exec(text)?.[1];
  if (quoted !== undefined) return quoted;
  const firstLine = text.split("\n", 1)[0] ?? "";
  return shorten(firstLine.length < text.length ? firstLine.trim() : centralSentence(text), TITLE_CHARS).replace(
    /[.,;]$/,
    "",
  );
}

function yearIn(text: string): number | null {
  const found = /\b(1[89]\d\d|20\d\d)\b/.exec(text)?.[0];
  return found === undefined ? null : Number(found);
}

function numbersIn(text: string): number[] {
  const digits = [...text.matchAll(/(?<![\p{L}\d])-?\d{1,15}(?:\.\d{1,6})?/gu)].map(([found]) => Number(found));
  if (digits.length > 0) return digits;
  return wordsOf(text).flatMap((word) => (NUMBER_WORDS.indexOf(word) >= 1 ? [NUMBER_WORDS.indexOf(word)] : []));
}

function distinct(values: readonly string[], most: number): string[] {
  return [...new Set(values.map((value) => value.trim()).filter((value) => value !== ""))].slice(0, most);
}

function stemOf(word: string): string {
  return word.length > 5 ? word.slice(0, -2) : word;
}

const POSITIVE = wordSet(`
  good great excellent amazing wonderful love loved lovely best happy joy brilliant superb fantastic perfect
  nice enjoy enjoyed beautiful pleased recommend success triumph win wins hope friendship charming delightful
  funny heartwarming thanks thank`);
const NEGATIVE = wordSet(`
  bad terrible awful worst hate hated horrible poor boring sad angry disappointing disappointed broken fail
  failed failure murder death dies dead kill killed killer war terror violent tragedy tragic evil fear pain loss
  lost problem late wrong ugly`);

/** By whether friendly or unfriendly words are more frequent. */
function sentimentOf(text: string): "positive" | "negative" | "neutral" {
  let surplus = 0;
  for (const word of wordsOf(text)) surplus += POSITIVE.has(word) ? 1 : NEGATIVE.has(word) ? -1 : 0;
  if (surplus === 0) return "neutral";
  return surplus > 0 ? "positive" : "negative";
}

const LANGUAGES: readonly (readonly [name: string, code: string, words: ReadonlySet<string>])[] = [
  ["English", "en", wordSet("the and of to is in with that his her an who")],
  ["German", "de", wordSet("der die das und ist nicht ein eine mit von auf zu")],
  ["French", "fr", wordSet("le la les et est une des dans pour que qui avec")],
  ["Spanish", "es", wordSet("el los las y es una del por para que con su")],
  ["Italian", "it", wordSet("il gli e è una di della che per con non si")],
  ["Portuguese", "pt", wordSet("o os as e é uma do da que para com não")],
  ["Dutch", "nl", wordSet("de het een en is van op niet met voor zijn te")],
];

/** Name and ISO 639-1 code, by the most common words of each language; else English. */
function languageOf(text: string): readonly [name: string, code: string] {
  const words = wordsOf(text);
  let best: readonly [string, string] = ["English", "en"];
  let most = 0;
  for (const [name, code, common] of LANGUAGES) {
    const hits = words.filter((word) => common.has(word)).length;
    if (hits > most) [best, most] = [[name, code], hits];
  }
  return best;
}
