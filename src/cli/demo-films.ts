/** A thousand films that nobody made, each with its own description: rows for `rowmill demo`. Pure; the same every time. */

export interface DemoFilm {
  readonly film_id: number;
  readonly title: string;
  readonly description: string;
}

export const DEMO_FILMS = 1_000;

const heroes = [
  "a weary detective",
  "a young pilot",
  "an estranged sister",
  "a retired thief",
  "an orphaned violinist",
  "a stubborn country doctor",
  "a clumsy wizard",
  "the last lighthouse keeper",
  "a runaway android",
  "a disgraced senator",
];

const deeds = [
  "hunts a killer through a city under curfew",
  "falls in love with the rival who ruined everything",
  "plans one last robbery that cannot go wrong",
  "fights to survive the first winter of the war",
  "drifts through space with a broken ship and a talking cargo",
  "spends one night in a haunted house on a bet",
  "defends a village against a magic older than its names",
  "takes a hopeless case to court",
  "turns a failing restaurant into a comedy of errors",
  "searches the jungle for a lost treasure",
];

const places = [
  "in rainy Lisbon",
  "on a cargo ship off Iceland",
  "high in the Alps",
  "in 1920s Chicago",
  "at the edge of the Sahara",
  "in a suburb where nothing happens",
  "in a hotel closed for the season",
  "on the far side of the Moon",
  "between two trains in Vienna",
  "in a town that is on no map",
];

const turns = [
  "Nobody is who they say they are.",
  "An old friend has other plans.",
  "Every answer costs a secret.",
  "The clock does not stop for anyone.",
  "What was lost comes back, but not as it was.",
  "Only the dog knows the truth.",
  "The music never quite ends.",
];

const nouns = [
  "Harbour",
  "Winter",
  "Letter",
  "Orchard",
  "Signal",
  "Verdict",
  "Lantern",
  "Border",
  "Waltz",
  "Island",
];
const adjectives = [
  "Silent",
  "Crooked",
  "Second",
  "Golden",
  "Borrowed",
  "Burning",
  "Hidden",
  "Last",
  "Paper",
  "Distant",
];

/** Ids from 1; every hero meets every deed in every place once. */
export function demoFilms(): readonly DemoFilm[] {
  return Array.from({ length: DEMO_FILMS }, (_, index) => {
    const year = 1950 + (index % 73);
    const hero = pick(heroes, index);
    const deed = pick(deeds, index + Math.floor(index / 10));
    const story = `${hero} ${deed} ${pick(places, index + Math.floor(index / 100))}.`;
    return {
      film_id: index + 1,
      title: `The ${pick(adjectives, index * 7)} ${pick(nouns, Math.floor(index / 10) + index)} (${year})`,
      description: `${story.charAt(0).toUpperCase()}${story.slice(1)} ${pick(turns, index)}`,
    };
  });
}

function pick(words: readonly string[], index: number): string {
  return words[index % words.length] ?? "";
}
