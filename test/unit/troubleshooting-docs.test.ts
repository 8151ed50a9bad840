import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { exitStatusOf } from "../../src/cli/screen/exit-status.js";
import { RowmillError, type ErrorCode } from "../../src/model/errors.js";
import { DROPPED } from "../../src/model/words/failure-fixes.js";
import type { AttemptOutcome } from "../../src/model/words/what-next.js";

const repository = join(import.meta.dirname, "../..");
const page = await readFile(join(repository, "docs/troubleshooting.md"), "utf8");

/** A place for each code, so that a new one does not compile before it stands here. */
const everyCode: Readonly<Record<ErrorCode, true>> = {
  config_invalid: true,
  config_not_found: true,
  database_unreachable: true,
  database_refused: true,
  database_timeout: true,
  embedded_in_use: true,
  version_too_old: true,
  source_unsupported: true,
  target_unsupported: true,
  provider_unreachable: true,
  provider_refused: true,
  provider_account: true,
  connector_failed: true,
  spool_failed: true,
  not_found: true,
  refused: true,
  usage: true,
  interrupted: true,
  internal: true,
};
const codes = Object.keys(everyCode).filter((name): name is ErrorCode => Object.hasOwn(everyCode, name));

/** Outcomes that a person may meet and wonder about; the others are the good endings, and ours. */
const outcomes = [
  "invalid",
  "truncated",
  "refused",
  "empty",
  "unrenderable",
  "tooLarge",
  "permanent",
  "unwritable",
  "withdrawn",
  DROPPED,
  "stale",
  "expired",
  "cancelled",
  "rateLimited",
  "transient",
  "missing",
  "batchRefused",
] as const satisfies readonly (AttemptOutcome | typeof DROPPED)[];

function section(heading: string): string {
  const [, after = ""] = page.split(`\n${heading}\n`);
  return after.split(/\n#{2,3} /)[0] ?? "";
}

async function sources(): Promise<string> {
  const files = await readdir(join(repository, "src"), { recursive: true });
  const texts = await Promise.all(
    files.filter((file) => file.endsWith(".ts")).map((file) => readFile(join(repository, "src", file), "utf8")),
  );
  // A message may be put together from two literals.
  return texts.join("\n").replaceAll(/["`] \+\s*["`]/g, "");
}

describe("docs/troubleshooting.md", () => {
  it("has every code of an error, and no other", () => {
    const described = [...page.matchAll(/^### (\w+)$/gm)].map((match) => match[1]);
    expect(described).toEqual(codes);
  });

  it.each(codes.filter((code) => code !== "interrupted"))("names the exit status of %s", (code) => {
    const status = exitStatusOf(new RowmillError(code, ""));
    expect(section(`### ${code}`)).toContain(`Exit status ${status}`);
  });

  it("quotes messages that the code has", async () => {
    const code = await sources();
    const quoted = [...page.matchAll(/^- (`[^\n]*)/gm)].flatMap(([, line = ""]) =>
      [...(/^((?:`[^`]+`(?:, )?)+):/.exec(line)?.[1] ?? "").matchAll(/`([^`]+)`/g)].map((match) => match[1] ?? ""),
    );
    const parts = quoted.flatMap((message) => message.split("…").map((part) => part.trim()));
    expect(quoted.length).toBeGreaterThan(50);
    expect(parts.filter((part) => !code.includes(part))).toEqual([]);
  });

  it("explains what may have happened to a row", () => {
    const rows = section("## Rows that failed, or were sent again");
    const explained = [...rows.matchAll(/^\| ((?:`\w+`(?:, )?)+)/gm)].flatMap(([, names = ""]) =>
      [...names.matchAll(/`(\w+)`/g)].map((match) => match[1]),
    );
    expect(new Set(explained)).toEqual(new Set(outcomes));
    expect(explained).toHaveLength(outcomes.length);
  });
});
