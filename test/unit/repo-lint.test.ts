/** What the linter must refuse, planted in a tree of its own: a rule that refuses nothing is no rule. */
import { execFile } from "node:child_process";
import { copyFile, mkdir, mkdtemp, readdir, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { z } from "zod";

const repository = join(import.meta.dirname, "../..");

/** One file of each kind that a folder might import. */
const candidates = [
  "model/errors.js",
  "model/pipeline.js",
  "model/provider/provider.js",
  "postgres/database.js",
  "postgres/failure.js",
  "store/requests/queue.js",
  "sources/source.js",
  "sources/table/inspection.js",
  "sources/table/rows.js",
  "targets/target.js",
  "targets/table/table-target.js",
  "providers/adapters.js",
  "providers/openai/adapter.js",
  "config/load/load.js",
  "config/read/readers.js",
  "config/database/connection.js",
  "embedded/embedded.js",
  "files/look-at-file.js",
  "worker/context.js",
  "worker/rounds/intake.js",
  "worker/turn/advance.js",
  "worker/process/worker.js",
  "app/open/open-project.js",
  "gateway/gateway.js",
  "http/serve.js",
  "cli/main.js",
  "version.js",
  "index.js",
];
const model = ["model/errors.js", "model/pipeline.js", "model/provider/provider.js"];
const postgres = [...model, "postgres/database.js", "postgres/failure.js"];
const ledger = [...postgres, "store/requests/queue.js"];
const config = ["config/load/load.js", "config/read/readers.js", "config/database/connection.js"];
const worker = ["worker/context.js", "worker/rounds/intake.js", "worker/turn/advance.js", "worker/process/worker.js"];
const elsewhere = [
  ...postgres,
  "files/look-at-file.js",
  "sources/table/inspection.js",
  "config/database/connection.js",
];
const stage = [...ledger, "sources/source.js", "sources/table/inspection.js", "targets/target.js", "version.js"];

/** Who may import what beside its own files: one way, from the stable to the changing. */
const allowed: Readonly<Record<string, readonly string[]>> = {
  model: [],
  postgres: model,
  config: [...model, "postgres/failure.js", "index.js", "providers/adapters.js"],
  "config/read": [...model, "postgres/failure.js", "index.js", "providers/adapters.js", "config/read/readers.js"],
  embedded: model,
  files: model,
  "files/parquet": model,
  http: [],
  service: [...ledger, "http/serve.js", "version.js"],
  gateway: ["model/errors.js", "http/serve.js"],
  store: postgres,
  "store/requests": postgres,
  sources: ledger,
  targets: [...postgres, "sources/table/inspection.js"],
  providers: model,
  "providers/vendor": model,
  connectors: elsewhere,
  "connectors/vendor": elsewhere,
  testing: model,
  worker: stage,
  "worker/rounds": [...stage, "worker/context.js", "worker/rounds/intake.js"],
  "worker/turn": [...stage, "worker/context.js", "worker/rounds/intake.js", "worker/turn/advance.js"],
  app: [
    ...ledger,
    "sources/source.js",
    "sources/table/inspection.js",
    "sources/table/rows.js",
    "targets/target.js",
    "targets/table/table-target.js",
    "providers/adapters.js",
    "embedded/embedded.js",
    "files/look-at-file.js",
    ...config,
    ...worker,
  ],
  cli: [
    ...ledger,
    "providers/adapters.js",
    "embedded/embedded.js",
    "files/look-at-file.js",
    ...config,
    ...worker,
    "app/open/open-project.js",
    "gateway/gateway.js",
    "version.js",
  ],
};
/** Those in which the rooms have an order, too; elsewhere a folder's own files are its own affair. */
const ordered = /^(worker|config)\//;

/** File → its text and the rules that it breaks. */
/** Over 120 columns that no one can break. */
const words = "word ".repeat(30).trim();

const planted: Readonly<Record<string, { text: string; rules: readonly string[] }>> = {
  "src/store/cycle-a.ts": {
    text: 'import { b } from "./cycle-b.js";\nexport const a = (): number => b;\n',
    rules: ["import(no-cycle)"],
  },
  "src/store/cycle-b.ts": {
    text: 'import { a } from "./cycle-a.js";\nexport const b = a();\n',
    rules: ["import(no-cycle)"],
  },
  "src/store/empty-catch.ts": {
    text: "export function f(g: () => void): void {\n  try {\n    g();\n  } catch {}\n}\n",
    rules: ["eslint(no-empty)"],
  },
  "src/store/any-type.ts": {
    text: "export const f = (x: any): number => Number(x);\n",
    rules: ["typescript(no-explicit-any)"],
  },
  "src/store/ignored-error.ts": {
    text: "// @ts-ignore\nexport const X: number = 1;\n",
    rules: ["typescript(ban-ts-comment)"],
  },
  "src/store/talkative.ts": { text: 'console.log("here");\nexport {};\n', rules: ["eslint(no-console)"] },
  "src/store/unused.ts": {
    text: "const LEFT = 1;\nexport const RIGHT = 2;\n",
    rules: ["eslint(no-unused-vars)"],
  },
  "src/store/floating.ts": {
    text: "async function work(): Promise<void> {}\nexport function start(): void {\n  work();\n}\n",
    rules: ["typescript(no-floating-promises)"],
  },
  "src/store/BadName.ts": { text: "export const X = 1;\n", rules: ["unicorn(filename-case)"] },
  "src/store/long-file.ts": {
    text: Array.from({ length: 401 }, (_, index) => `export const X${index} = ${index};\n`).join(""),
    rules: ["eslint(max-lines)"],
  },
  "src/store/long-function.ts": {
    text: `export function f(x: number): number {\n  let y = x;\n${"  y += 1;\n".repeat(70)}  return y;\n}\n`,
    rules: ["eslint(max-lines-per-function)"],
  },
  "test/unit/only.test.ts": {
    text: 'import { expect, it } from "vitest";\nit.only("is alone", () => expect(1).toBe(1));\n',
    rules: ["vitest(no-focused-tests)"],
  },
  "src/worker/without-step.ts": {
    text: [
      "interface Context {",
      "  readonly database: { readonly rows: () => Promise<void> };",
      "  readonly provider: { readonly forget: () => Promise<void> };",
      "  readonly staging: { readonly send: () => Promise<void> };",
      "  readonly step: (name: string, work: () => Promise<void>) => Promise<void>;",
      "}",
      "export async function f(context: Context): Promise<void> {",
      "  await context.provider.forget();",
      "  await context.staging.send();",
      "  const { database } = context;",
      "  await database.rows();",
      "  await context.database.rows();",
      '  await context.step("clean.forget", () => context.provider.forget());',
      '  await context.step("clean.ledger", () => context.database.rows());',
      "}",
      "",
    ].join("\n"),
    rules: Array.from({ length: 4 }, () => "rowmill(through-step)"),
  },
  "src/store/dialect.ts": {
    text: "export interface Batch {\n  id: string;\n}\nexport interface Line {\n  no: number;\n}\nexport function claim(...facts: unknown[]): void {\n  void facts;\n}\n",
    rules: [],
  },
  "src/app/dialect.ts": {
    text: [
      'import { claim, type Batch } from "../store/dialect.js";',
      'import * as batches from "../store/dialect.js";',
      'import type { Line } from "../store/dialect.js";',
      "export const idsMax = 5;",
      'export const roomNames = ["a"] as const;',
      "export const pattern = /x/;",
      'export const bounds = { low: 1, names: ["a"] };',
      "export const known = new Set([1]);",
      "export const seen = new Map<string, Batch | Line>();",
      "export const work = (): void => claim(batches, idsMax);",
      "export const reader = { read: work };",
      "export class Reader {",
      "  private bytes = 0;",
      "  #rows = 0;",
      "  private readAll(): number {",
      "    return this.bytes + this.#rows;",
      "  }",
      "  private constructor() {",
      "    this.readAll();",
      "  }",
      "}",
      `// ${"x".repeat(118)}`,
      `// ${"x".repeat(117)}`,
      "",
    ].join("\n"),
    rules: [...Array.from({ length: 8 }, () => "rowmill(one-dialect)"), "rowmill(short-lines)"],
  },
  "src/store/long-text.ts": { text: `export const TEXT = "${words}";\n`, rules: ["rowmill(short-lines)"] },
  "test/long-texts.ts": {
    text: [
      `export const TITLE = "${words}";`,
      `export const PATTERN = /${words}/;`,
      "export const OUTPUT = `problem",
      `  ${words} \${TITLE}`,
      "`;",
      "",
    ].join("\n"),
    rules: [],
  },
  "test/long-lines.ts": {
    text: [
      `// ${words}`,
      `export const STATEMENT = "select ${words.replaceAll(" ", ", ")} from films";`,
      "export const STATEMENTS = `",
      `  alter table films add column ${words.replaceAll(" ", ", add column ")}`,
      "`;",
      `export const CONFIG = "films: pipeline({ ${words} })";`,
      `export const NUMBERS = [${Array.from({ length: 60 }, (_, n) => n).join(", ")}];`,
      "",
    ].join("\n"),
    rules: Array.from({ length: 5 }, () => "rowmill(short-lines)"),
  },
  "bench/long-line.ts": { text: `// ${words}\nexport {};\n`, rules: ["rowmill(short-lines)"] },
  "scripts/long-line.mjs": { text: `// ${words}\nexport {};\n`, rules: ["rowmill(short-lines)"] },
  "src/cli/talkative.ts": { text: 'console.log("here");\nexport {};\n', rules: [] },
  "src/gateway/command.ts": { text: 'console.log("here");\nexport {};\n', rules: [] },
};

const reportSchema = z.object({
  diagnostics: z.array(
    z.object({
      code: z.string(),
      filename: z.string(),
      labels: z.array(z.object({ span: z.object({ line: z.number() }) })),
    }),
  ),
});

interface Finding {
  readonly file: string;
  readonly rule: string;
  readonly line: number;
}

let folder: string;
let findings: readonly Finding[];

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "rowmill-lint-"));
  await copyFile(join(repository, ".oxlintrc.json"), join(folder, ".oxlintrc.json"));
  await copyFile(join(repository, "tsconfig.json"), join(folder, "tsconfig.json"));
  await mkdir(join(folder, "scripts"));
  await copyFile(join(repository, "scripts/lint-rules.js"), join(folder, "scripts/lint-rules.js"));
  await writeFile(join(folder, "package.json"), '{ "type": "module" }\n');
  await symlink(join(repository, "node_modules"), join(folder, "node_modules"));
  for (const name of Object.keys(allowed)) {
    const up = name.replaceAll(/[^/]+/g, "..");
    await plant(`src/${name}/importer.ts`, candidates.map((path) => `import "${up}/${path}";\n`).join(""));
  }
  for (const [file, { text }] of Object.entries(planted)) await plant(file, text);
  findings = await lint();
});
afterAll(() => rm(folder, { recursive: true, force: true }));

async function plant(file: string, text: string): Promise<void> {
  await mkdir(join(folder, file, ".."), { recursive: true });
  await writeFile(join(folder, file), text);
}

async function lint(): Promise<Finding[]> {
  const command = join(repository, "node_modules/.bin/oxlint");
  const run = promisify(execFile)(command, ["--type-aware", "-f", "json", "src", "test", "bench", "scripts"], {
    cwd: folder,
  });
  // It found something: exit status 1, and the report on the standard output.
  const { stdout } = await run.catch((error: { stdout: string }) => error);
  return reportSchema.parse(JSON.parse(stdout)).diagnostics.map(({ code, filename, labels }) => ({
    file: filename,
    rule: code,
    line: labels[0]?.span.line ?? 0,
  }));
}

describe("The linter", () => {
  it.each(Object.keys(allowed))("lets src/%s import what it may know, and nothing else", (name) => {
    const refused = findings
      .filter(({ file, rule }) => file === `src/${name}/importer.ts` && rule === "rowmill(one-way)")
      .map(({ line }) => candidates[line - 1] ?? "");
    const own = ordered.test(name) ? "" : `${name.replace(/\/.*/, "")}/`;
    const isOwn = (path: string) => own !== "" && path.startsWith(own) && name !== "providers/vendor";
    const others = candidates.filter((path) => !isOwn(path) && !(allowed[name] ?? []).includes(path));
    expect(refused.toSorted()).toEqual(others.toSorted());
  });

  it("has a direction for every folder of src", async () => {
    const entries = await readdir(join(repository, "src"), { withFileTypes: true });
    const folders = entries.filter((entry) => entry.isDirectory()).map((entry) => entry.name);
    expect(folders.toSorted()).toEqual(
      [...new Set(Object.keys(allowed).map((name) => name.replace(/\/.*/, "")))].toSorted(),
    );
  });

  it.each(Object.keys(planted))("finds in %s what is wrong there", (planting) => {
    const rules = findings.filter(({ file }) => file === planting).map(({ rule }) => rule);
    expect(rules).toEqual(planted[planting]?.rules);
  });
});
