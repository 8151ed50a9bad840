import { execFile } from "node:child_process";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { promisify } from "node:util";
import { describe, expect, onTestFinished, test } from "vitest";

const repository = path.resolve(import.meta.dirname, "../..");
const folder = path.join(repository, "test/types");

const compilers = [
  ["5.9", "typescript-5.9"],
  ["7", "typescript"],
] as const;

const casesMin = 15;

const directive = /^\s*\/\/ @ts-expect-error$/;

interface Compilation {
  readonly exitCode: number;
  /** `file(line,column): error …`, one an error. */
  readonly errors: readonly string[];
}

async function compile(compiler: string, project: string): Promise<Compilation> {
  const args = [
    path.join(repository, "node_modules", compiler, "bin/tsc"),
    "-p",
    project,
    "--noEmit",
    "--pretty",
    "false",
  ];
  const run = promisify(execFile)(process.execPath, args, { cwd: repository });
  const { stdout, code } = await run.then(
    (done) => ({ stdout: done.stdout, code: 0 }),
    (error: { stdout: string; code: number }) => error,
  );
  return { exitCode: code, errors: stdout.split("\n").filter((line) => / error TS\d+: /.test(line)) };
}

describe.each(compilers)("under TypeScript %s", (version, compiler) => {
  test("the compiler is of that version", async () => {
    const manifest: unknown = JSON.parse(
      await readFile(path.join(repository, "node_modules", compiler, "package.json"), "utf8"),
    );
    expect(manifest).toMatchObject({
      version: expect.stringMatching(new RegExp(`^${version.replace(".", "\\.")}\\.`)),
    });
  });

  test("the examples compile, what is inferred is exact, and every mistake is red", async () => {
    expect(await compile(compiler, folder)).toEqual({ exitCode: 0, errors: [] });
  });

  test("each mistake is one error of its own, in the line that the directive names", async () => {
    const text = await readFile(path.join(folder, "mistakes.ts"), "utf8");
    const lines = text.split("\n");
    const expected = lines.flatMap((line, index) => (directive.test(line) ? [index + 2] : []));
    expect(expected.length).toBeGreaterThanOrEqual(casesMin);
    const copy = await mkdtemp(path.join(tmpdir(), "rowmill-types-"));
    onTestFinished(() => rm(copy, { recursive: true, force: true }));
    await writeFile(path.join(copy, "mistakes.ts"), lines.map((line) => (directive.test(line) ? "" : line)).join("\n"));
    await writeFile(path.join(copy, "package.json"), '{"type":"module"}');
    await writeFile(
      path.join(copy, "tsconfig.json"),
      JSON.stringify({
        extends: path.join(folder, "tsconfig.json"),
        compilerOptions: {
          paths: { rowmill: [path.join(repository, "src/index.ts")] },
          typeRoots: [path.join(repository, "node_modules/@types")],
        },
        include: ["mistakes.ts"],
      }),
    );
    const { exitCode, errors } = await compile(compiler, copy);
    const found = errors.map((error) => Number(/mistakes\.ts\((\d+),/.exec(error)?.[1]));
    expect(exitCode).not.toBe(0);
    expect(found).toEqual(expected);
  });
});
