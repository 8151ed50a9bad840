/** Removes the declarations in dist that no public one names: TypeScript writes one for each module that it reads. */
import { readdirSync, readFileSync, rmSync } from "node:fs";
import { dirname, join, resolve } from "node:path";

const dist = resolve(import.meta.dirname, "../dist");
const named = new Set();
const left = ["index.d.ts", "testing/testing.d.ts"].map((file) => join(dist, file));
for (let file = left.pop(); file !== undefined; file = left.pop()) {
  if (named.has(file)) continue;
  named.add(file);
  const imports = readFileSync(file, "utf8").matchAll(/(?:from |import\()"(\.[^"]+)\.js"/g);
  for (const [, path = ""] of imports) left.push(join(dirname(file), `${path}.d.ts`));
}
for (const entry of readdirSync(dist, { recursive: true, withFileTypes: true })) {
  const file = join(entry.parentPath, entry.name);
  if (entry.name.endsWith(".d.ts") && !named.has(file)) rmSync(file);
}
