/**
 * Writes the tables of the references from the code: the options of docs/cli.md from commander's own definitions, the
 * keys of docs/configuration.md from src/config/spec.ts (meaning, default) and from what the config itself says that
 * it expects, and the steps of docs/internals/state-machine.md from src/worker/step-names.ts, the promises and
 * options of docs/providers.md from the adapters. The third column of the options, `more`, is the page's own and
 * stays. `--check`: compares instead of writing. Needs a build in dist.
 */
import { readFile, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { format, resolveConfig } from "prettier";
import ts from "typescript-5.9";
import { buildProgram } from "../dist/cli/program.js";
import { openTerminal } from "../dist/cli/screen/terminal.js";
import { ConfigError } from "../dist/config/read/problems.js";
import { validateConfig } from "../dist/config/read/validate.js";
import { promiseOf } from "../dist/model/words/promise.js";
import { ADAPTERS } from "../dist/providers/adapters.js";
import { STEP_NAMES } from "../dist/worker/step-names.js";

const repository = dirname(dirname(fileURLToPath(import.meta.url)));
/** Of nearly all commands: one table has them. */
const COMMON_OPTIONS = ["-c, --config <file>", "--log-level <level>"];

await rewrite("docs/cli.md", writeOptions);
await rewrite("docs/configuration.md", writeKeys);
await rewrite("docs/internals/state-machine.md", writeSteps);
await rewrite("docs/providers.md", writeProviders);

async function rewrite(name, write) {
  const file = join(repository, name);
  const before = await readFile(file, "utf8");
  const after = await format(await write(before), { ...(await resolveConfig(file)), filepath: file });
  if (!process.argv.includes("--check")) return writeFile(file, after);
  if (before === after) return console.log(`${name} is as the code says`);
  const lines = after.split("\n");
  const at = before.split("\n").findIndex((line, index) => line !== lines[index]);
  throw new Error(
    `${name}, line ${at + 1} would be:\n${lines[at] ?? "(the end)"}\nRegenerate it: npm run build && node scripts/write-reference.mjs`,
  );
}

function writeOptions(page) {
  const program = buildProgram({ terminal: openTerminal(), finish: () => undefined });
  const complete = program.commands.find((command) => commonOf(command).length === COMMON_OPTIONS.length);
  // The first table of the page.
  const common = replaceTable(page, commonOf(complete));
  return program.commands.reduce((text, command) => {
    const own = command.options.filter((option) => !COMMON_OPTIONS.includes(option.flags));
    if (own.length === 0) return text;
    const heading = new RegExp(`^### \`rowmill ${command.name()}(?: .*)?\`$`, "m").exec(text);
    if (heading === null) throw new Error(`docs/cli.md has no section for ${command.name()}.`);
    const [before, after] = [text.slice(0, heading.index), text.slice(heading.index)];
    const end = after.slice(3).search(/^#{2,3} /m);
    const section = end < 0 ? after : after.slice(0, end + 3);
    return before + replaceTable(section, own) + after.slice(section.length);
  }, common);
}

function commonOf(command) {
  return command.options.filter((option) => COMMON_OPTIONS.includes(option.flags));
}

function replaceTable(section, options) {
  const table = /^\| option .*\n(?:\|.*\n)+/m.exec(section);
  if (table === null) throw new Error(`docs/cli.md has no table for the options ${options.map(({ flags }) => flags)}.`);
  const notes = new Map(
    table[0].split("\n").map((line) => {
      const [, flags = "", , more = ""] = line.split(/(?<!\\)\|/).map((cell) => cell.trim());
      return [flags, more];
    }),
  );
  const rows = options.map((option) => {
    const flags = `\`${option.flags}\``;
    return [flags, meaningOf(option), notes.get(flags) ?? ""];
  });
  const wide = rows.some(([, , more]) => more !== "");
  const header = wide ? ["option", "meaning", "more"] : ["option", "meaning"];
  return section.replace(table[0], () => tableOf(header, rows));
}

function meaningOf({ description, mandatory, argChoices, defaultValue }) {
  const required = mandatory ? "required: " : "";
  const choices = argChoices === undefined ? "" : ` (${argChoices.map((word) => `\`${word}\``).join(", ")})`;
  const otherwise = defaultValue === undefined ? "" : `. Default: \`${defaultValue}\``;
  return `${required}${cellText(description)}${choices}${otherwise}`;
}

/** Header and rows as Markdown; cells beyond the header are left out. */
function tableOf(header, rows) {
  const line = (cells) => `| ${cells.slice(0, header.length).join(" | ")} |\n`;
  return line(header) + line(header.map(() => "---")) + rows.map(line).join("");
}

/** Names and signs of code that Markdown would take for its own. */
function cellText(text) {
  return text
    .replaceAll("|", "\\|")
    .replaceAll(/(?<![`\w])(--[a-z-]+|'[^']+'|\.?\/?rowmill-demo)(?![`\w])/g, "`$1`")
    .replaceAll("*", "\\*");
}

function writeSteps(page) {
  const mark = /(<!-- written by scripts\/write-reference\.mjs -->\n\n)\| step .*\n(?:\|.*\n)+/;
  if (!mark.test(page)) throw new Error("docs/internals/state-machine.md lacks a mark.");
  const rows = Object.entries(STEP_NAMES).map(([name, meaning]) => [`\`${name}\``, cellText(meaning)]);
  return page.replace(mark, (_, before) => before + tableOf(["step", "what it does"], rows));
}

async function writeProviders(page) {
  const dialects = ADAPTERS.map(({ choice }) => choice.dialect);
  const promises = dialects.map(({ title, recovery }) => {
    const { found, fenced, paidTwice } = promiseOf(recovery);
    return [title, found, fenced, paidTwice];
  });
  const limits = dialects.map(({ title, limits: of }) => [
    title,
    of.requestsMax.toLocaleString("en-US"),
    `${(of.bytesMax / 1_000_000).toLocaleString("en-US")} MB`,
    `${of.windowHours} hours`,
    `${of.resultsKeptHours / 24} days`,
  ]);
  const source = await sourceOf("src/providers/openai/openai.ts");
  const options = membersOf(source, "OpenAIConfig").map((member) => [
    `\`${member.name}\``,
    plain(member.meaning),
    plain(member.default),
  ]);
  const tables = [
    tableOf(["option", "meaning", "default"], options),
    tableOf(["provider", "how a lost batch is found", "what is fenced", "what could be paid twice"], promises),
    tableOf(["provider", "requests a batch", "bytes a batch", "window", "results are kept"], limits),
  ];
  const mark = /(<!-- written by scripts\/write-reference\.mjs -->\n\n)\|.*\n(?:\|.*\n)+/g;
  if (page.match(mark)?.length !== tables.length) throw new Error("docs/providers.md lacks a mark.");
  return page.replace(mark, (_, before) => before + tables.shift());
}

async function sourceOf(name) {
  const text = await readFile(join(repository, name), "utf8");
  return ts.createSourceFile(name, text, ts.ScriptTarget.Latest, true);
}

/**
 * Under each key's heading: meaning, values and default from the code. The example and what follows it are the page's
 * own.
 */
async function writeKeys(page) {
  const source = await sourceOf("src/config/spec.ts");
  const keys = [...membersOf(source, "ConfigSpec"), ...pipelineKeys(source), ...pushKeys(source)];
  return keys.reduce((text, key) => {
    const level = key.name.includes(".") ? "####" : "###";
    const heading = `${level} \`${key.name}\`\n\n<!-- written by scripts/write-reference.mjs -->\n\n`;
    const at = text.indexOf(heading);
    if (at < 0) throw new Error(`docs/configuration.md lacks a section for ${key.name}.`);
    const [before, after] = [text.slice(0, at + heading.length), text.slice(at + heading.length)];
    return before + after.replace(/^.*\n\n(?:- .*\n)+/, () => blockOf(key));
  }, page);
}

/** The keys of a pipeline and those inside of them, as `source.table`. */
function pipelineKeys(source) {
  return membersOf(source, "PipelineSpec").flatMap((member) => {
    const inside = insideOf(source, member.type).map((key) => ({
      ...key,
      name: `${member.name}.${key.name}`,
    }));
    return [{ ...member, inside: inside.map(({ name }) => name) }, ...inside];
  });
}

/** The other form of `source`, by the names of what `push` takes. */
function pushKeys(source) {
  const made = source.statements.find((node) => ts.isFunctionDeclaration(node) && node.name?.text === "push");
  const doc = ts.getJSDocCommentsAndTags(made).map((node) => node.comment)[0];
  const inside = membersOf(source, "PushSpec").map((key) => ({ ...key, name: `push.${key.name}` }));
  const meaning = doc.replaceAll(/\s+/g, " ");
  return [{ name: "push", type: made, meaning, default: "", inside: inside.map(({ name }) => name) }, ...inside];
}

function insideOf(source, type) {
  if (ts.isUnionTypeNode(type)) return type.types.flatMap((one) => insideOf(source, one));
  if (ts.isTypeLiteralNode(type)) return type.members.map((member) => readMember(source, member));
  const name = ts.isTypeReferenceNode(type) ? type.typeName.getText(source) : "";
  return name.endsWith("Spec") ? membersOf(source, name) : [];
}

function membersOf(source, name) {
  const found = source.statements.find((node) => ts.isInterfaceDeclaration(node) && node.name.text === name);
  if (found === undefined) throw new Error(`${source.fileName} has no interface ${name}.`);
  return found.members.map((member) => readMember(source, member));
}

function readMember(source, member) {
  const doc = ts.getJSDocCommentsAndTags(member).map((node) => node.comment)[0];
  if (typeof doc !== "string") throw new Error(`${member.name.getText(source)} has no comment in ${source.fileName}.`);
  const [meaning = "", otherwise] = doc.replaceAll(/\s+/g, " ").split(/ ?Default: /);
  return {
    name: member.name.getText(source),
    type: member.type,
    meaning,
    default: otherwise?.replace(/\.$/, "") ?? (member.questionToken ? "" : "required"),
    inside: [],
  };
}

/** A sentence that says no more than the values do is left out. */
function blockOf(key) {
  const meaning = key.meaning.replace(/ (?:Whole number(?:,| from) )?\d[\d,]*(?: to \d[\d,]*)?\.$/, "");
  const values = expectedAt(key.name).replace(/^a duration such as .*, from/, "duration from");
  const links = key.inside.map((name) => `[\`${name}\`](#${name.replace(".", "").toLowerCase()})`);
  const otherwise = key.default === "required" ? "- Required" : `- Default: ${key.default.replace(/\.$/, "")}`;
  const lines = [
    links.length > 0 ? `- Keys: ${links.join(", ")}` : `- Values: ${values.replace(/\.$/, "")}`,
    ...(key.default === "" ? [] : [otherwise]),
  ];
  return `${meaning.replace(/\.?$/, ".")}\n\n${lines.join("\n")}\n`;
}

function plain(text) {
  return text.replace(/\.$/, "").replaceAll("|", "\\|");
}

/** Asked of the config itself, by a value that no key takes. */
function expectedAt(name) {
  const wrong = new Date(0);
  const top = name === "database" || name === "http" || name === "pipelines";
  const isPush = name.startsWith("push");
  const [section, key] = (isPush ? name.replace("push", "source") : name).split(".");
  const films = { [section]: key === undefined ? wrong : { ...(isPush ? { push: true } : {}), [key]: wrong } };
  const definition = top ? { [name]: wrong } : { database: "embedded", pipelines: { films } };
  const path = top ? name : `pipelines.films.${key === undefined ? section : `${section}.${key}`}`;
  try {
    validateConfig(definition, { file: "rowmill.config.ts", language: "script", databaseUrl: null });
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    const answer = error.problems.find((problem) => problem.path === path);
    if (answer !== undefined) return answer.expected;
  }
  throw new Error(`The config takes anything at ${name}.`);
}
