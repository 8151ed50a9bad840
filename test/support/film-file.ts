/** The films as the file that an analyst has: its first column has no name, as in the list itself. */
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { parse } from "csv-parse/sync";
import { lookAtFile } from "../../src/files/look-at-file.js";
import { openWriter } from "../../src/files/open-writer.js";
import { readRecords } from "../../src/files/read-records.js";
import type { CliProject } from "./cli.js";
import { films } from "./films.js";

export const QUESTION = [
  "--prompt",
  "Categorise: {{ Description }}",
  "--model",
  "gpt-4o-mini",
  "--answer",
  "categories:string[],summary:string",
] as const;

const HEADER = ",Title,Description";

/** One line a film, without its end. */
export function filmLines(count: number): string[] {
  return films()
    .slice(0, count)
    .map(({ id, title, description }) => [String(id), quoted(title), quoted(description)].join(","));
}

function quoted(text: string): string {
  return `"${text.replaceAll('"', '""')}"`;
}

export async function writeFilms({ folder }: CliProject, lines: readonly string[], name = "films.csv"): Promise<void> {
  await writeFile(join(folder, name), `${[HEADER, ...lines].join("\n")}\n`);
}

/** The output's text, and its cells without the header. */
export async function readOutput(
  { folder }: CliProject,
  name = "labelled.csv",
): Promise<{ readonly text: string; readonly header: readonly string[]; readonly rows: readonly string[][] }> {
  const text = await readFile(join(folder, name), "utf8");
  const [header = [], ...rows] = parse(text) as string[][];
  return { text, header, rows };
}

/** The films as a file of another format, by the ending of its name. */
export async function convertFilms({ folder }: CliProject, name: string): Promise<void> {
  if (name === "films.csv") return;
  const look = await lookAtFile(join(folder, "films.csv"));
  const options = { answer: [], errors: false, escapeFormulas: false, overwrite: false };
  const writer = await openWriter(join(folder, name), look, options);
  for await (const { records } of readRecords(look))
    await writer.write(records.map((record) => ({ record, answer: null, error: null })));
  await writer.commit();
}
