/**
 * What a user of the installed package meets in the editor: types under node16 and bundler resolution and two
 * compilers, in a module and in CommonJS, and the API at run time. Usage: node scripts/check-package-types.mjs
 * FOLDER, where the package is installed.
 */
import { execFileSync } from "node:child_process";
import { copyFileSync, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const repository = fileURLToPath(new URL("..", import.meta.url));
const folder = process.argv[2];
if (folder === undefined) throw new Error("Usage: node scripts/check-package-types.mjs FOLDER");

const compilers = ["typescript", "typescript-5.9"];
const resolutions = [
  { module: "node16", moduleResolution: "node16" },
  { module: "esnext", moduleResolution: "bundler" },
];

copyFileSync(join(repository, "test/types/example.ts"), join(folder, "rowmill.config.ts"));
writeFileSync(
  join(folder, "use.ts"),
  `import type { MovieLabel } from "./rowmill.config.js";
export const right: MovieLabel = { categories: ["drama"], summary: "Somebody does something." };
// @ts-expect-error: a summary is text
export const wrong: MovieLabel = { categories: ["drama"], summary: 1 };
`,
);

writeFileSync(
  join(folder, "suites.ts"),
  `import { defineSource, defineTarget } from "rowmill";
import { describeSource, describeTarget, type SourceUnderTest, type TargetUnderTest, type TestRunner } from "rowmill/testing";
declare const runner: TestRunner;
declare const rows: Omit<SourceUnderTest, "connect">;
declare const answers: Omit<TargetUnderTest, "connect">;
const source = defineSource({ key: "id", columns: ["text"], rows: async function* () { yield []; } });
const connect = () => defineTarget({ write: async () => {} });
const open = async () => ({ ...rows, connect: () => source.elsewhere });
describeSource("mine", { open, places: false, marks: false }, runner);
describeTarget("mine", async () => ({ ...answers, connect }), runner);
`,
);

for (const compiler of compilers) {
  for (const resolution of resolutions) compile(folder, compiler, { ...resolution, include: ["*.ts"] });
}

// In a project without `"type": "module"`: as `require` where the compiler knows that Node can, as `import()`
// everywhere.
const commonJs = join(folder, "commonjs");
mkdirSync(commonJs, { recursive: true });
writeFileSync(join(commonJs, "package.json"), JSON.stringify({ type: "commonjs" }));
copyFileSync(join(repository, "test/types/example.ts"), join(commonJs, "rowmill.config.ts"));
writeFileSync(
  join(commonJs, "later.ts"),
  `export const text = import("rowmill").then((rowmill) => rowmill.z.string());\n`,
);
for (const compiler of compilers) {
  compile(commonJs, compiler, { module: "nodenext", include: ["rowmill.config.ts"] });
  compile(commonJs, compiler, { module: "node16", include: ["later.ts"] });
}
const required = `
  if (typeof require("rowmill").pipeline !== "function") throw new Error("require gave something else");
  import("rowmill").then(({ pipeline }) => {
    if (pipeline !== require("rowmill").pipeline) throw new Error("there are two copies");
    console.log("the API works by require and by import()");
  });
`;
execFileSync(process.execPath, ["--input-type=commonjs", "-e", required], {
  cwd: commonJs,
  stdio: "inherit",
});

const program = `
  import * as rowmill from "rowmill";
  const { defineConfig, pipeline, z } = rowmill;
  const films = pipeline({
    source: { table: "films", key: "id", columns: ["title"] },
    request: { model: "gpt-4o-mini", user: (row) => row.title },
    answer: z.object({ genre: z.string() }),
    target: { table: "film_labels" },
  });
  const config = defineConfig({ database: "embedded", pipelines: { films } });
  if (config.pipelines.films !== films) throw new Error("defineConfig lost a pipeline");
  const suites = Object.keys(await import("rowmill/testing")).sort().join(", ");
  console.log("the API works:", Object.keys(rowmill).sort().join(", "), "and in rowmill/testing:", suites);
`;
execFileSync(process.execPath, ["--input-type=module", "-e", program], { cwd: folder, stdio: "inherit" });

function compile(place, compiler, { include, ...resolution }) {
  const compilerOptions = {
    ...resolution,
    target: "es2023",
    strict: true,
    noEmit: true,
    skipLibCheck: true,
    typeRoots: [join(repository, "node_modules/@types")],
    types: ["node"],
  };
  writeFileSync(join(place, "tsconfig.json"), JSON.stringify({ compilerOptions, include }));
  const tsc = join(repository, "node_modules", compiler, "bin/tsc");
  execFileSync(process.execPath, [tsc, "-p", place], { stdio: "inherit" });
  console.log(`types resolve: ${compiler}, ${Object.values(resolution).join(", ")}, ${include.join(" ")}`);
}
