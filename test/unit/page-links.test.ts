/** Links and pictures of the pages, in the repository and in the package. */
import { readdir, readFile, stat } from "node:fs/promises";
import { dirname, join, normalize } from "node:path";
import { describe, expect, it } from "vitest";
import manifest from "../../package.json" with { type: "json" };

const repository = join(import.meta.dirname, "../..");
const pages = [
  "README.md",
  "CONTRIBUTING.md",
  "CHANGELOG.md",
  ...(await under("docs")),
  ...(await under("examples")),
];

async function under(folder: string): Promise<string[]> {
  const names = await readdir(join(repository, folder), { recursive: true });
  return names.filter((name) => name.endsWith(".md")).map((name) => `${folder}/${name}`);
}

async function textOf(page: string): Promise<string> {
  return (await readFile(join(repository, page), "utf8")).replaceAll(/```[\s\S]*?```/g, "");
}

/** Targets of links and pictures that lead to files, relative to the repository, with their anchors. */
async function linksOf(page: string): Promise<{ file: string; anchor: string | undefined }[]> {
  const found = [...(await textOf(page)).matchAll(/\]\(([^)\s]+)\)|(?:src|srcset)="([^"]+)"/g)];
  return found
    .map(([, link, picture]) => link ?? picture ?? "")
    .filter((target) => !/^[a-z]+:/.test(target))
    .map((target) => {
      const [path = "", anchor] = target.split("#");
      return { file: path === "" ? page : normalize(join(dirname(page), path)), anchor };
    });
}

/** As GitHub makes them. */
async function anchorsOf(page: string): Promise<string[]> {
  const headings = [...(await textOf(page)).matchAll(/^#{1,6} (.+)$/gm)];
  return headings.map(([, title = ""]) =>
    title
      .trim()
      .toLowerCase()
      .replaceAll(/[^\p{L}\p{N}_ -]/gu, "")
      .replaceAll(" ", "-"),
  );
}

describe("A page", () => {
  it.each(pages)("%s links only to files and headings that exist", async (page) => {
    for (const { file, anchor } of await linksOf(page)) {
      await expect(stat(join(repository, file)), `${page} links to ${file}`).resolves.toBeDefined();
      if (anchor !== undefined && file.endsWith(".md")) expect(await anchorsOf(file), file).toContain(anchor);
    }
  });

  it.each(pages.filter((page) => /^(?:README|CHANGELOG|docs\/[^/]+$|examples\/)/.test(page)))(
    "%s, for users of the package, links only to files that ship with it",
    async (page) => {
      const shipped = (file: string) =>
        ["README.md", "LICENSE", ...manifest.files].some((entry) => `${file}/`.startsWith(`${entry}/`));
      const links = (await linksOf(page)).map(({ file }) => file);
      expect(links.filter((file) => !shipped(file) && file !== "CONTRIBUTING.md")).toEqual([]);
    },
  );
});
