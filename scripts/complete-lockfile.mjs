/**
 * Adds to package-lock.json the packages of other platforms that npm left out because the registry at hand did not have them: an
 * optional package without an entry makes `npm ci` refuse the whole file ("Missing: …@ from lock file"), on every machine. Run it
 * after `npm install`; it changes nothing when nothing is missing. Entries made here carry no integrity, and are installed on
 * their own platform only.
 */
import { readFileSync, writeFileSync } from "node:fs";

const file = "package-lock.json";
const systems = ["aix", "android", "darwin", "freebsd", "linux", "openharmony", "windows", "win32"];
const processors = ["arm64", "arm", "ia32", "loong64", "ppc64", "riscv64", "s390x", "x64"];
const libraries = { gnu: "glibc", gnueabihf: "glibc", musl: "musl", musleabihf: "musl" };

const lock = JSON.parse(readFileSync(file, "utf8"));
const added = [];
for (const [location, meta] of Object.entries(lock.packages)) {
  for (const [name, range] of Object.entries(meta.optionalDependencies ?? {})) {
    const version = range.replace(/^[\^~]/, "");
    if (isLocked(location, name, version)) continue;
    const top = `node_modules/${name}`;
    const place = lock.packages[top] === undefined ? top : `${location}/${top}`;
    lock.packages[place] = entryFor(name, version, meta);
    added.push(`${place} ${version}`);
  }
}
const sorted = Object.entries(lock.packages).sort(([a], [b]) => a.localeCompare(b, "en"));
lock.packages = Object.fromEntries(sorted);
if (added.length > 0) writeFileSync(file, `${JSON.stringify(lock, null, 2)}\n`);
console.log(`${added.length} entries added${added.map((line) => `\n  ${line}`).join("")}`);

/** As Node looks for it from there: in the package's own folder, then in those above. */
function isLocked(location, name, version) {
  for (let from = location; ; from = from.slice(0, Math.max(0, from.lastIndexOf("node_modules/") - 1))) {
    const found = lock.packages[`${from === "" ? "" : `${from}/`}node_modules/${name}`];
    if (found !== undefined) return found.version === version || !isPlatformPackage(name);
    if (from === "") return false;
  }
}

function isPlatformPackage(name) {
  return systems.some((system) => new RegExp(`\\b${system}\\b`).test(name));
}

function entryFor(name, version, parent) {
  const words = name.split(/[/-]/);
  const os = systems.find((system) => words.includes(system));
  const cpu = processors.find((processor) => words.includes(processor));
  if (os === undefined || cpu === undefined)
    throw new Error(`${name}@${version} is for no platform that its name says.`);
  const libc = words.flatMap((word) => libraries[word] ?? []);
  return {
    version,
    cpu: [cpu],
    ...(parent.dev ? { dev: true } : {}),
    ...(libc.length > 0 ? { libc } : {}),
    license: parent.license,
    optional: true,
    os: [os === "windows" ? "win32" : os],
  };
}
