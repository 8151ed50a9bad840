/**
 * What a user of the installed package meets in the editor: types under node16 and bundler resolution and two compilers, and the
 * API at run time. Usage: node scripts/check-package-types.mjs FOLDER, where the package is installed.
 */
import { execFileSync } from "node:child_process";
import { copyFileSync, writeFileSync } from "node:fs";
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

for (const compiler of compilers) {
  for (const resolution of resolutions) {
    const typeRoots = [join(repository, "node_modules/@types")];
    const compilerOptions = {
      ...resolution,
      target: "es2023",
      strict: true,
      noEmit: true,
      skipLibCheck: true,
    };
    writeFileSync(
      join(folder, "tsconfig.json"),
      JSON.stringify({
        compilerOptions: { ...compilerOptions, typeRoots, types: ["node"] },
        include: ["*.ts"],
      }),
    );
    const tsc = join(repository, "node_modules", compiler, "bin/tsc");
    execFileSync(process.execPath, [tsc, "-p", folder], { stdio: "inherit" });
    console.log(`types resolve: ${compiler}, ${resolution.moduleResolution}`);
  }
}

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
  console.log("the API works:", Object.keys(rowmill).sort().join(", "));
`;
execFileSync(process.execPath, ["--input-type=module", "-e", program], { cwd: folder, stdio: "inherit" });
