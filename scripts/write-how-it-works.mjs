/**
 * Writes the tables of docs/how-it-works.md: runs the steps that the page tells with the built command line on a
 * fresh PostgreSQL, and puts what the database then holds under the page's marks. The config is the one that the page
 * shows. Ids that differ from run to run are replaced. `--check`: compares instead of writing. Needs a build in dist.
 */
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { format, resolveConfig } from "prettier";
import { asTable, repository, startDocsProject } from "./docs-project.mjs";

const page = join(repository, "docs", "how-it-works.md");
const mark = (name) => new RegExp(`(<!-- written by a script: ${name} -->\\n\\n)\`\`\`\\w*\\n[\\s\\S]*?\`\`\``);
const roundsMax = 40;
const roundPauseMs = 500;
const requests = `select id, key, state, attempt,
  left(encode(content_hash, 'hex'), 12) as content_hash,
  left(encode(answered_hash, 'hex'), 12) as answered_hash
from rowmill.requests
order by id`;
const attempts =
  "select request_id, attempt, ending, outcome, input_tokens, output_tokens, cost_nano_usd from rowmill.attempts";
/** In place of the first digits of batches, in the order of their planning. */
const batchNames = ["3473fe9e", "a90c11d2"];

// Slow enough that a round ends while the batch is still at the provider.
const project = await startDocsProject({ gateway: { batchDelayMs: 2_000 } });
try {
  const before = await readFile(page, "utf8");
  const blocks = await tellOneLife(before);
  const written = await stable(Object.entries(blocks).reduce(putBlock, before));
  const after = await format(written, { ...(await resolveConfig(page)), filepath: page });
  if (process.argv.includes("--check")) compare(before, after);
  else await writeFile(page, after);
} finally {
  await project.close();
}

/** Each block by its name on the page. */
async function tellOneLife(text) {
  const [, config = ""] = /<!-- the config of this page -->\n\n```ts\n([\s\S]*?)```/.exec(text) ?? [];
  await writeFile(join(project.folder, "rowmill.config.ts"), config);
  const blocks = {};
  await project.client.query(
    "create table films (id bigint primary key, title text not null, description text not null)",
  );
  await once();
  blocks.installed = await asked(
    "select tgname, pg_get_triggerdef(oid) ~ 'FOR EACH STATEMENT' as per_statement " +
      "from pg_trigger where tgrelid = 'films'::regclass order by 1",
  );
  await run(
    "insert into films values (1, 'The General', 'An engine driver chases the spies who stole his locomotive.')",
  );
  await run("insert into films values (2, 'M', 'A city hunts a murderer, and so do its thieves.')");
  blocks.arrived = await asked("select pipeline_id, keys from rowmill.arrivals order by arrived_at");
  await once();
  blocks.waiting = await asked(requests);
  await run(
    "insert into films values (3, 'Metropolis', 'The son of the master falls in love with a prophet of the workers.')",
  );
  await once();
  blocks.batched = await asked(requests);
  blocks.running = await asked(
    "select left(id::text, 8) as id, state, requests, lines, provider, reserved_nano_usd from rowmill.batches",
  );
  blocks.line = await firstLineAtProvider();
  await untilSettled(1);
  blocks.settled = await asked("select from_state, to_state, reason from rowmill.batch_events order by id");
  blocks.attempts = await asked(`${attempts} order by 1, 2`);
  blocks.answered = await asked(requests);
  blocks.answers = await asked("select id, categories, rowmill_model from film_labels order by id");
  await run("update films set description = 'A driver, a locomotive, a war, and a girl in a sack.' where id = 1");
  await once();
  blocks.changed = await asked(requests);
  await project.run("rowmill", ["flush", "films"]);
  await untilSettled(2);
  blocks.again = await asked(`${attempts} where request_id = 1 order by 2`);
  await run("delete from films where id = 2");
  await once();
  blocks.gone = await asked(requests);
  blocks.kept = await asked("select id, categories from film_labels order by id");
  const audit = await project.run("rowmill", ["doctor", "--audit"]);
  return { ...blocks, audit: `$ rowmill doctor --audit\n\n${audit.trimEnd()}` };
}

function run(statement) {
  return project.client.query(statement);
}

function once() {
  return project.run("rowmill", ["up", "--once"]);
}

async function untilSettled(batches) {
  for (let round = 0; round < roundsMax; round++) {
    const { rows } = await run("select 1 from rowmill.batches where settled_at is not null");
    if (rows.length === batches) return;
    await pause(roundPauseMs);
    await once();
  }
  throw new Error(`${batches} batches were not settled after ${roundsMax} rounds.`);
}

/** The file as the provider has it, its first line laid out for people. */
async function firstLineAtProvider() {
  const headers = { authorization: "Bearer documentation" };
  const { data } = await (await fetch(`${project.gateway.url}/files?purpose=batch`, { headers })).json();
  const text = await (await fetch(`${project.gateway.url}/files/${data[0].id}/content`, { headers })).text();
  return JSON.stringify(JSON.parse(text.split("\n")[0]), undefined, 2);
}

/** The statement and what it gives, as psql shows it. */
async function asked(statement) {
  return `${wrapped(statement)};\n\n${asTable(await run(statement))}`;
}

/** A clause a line, where one line would be too long. */
function wrapped(statement) {
  return statement.length <= 90 ? statement : statement.replaceAll(/ (?=(?:from|where|order by) )/g, "\n");
}

function putBlock(text, [name, block]) {
  const at = mark(name);
  if (!at.test(text)) throw new Error(`docs/how-it-works.md has no mark for "${name}".`);
  const language = block.startsWith("{") ? "json" : "text";
  return text.replace(at, (_, before) => `${before}\`\`\`${language}\n${block}\n\`\`\``);
}

async function stable(text) {
  const { rows } = await run("select left(id::text, 8) as id from rowmill.batches order by planned_at");
  return rows.reduce((rest, { id }, index) => rest.replaceAll(id, batchNames[index] ?? "00000000"), text);
}

function compare(before, after) {
  if (before === after) return console.log("docs/how-it-works.md is as the database says");
  const lines = after.split("\n");
  const at = before.split("\n").findIndex((line, index) => line !== lines[index]);
  throw new Error(
    `docs/how-it-works.md, line ${at + 1} would be:\n${lines[at] ?? "(the end)"}\nWrite it again: node scripts/write-how-it-works.mjs`,
  );
}
