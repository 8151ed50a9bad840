/** Words that show the genre of a film in its description. Made by hand for the demo. Pure. */
import { remembering, wordsOf } from "./text.js";

/** `word` matches itself and its plural; `stem*` matches every word that begins with it. */
const LEXICON: Readonly<Record<string, string>> = {
  action: `
    action agent* assassin* battle* bomb* bodyguard chase* combat commando* dangerous explosi* fight* fugitive
    gun* hijack* hitman hostage* kill* martial mercenar* mission* ninja* rampage ransom rescue* revenge rogue
    shootout sniper soldier* stunt* superhero* swat terrorist* vengeance vigilante warrior* weapon* avenge*
    deadly destroy* unstoppable`,
  adventure: `
    adventur* amazon ancient archaeolog* castaway desert* discover* dinosaur* expedition* explor* island*
    journey* jungle legend* lost map* ocean* pirate* prehistoric quest* safari sail* sea ship* shipwreck*
    survive* survival travel* treasure* trek* tribe* voyage* wilderness wild mountain* magical dragon* kingdom*
    team`,
  animation: `
    anima* cartoon* toy toys ogre* penguin* rabbit* mouse* talking pixar disney lion panda fairy* robot*`,
  biography: `
    autobiograph* biograph* biopic real-life life-story memoir* true-story legendary famed renowned famous pioneer*
    mathematician painter composer emperor president activist 1930s 1940s 1950s 1960s 1970s portrayed chronicles`,
  comedy: `
    absurd* awkward bachelor* bet bumbling clumsy comed* comic crazy dysfunctional eccentric embarrass* foolish
    fraternity funny goof* hapless hilari* humor* joke* laugh* loser* misadventure* mishap* neurotic nerd*
    outrageous parody party prank* satir* screwball sidekick silly slacker* spoof* wacky weekend zany inept
    roommate* neighbor* hijinks pretend* dates dating`,
  crime: `
    bandit* bank burglar* cartel* con conman convict* cop cops corrupt* court crim* dealer* detective* drug* fbi
    felon* gambl* gang* godfather heist* homicide* illegal inmate* jail* kidnap* mafia mob mobster* murder*
    narcotic* police* prison* prosecut* rob robber* robbery serial sheriff* smuggl* steal* stolen thief thieves
    thug* undercover underworld victim* yakuza`,
  documentary: `
    documentar* footage interview* filmmaker* archival chronicl* behind-the-scenes`,
  drama: `
    abandon* abuse* addict* affair aging alcohol* anguish betray* boy boyhood brother* bully* cancer child*
    conflict* confront* cope* daughter* dea* depress* despair* destin* divorce* dying emotion* estrange* famil*
    father* forbidden friendship* grie* guilt hardship* heal* illness immigrant* injustice* innocence life lives
    lone* loss marriage memor* mother* orphan* past pover* priest racis* reconcil* redempt* relationship*
    sacrifice* secret* segregat* sister* slave* son struggl* student* suffer* suicid* teacher* tension* tragedy
    tragic trauma* trial troubled widow* woman women worker* writer* young`,
  family: `
    boy's child children christmas dog dogs elf family-friendly girl's grandfather grandmother kid kids nanny
    pet pets puppy santa school siblings toy toys orphan* parents pig bear horse`,
  fantasy: `
    afterlife angel* cursed curse* demon* dragon* dwarf* elf elves enchant* fairy* fantas* genie ghost* giant*
    goddess gods hobbit* immortal* king* kingdom* magic* mermaid* myth* potion princess* prophecy realm* sorcer*
    spell* spirit* supernatural sword* titan* underworld unicorn* wand wish* witch* wizard* vampire*`,
  "film-noir": `
    femme fatale noir insurance private-eye dame`,
  history: `
    1800s 19th 18th 17th 16th ancient apartheid civil-war cold-war colonial communis* dynasty emperor* empire*
    era execut* general hitler histor* holocaust jew* king's medieval nazi* president* queen* rebellion reign*
    revolution* roman rome slavery treaty tsar union century 1860s 1912 1941 1942 1943 1944 1945 independence`,
  horror: `
    blood* bloodthirsty body-snatch* cabin cannibal* chainsaw creature* creepy demon* devil dracula evil
    exorcis* flesh frankenstein ghost* ghoul* gore grisly gruesome haunt* horrif* horror* kill* massacre
    monster* morgue nightmare* occult paranormal possess* satan* scream* sinister slash* slaughter* supernatural
    terrif* terrori* undead vampire* werewol* witch* zombie* bitten`,
  music: `
    album* band bands beatles blues choir compos* concert* conductor country-music drummer guitar* hip-hop jazz
    lyric* music* opera orchestra* pianist* piano rapper rock 'n' roll singer* singing song* songwrit* violin*
    tour`,
  musical: `
    ballet broadway cabaret chorus dance* dancer* dancing musical* sing sings song* stage showgirl* vaudeville`,
  mystery: `
    amnesia baffl* bizarre clue* conspir* cover-up detective* disappear* enigma* evidence eerie haunt* identity
    inexplicab* investigat* mysteri* mystery missing murder* puzzl* riddle* secret* sinister strange* suspect*
    suspicio* truth twist* uncover* unexplained unravel* vanish* whodunit witness*`,
  romance: `
    affair* attract* bride* courtship dating engage* fall* falls fiancé* fiancée flirt* girlfriend boyfriend
    heart* honeymoon husband* kiss* love* lover* marr* passion* relationship* roman* seduc* soulmate* suitor*
    sweetheart* wedding* wife wives wooing couple* mistress beautiful meets feelings`,
  "sci-fi": `
    ai alien* android* apocaly* artificial astronaut* clone* comput* cyber* cyborg* dimension* dystopia* earth
    earth's experiment* extraterrestrial* future* futuristic galaxy galactic genetic* hologram* interstellar
    laboratory machine* mars matrix mutant* nuclear outer-space planet* post-apocalyptic robot* scien* sci-fi
    space spaceship* spacecraft starship* simulat* technolog* teleport* terminator time-travel* ufo* universe
    virus virtual`,
  sport: `
    athlet* baseball basketball boxer* boxing champion* coach* contender cricket football golf* hockey jockey
    league marathon match olympi* player* racing race* runner* skating soccer sport* surf* team tennis
    tournament* train* wrestl* ring racer*`,
  thriller: `
    abduct* assassin* blackmail* bomb* captive chase* conspir* cia danger* deadly desperate escape* espionage
    fear* fbi frame* fugitive game hostage* hunt* kidnap* killer* kill* life-threatening murder* mysterious
    obsess* paranoi* plot* psycho* psychopath* pursu* ransom secret* serial sinister spy spies stalk* survive*
    suspens* target* terror* threat* trap* trapped victim* violent wanted witness*`,
  war: `
    allied allies army battalion battlefield* bunker captain combat commander front general german gestapo
    infantry invad* invasion iraq japanese korea marine* military nazi* normandy officer* pilot* platoon pows
    prisoner-of-war regiment resistance sergeant soldier* squad submarine* troop* vietnam war wartime wars wwi
    wwii d-day`,
  western: `
    apache* bandit* bounty bandits cattle comanche* cowboy* frontier gunfighter* gunman gunslinger* indian*
    mexican outlaw* posse ranch* saloon settler* sheriff* stagecoach texas west western wagon* rancher`,
};

interface Stems {
  readonly words: ReadonlyMap<string, readonly string[]>;
  /** By their first three letters. */
  readonly stems: ReadonlyMap<string, readonly { readonly stem: string; readonly genre: string }[]>;
}

const STEM_LETTERS = 3;
/** Genres below this share of the best score are dropped. */
const SCORE_SHARE_MIN = 0.5;
const WORDS_REMEMBERED_MAX = 50_000;
const INDEX: Stems = buildIndex();

function buildIndex(): Stems {
  const words = new Map<string, string[]>();
  const stems = new Map<string, { stem: string; genre: string }[]>();
  for (const [genre, list] of Object.entries(LEXICON)) {
    for (const entry of list.trim().split(/\s+/)) {
      if (!entry.endsWith("*")) words.set(entry, [...(words.get(entry) ?? []), genre]);
      else {
        const stem = entry.slice(0, -1);
        const key = stem.slice(0, STEM_LETTERS);
        stems.set(key, [...(stems.get(key) ?? []), { stem, genre }]);
      }
    }
  }
  return { words, stems };
}

function genresOfWord(word: string): readonly string[] {
  const singular = word.endsWith("s") ? word.slice(0, -1) : word;
  const hits = new Set([...(INDEX.words.get(word) ?? []), ...(INDEX.words.get(singular) ?? [])]);
  for (const { stem, genre } of INDEX.stems.get(word.slice(0, STEM_LETTERS)) ?? []) {
    if (word.startsWith(stem)) hits.add(genre);
  }
  return [...hits];
}

const rememberedGenres = remembering(genresOfWord, WORDS_REMEMBERED_MAX);

/** The genres whose words the text has, best first. A word that indicates several counts less for each. */
export function genresOf(text: string): string[] {
  const scores = new Map<string, number>();
  for (const word of new Set(wordsOf(text))) {
    const spokenFor = rememberedGenres(word);
    for (const genre of spokenFor) scores.set(genre, (scores.get(genre) ?? 0) + 1 / spokenFor.length);
  }
  const sorted = [...scores].sort(([, a], [, b]) => b - a);
  const least = SCORE_SHARE_MIN * (sorted[0]?.[1] ?? 0);
  return sorted.filter(([, score]) => score >= least).map(([genre]) => genre);
}
