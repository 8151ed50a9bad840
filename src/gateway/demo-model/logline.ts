/**
 * A one-sentence summary that repeats no sentence of the text: the genre, then the first people and creatures. Made by
 * rules and a list of nouns; no language model. Pure.
 */
import { genresOf } from "./genre-lexicon.js";
import { TEXT_CHARS_MAX, wordSet } from "./text.js";

const CAST_MAX = 3;

const GENRE_NOUNS: Readonly<Record<string, string>> = {
  action: "action film",
  animation: "animated film",
  crime: "crime story",
  family: "family film",
  "film-noir": "film noir",
  history: "historical drama",
  horror: "horror story",
  music: "music film",
  "sci-fi": "science-fiction story",
  sport: "sports film",
  war: "war story",
};

const CAST_NOUNS = wordSet(`
  accomplice actor actress adviser agent airman alien ally android angel ape apprentice archaeologist aristocrat
  army artist assassin astronaut athlete aunt aviator baby babysitter baker band bandit banker barber baron bear
  beggar biker bishop bomber boss boxer boy boyfriend bride brother bullfighter bully bureaucrat burglar
  businessman butcher buyer captain captor caretaker cartoonist cat cellist chairman champion chef chief child
  chimpanzee classmate cleaner clerk clown coach colleague collector colonel columnist comedian commander
  commando communist companion composer computer congressman consultant convict cook cop corporal corpse
  correspondent countess couple courier courtesan cousin cowboy cowherd creature crew critic crook customer
  cyborg cyclist dancer daughter dealer demon dentist deputy detective dictator dinosaur diplomat director diver
  docker doctor dog doll dragon dreamer driver drummer duchess duke dwarf editor elephant elf emperor engineer
  executioner exile explorer family fan farmer farmhand father fiancé fiancée fighter fireman fish fisherman
  forger friend fugitive gambler gang gangster gardener general genie ghost giant girl girlfriend gladiator
  goblin god godfather governess granddaughter grandfather grandmother grandson guard guardian gunfighter gunman
  hacker hairdresser heir heiress hero heroine hitchhiker hitman hobbit horse hostage housekeeper housewife
  hunter husband immigrant inmate innkeeper inspector invader inventor jester jockey journalist judge juror
  killer king knight lad lady landlord lawyer librarian lieutenant lion lover magician maid major maker man
  manager marine marquis marshal master matador mayor mechanic mercenary mermaid milkman millionaire miner
  minister missionary mobster model monk monkey monster mother mouse murderer musician nanny neighbor neighbour
  nephew newspaperman newsreader niece ninja novelist nun nurse officer ogre orphan outlaw owner painter parent
  partner passenger patient penguin pensioner photographer physicist pianist pig pilot pirate player playwright
  poet policeman postman preacher president priest prince princess prisoner private producer professor prophet
  prosecutor prostitute psychiatrist psychologist pupil puppet puppeteer queen rabbit rancher ranger rat rebel
  receptionist recruit refugee reporter researcher robber robot rookie ruler runaway sailor salesman samurai
  scholar schoolboy schoolgirl schoolteacher scientist screenwriter sculptor secretary senator sergeant servant
  shark sheriff shopkeeper sibling singer sister slave smuggler sniper soldier son sorcerer spy squad squirrel
  stepfather stepmother student stuntman suitor surgeon survivor swordsman taxi-driver teacher team teenager
  terrorist thief tourist tramp traveller tribe trio troop tutor twin tyrant uncle vagrant vampire veteran
  victim villager violinist waiter waitress warden warlord warrior werewolf whale widow widower wife witch
  witness wizard wolf woman woodcutter worker wrestler writer youngster zombie`);
const IRREGULAR_PLURALS: Readonly<Record<string, string>> = {
  men: "man",
  women: "woman",
  children: "child",
  wives: "wife",
  thieves: "thief",
  wolves: "wolf",
  werewolves: "werewolf",
  elves: "elf",
  mice: "mouse",
};
const DETERMINERS = wordSet("a an the another every his her their its two three four five six seven several some");

const NOT_ADJECTIVES = wordSet("own other same only first last wrong next is was");

/** Null when the text shows no genre, or names no one. */
export function loglineOf(text: string): string | null {
  const [genre] = genresOf(text);
  const cast = castOf(withoutTitle(text));
  if (genre === undefined || cast.length === 0) return null;
  const kind = GENRE_NOUNS[genre] ?? genre;
  return `${withArticle(kind, "A")} about ${listed(cast)}.`;
}

/** A first line without an end mark is a title. */
function withoutTitle(text: string): string {
  const title = /^[^\n]*[^\n.!?]\n\s*\n/.exec(text)?.[0];
  return title === undefined ? text : text.slice(title.length);
}

function castOf(text: string): string[] {
  const found = new Map<string, string>();
  const words = text.slice(0, TEXT_CHARS_MAX).match(/[\p{L}\p{N}'’-]+|[^\s]/gu) ?? [];
  for (let at = 0; at < words.length && found.size < CAST_MAX; at++) {
    const noun = (words[at] ?? "").toLowerCase();
    const singular = singularOf(noun);
    if (singular === null || found.has(singular)) continue;
    if (singularOf(words[at + 1]?.toLowerCase() ?? "") !== null) continue;
    const before = words[at - 1] ?? "";
    const isAfterAdjective = DETERMINERS.has(words[at - 2]?.toLowerCase() ?? "");
    if (noun === singular && !isAfterAdjective && !DETERMINERS.has(before.toLowerCase())) continue;
    const adjective = isAfterAdjective && isAdjective(before) ? `${before} ` : "";
    const determiner = (isAfterAdjective ? words[at - 2] : before)?.toLowerCase() ?? "";
    found.set(singular, determined(adjective + noun, noun === singular, found.size > 0 ? determiner : ""));
  }
  return [...found.values()];
}

/** "her father" stays so after another noun. Otherwise a singular gets "a", and a plural gets nothing. */
function determined(phrase: string, isSingular: boolean, determiner: string): string {
  if (/^(?:her|his|their)$/.test(determiner)) return `${determiner} ${phrase}`;
  return isSingular ? withArticle(phrase, "a") : phrase;
}

function isAdjective(word: string): boolean {
  return /^\p{L}[\p{L}-]+$/u.test(word) && !DETERMINERS.has(word) && !NOT_ADJECTIVES.has(word);
}

function singularOf(word: string): string | null {
  if (CAST_NOUNS.has(word)) return word;
  const irregular = IRREGULAR_PLURALS[word];
  if (irregular !== undefined) return irregular;
  for (const singular of [word.replace(/s$/, ""), word.replace(/(?<=[sxhz])es$/, ""), word.replace(/ies$/, "y")]) {
    if (CAST_NOUNS.has(singular)) return singular;
  }
  return null;
}

function withArticle(noun: string, a: "a" | "A"): string {
  return /^[aeiou]/i.test(noun) ? `${a}n ${noun}` : `${a} ${noun}`;
}

function listed(items: readonly string[]): string {
  return items.length < 2 ? items.join("") : `${items.slice(0, -1).join(", ")} and ${items.at(-1) ?? ""}`;
}
