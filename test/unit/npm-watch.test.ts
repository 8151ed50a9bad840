import { expect, test } from "vitest";
import { findNpm, type ProcessFacts } from "../../src/cli/screen/npm-watch.js";

const processes = (facts: Readonly<Record<number, ProcessFacts>>) => (pid: number) =>
  Promise.resolve(facts[pid] ?? null);

test("npm is found as the parent, or as the parent of the shell that it started, and nowhere else", async () => {
  const npm = { parent: 1, command: "npm exec rowmill up" };
  expect(await findNpm(10, processes({ 10: npm }))).toEqual({ npm: 10, shell: null });
  const shell = { parent: 10, command: "sh -c rowmill up" };
  expect(await findNpm(20, processes({ 10: npm, 20: shell }))).toEqual({ npm: 10, shell: 20 });
  const asFile = { parent: 1, command: "node /usr/lib/node_modules/npm/bin/npm-cli.js run up" };
  expect(await findNpm(20, processes({ 10: asFile, 20: shell }))).toEqual({ npm: 10, shell: 20 });
  const supervisor = { parent: 20, command: "node supervisor.js" };
  expect(await findNpm(30, processes({ 10: npm, 20: shell, 30: supervisor }))).toBeNull();
  expect(await findNpm(20, processes({ 20: shell }))).toBeNull();
  expect(await findNpm(1, processes({}))).toBeNull();
});
