/**
 * Delivers a fixed list of changes into a file with the built package, and kills itself before or after its n-th change
 * of the file system: `PATH_OF_FILE`, `KILL_AT` ("before 7"). Exits with 0 if there are not so many.
 */
import fs from "node:fs/promises";
import { syncBuiltinESMExports } from "node:module";
import { createJiti } from "jiti";

const [when, at] = (process.env.KILL_AT ?? "never 0").split(" ");
let calls = 0;

function strike(now) {
  if (now === when && calls === Number(at)) process.kill(process.pid, "SIGKILL");
}

async function counted(call) {
  calls += 1;
  strike("before");
  const result = await call();
  strike("after");
  return result;
}

for (const name of ["mkdir", "rename", "link", "unlink", "chmod"]) {
  const original = fs[name];
  fs[name] = (...given) => counted(() => original(...given));
}
const open = fs.open;
fs.open = async (...given) => {
  const handle = await counted(() => open(...given));
  for (const name of ["write", "sync"]) {
    const original = handle[name].bind(handle);
    handle[name] = (...parts) => counted(() => original(...parts));
  }
  return handle;
};
syncBuiltinESMExports();

const { files } = await import("../../dist/index.js");
const { deliverAll } = await createJiti(import.meta.url).import("./file-target-deliveries.ts");
calls = 0;
await deliverAll(files(process.env.PATH_OF_FILE));
process.exit(0);
