/** What must hold of the repository's own files, beyond what a linter sees in one of them. */
import { readdir, readFile, stat } from "node:fs/promises";
import { basename, dirname, join, normalize, relative } from "node:path";
import { describe, expect, it } from "vitest";
import { z } from "zod";
import { costNanoUsd, formatUsd, listPrice } from "../../src/model/provider/pricing.js";

const repository = join(import.meta.dirname, "../..");
const notOurs = new Set(["node_modules", "dist", ".git", ".rowmill", "coverage"]);

const manifest = z
  .object({
    scripts: z.record(z.string(), z.string()),
    dependencies: z.record(z.string(), z.string()),
    devDependencies: z.record(z.string(), z.string()),
    overrides: z.record(z.string(), z.string()).default({}),
    files: z.array(z.string()),
    license: z.string(),
  })
  .parse(JSON.parse(await text("package.json")));

const lockSchema = z.object({
  packages: z.record(
    z.string(),
    z.object({
      version: z.string().optional(),
      optionalDependencies: z.record(z.string(), z.string()).default({}),
    }),
  ),
});

const files = await listFiles(repository);
const pages = files.filter((file) => file.endsWith(".md"));

async function listFiles(folder: string): Promise<string[]> {
  const entries = await readdir(folder, { withFileTypes: true });
  const nested = entries
    .filter((entry) => !notOurs.has(entry.name) && !entry.name.endsWith(".tgz"))
    .map(async (entry) => {
      const path = join(folder, entry.name);
      return entry.isDirectory() ? listFiles(path) : [relative(repository, path)];
    });
  return (await Promise.all(nested)).flat();
}

function text(file: string): Promise<string> {
  return readFile(join(repository, file), "utf8");
}

function exists(file: string): Promise<boolean> {
  return stat(join(repository, file)).then(
    () => true,
    () => false,
  );
}

/** Where the words that follow a pattern's first group are. */
async function allMatches(pattern: RegExp, within: readonly string[]): Promise<string[][]> {
  const found = await Promise.all(
    within.map(async (file) => [...(await text(file)).matchAll(pattern)].map(([, word = ""]) => [file, word])),
  );
  return found.flat();
}

describe("File names", () => {
  const code = files.filter((file) => /^(?:src|test|bench|scripts)\//.test(file));

  it("say what is inside", () => {
    const vague = /^(?:utils?|helpers?|common|types?|misc|.*-?manager|.*-utils?|.*-helpers?)\./;
    expect(code.length).toBeGreaterThan(200);
    expect(code.filter((file) => vague.test(basename(file)))).toEqual([]);
  });

  it("are kebab-case", () => {
    expect(code.filter((file) => !/^[a-z0-9]+(?:[-.][a-z0-9]+)*$/.test(basename(file)))).toEqual([]);
  });
});

describe("Source files", () => {
  it("open with a comment that says what they own", async () => {
    const sources = files.filter((file) => /^src\/.*\.ts$/.test(file));
    const texts = await Promise.all(sources.map(async (file) => ({ file, start: await text(file) })));
    const bare = texts.filter(({ start }) => !/^(?:#!.*\n)?\/\*\*/.test(start)).map(({ file }) => file);
    expect(sources.length).toBeGreaterThan(150);
    expect(bare).toEqual([]);
  });

  it("cast nothing by way of unknown", async () => {
    const sources = files.filter((file) => /^(?:src|bench)\/.*\.ts$/.test(file));
    expect(await allMatches(/(\bas unknown as\b)/g, sources)).toEqual([]);
  });
});

describe("The lock file", () => {
  it("names no host of a registry, so that a mirror serves as well", async () => {
    const lock = await text("package-lock.json");
    expect(lock).not.toMatch(/"resolved"|https?:\/\/[^"]*\.tgz/);
    expect(lock.match(/"integrity"/g)?.length).toBeGreaterThan(100);
  });

  it("has every package of every platform, without which npm ci refuses it", async () => {
    const { packages } = lockSchema.parse(JSON.parse(await text("package-lock.json")));
    const major = (version: string) => /\d+/.exec(version)?.[0];
    const missing = Object.entries(packages).flatMap(([location, { optionalDependencies }]) =>
      Object.entries(optionalDependencies).flatMap(([name, range]) => {
        const places = [`${location}/node_modules/${name}`, `node_modules/${name}`];
        const found = places.flatMap((place) => packages[place]?.version ?? []);
        return found.some((version) => major(version) === major(manifest.overrides[name] ?? range))
          ? []
          : [`${name}@${range}`];
      }),
    );
    expect(Object.keys(packages).length).toBeGreaterThan(200);
    expect(missing).toEqual([]);
  });
});

describe("docs/dependencies.md", () => {
  it.each([
    ["At run time", manifest.dependencies],
    ["For development", manifest.devDependencies],
  ])("has every package %s once, with a reason and a replacement", async (heading, wanted) => {
    const page = await text("docs/dependencies.md");
    const from = page.indexOf(`\n## ${heading}\n`);
    const next = page.indexOf("\n## ", from + 1);
    const section = page.slice(from, next === -1 ? undefined : next);
    const rows = [...section.matchAll(/^\| `([^`]+)` +\| (.+?) +\| (.+?) +\|$/gm)];
    expect(rows.map(([, name = ""]) => name).toSorted()).toEqual(Object.keys(wanted).toSorted());
    expect(rows.filter(([, , reason = "", instead = ""]) => reason.length < 8 || instead.length < 5)).toEqual([]);
  });
});

describe("README.md", () => {
  it("shows the config of test/types/example.ts, which the compilers check", async () => {
    const shown = (await text("README.md")).split("<!-- test/types/example.ts -->\n\n```ts\n")[1]?.split("```")[0];
    expect(shown).toBe(await text("test/types/example.ts"));
  });

  it("computes the cost of 10,000 rows from the price list", async () => {
    const readme = await text("README.md");
    const [input, output] = ["input", "output"].map((name) =>
      Number(new RegExp(`^\\| ${name} +\\| (\\d+) `, "m").exec(readme)?.[1]),
    );
    const usage = {
      inputTokens: input ?? 0,
      cachedInputTokens: 0,
      outputTokens: output ?? 0,
      reasoningTokens: 0,
    };
    const rates = { price: listPrice("openai", "gpt-4o-mini", new Date("2026-11-27")), batchFactor: 0.5 };
    const ofRows = (tier: "batch" | "live") => formatUsd((costNanoUsd(usage, rates, tier) ?? 0) * 10_000);
    expect(readme.replaceAll(/\s+/g, " ")).toContain(
      `**${ofRows("batch")}** with \`gpt-4o-mini\`, or ${ofRows("live")} as live requests`,
    );
  });

  it("has the two commands, as CI runs them", async () => {
    const readme = await text("README.md");
    expect(readme).toContain("```sh\nnpm ci && npm run demo\n```");
    expect(readme).toContain("```sh\nnpm ci && npm test\n```");
  });
});

describe("The documentation", () => {
  it("links only to files and headings that are there", async () => {
    const links = await allMatches(LINK, pages);
    const broken: string[] = [];
    for (const [page = "", link = ""] of links) {
      const [path = "", anchor] = link.split("#");
      const target = path === "" ? page : normalize(join(dirname(page), path));
      if (!(await exists(target))) broken.push(`${page}: ${link}`);
      else if (anchor !== undefined && !headings(await text(target)).has(anchor)) broken.push(`${page}: ${link}`);
    }
    expect(links.length).toBeGreaterThan(20);
    expect(broken).toEqual([]);
  });

  it("names only tests and scripts that are there", async () => {
    const named = await allMatches(/\b((?:test|bench|scripts|src|migrations)\/[\w./-]+\.(?:ts|mjs|sql))\b/g, pages);
    const missing: string[] = [];
    for (const [page = "", path = ""] of named) if (!(await exists(path))) missing.push(`${page}: ${path}`);
    expect(named.length).toBeGreaterThan(10);
    expect(missing).toEqual([]);
  });

  it("names only commands of npm that are there", async () => {
    const named = await allMatches(/npm run (?:-s |--silent )?([a-z][\w:-]*)/g, pages);
    expect(named.length).toBeGreaterThan(5);
    expect(named.filter(([, script = ""]) => !(script in manifest.scripts))).toEqual([]);
  });

  it("speaks of no machine's own paths", async () => {
    const ours = files.filter((file) => /\.(?:ts|mjs|md|json|sql|yml)$/.test(file) && file !== "package-lock.json");
    expect(await allMatches(/((?:^|[\s"'`(])\/(?:work|root|home\/\w+)\/\w+)/gm, ours)).toEqual([]);
  });
});

/** A link of Markdown, or a picture for light or dark pages, that leads to a file. */
const LINK = /(?:\]\(|src(?:set)?=")(?!https?:|mailto:)([^)"\s]+)/g;

function headings(page: string): ReadonlySet<string> {
  const titles = [...page.matchAll(/^#{1,6} (.+)$/gm)].map(([, title = ""]) => title);
  return new Set(
    titles.map((title) =>
      title
        .toLowerCase()
        .replaceAll(/[^\w -]/g, "")
        .replaceAll(" ", "-"),
    ),
  );
}

describe("The package", () => {
  it("takes its licence and its changes along, Unreleased on top", async () => {
    expect(manifest.license).toBe("MIT");
    expect(await text("LICENSE")).toMatch(/^MIT License\n\nCopyright \(c\) \d{4} Rowmill contributors\n/);
    expect(/^## (.+)$/m.exec(await text("CHANGELOG.md"))?.[1]).toBe("Unreleased");
    for (const entry of manifest.files.filter((name) => name !== "dist"))
      expect(await exists(entry.replace(/\/\*\.\w+$/, "")), entry).toBe(true);
  });

  it("has every file that its pages for users link to", async () => {
    const forUsers = pages.filter((page) => /^(?:README\.md|CHANGELOG\.md|docs\/[^/]+|examples\/.*)$/.test(page));
    const shipped = ["README.md", "CONTRIBUTING.md", "LICENSE", ...manifest.files];
    const links = (await allMatches(LINK, forUsers)).map(([page = "", link = ""]) =>
      link.startsWith("#") ? page : normalize(join(dirname(page), link.split("#")[0] ?? "")),
    );
    expect(links.length).toBeGreaterThan(20);
    expect(links.filter((file) => !shipped.some((entry) => `${file}/`.startsWith(`${entry}/`)))).toEqual([]);
  });
});
