/** `rowmill try`: a few rows asked live by the built command line, with the demo model. */
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterEach, beforeAll, expect, it } from "vitest";
import { sweepAll } from "../../src/app/open/round.js";
import type { GatewayFaults } from "../../src/gateway/engine/faults.js";
import { sql } from "../../src/postgres/database.js";
import { buildCli, filmsPipeline, startCliProject, until, type CliProject, type Ended } from "../support/cli.js";
import { describeDatabases, newestKinds } from "../support/databases.js";
import { answerHere, withContext } from "../support/work-here.js";

beforeAll(buildCli, 150_000);

const FILMS = [
  ["The Long Night", "A weary detective hunts a killer in rainy Lisbon."],
  ["Two Sisters", "Two sisters fall in love with the same pilot."],
  ["The Last Robbery", "A retired thief plans a last robbery in a closed hotel."],
] as const;

const { signal } = new AbortController();

/** Latencies and instants differ from run to run. */
function steady(text: string): string {
  return text
    .replaceAll(/\b(?:\d+ ms|\d+\.\d s)/g, "N ms")
    .replaceAll(/\d{4}-\d\d-\d\d \d\d:\d\d/g, "YYYY-MM-DD hh:mm");
}

function lines(...of: readonly string[]): string {
  return `${of.join("\n")}\n`;
}

describeDatabases(
  "rowmill try",
  (kind) => {
    let project: CliProject;
    let beforeEffect: GatewayFaults["beforeEffect"] = () => undefined;
    afterEach(async () => {
      beforeEffect = () => undefined;
      await project.check().finally(() => project.close());
    });

    async function start(more = ""): Promise<void> {
      project = await startCliProject(kind, {
        prepared: true,
        gateway: { faults: { beforeEffect: (call) => beforeEffect(call) } },
      });
      await project.database.run(sql`create table films (id bigint primary key, title text, description text)`);
      await project.database.run(sql`
        insert into films
        select n, x ->> 0, x ->> 1
        from json_array_elements(${JSON.stringify(FILMS)}::json) with ordinality as e (x, n)`);
      await project.writeConfig(filmsPipeline(more));
    }

    const json = ({ stdout }: Ended): unknown => JSON.parse(stdout);
    /** Registered and swept; nothing is sent. */
    const setUp = () => withContext(project, (context) => sweepAll(context, signal));

    it("shows input, answer, problems and cost before the first up; lists and compares tries, and accepts one once", async () => {
      await start(`validate: (answer, row) => row.title === "Two Sisters" ? "no sisters, please" : null,`);
      const first = await project.run("try", "-n", "2");
      expect([steady(first.stdout), first.stderr, first.status]).toEqual([
        lines(
          "1: answered, 17 + 22 tokens, $0.000016, N ms",
          "    input     title        The Long Night",
          "              description  A weary detective hunts a killer in rainy Lisbon.",
          '    answer    categories  ["thriller"]',
          '              summary     "A thriller about a weary detective and a killer."',
          "",
          "2: invalid, 16 + 23 tokens, $0.000016, N ms",
          "    input     title        Two Sisters",
          "              description  Two sisters fall in love with the same pilot.",
          "    problem   no sisters, please",
          '    answer    {"categories":["romance","drama","war"],"summary":"A romance about sisters and a',
          '              pilot."}',
          "",
          "Try 1: 1 row ok, 1 failed, $0.000032 with gpt-4o-mini",
          "  All 3 rows by batch: estimated $0.000024 (from these 2 answers)",
          "  Change what is wrong, then try again: rowmill try films --key 2",
        ),
        "",
        3,
      ]);
      await writeFile(join(project.folder, "short.txt"), "In short: {{ title }}\n");
      const second = await project.run("try", "films", "--prompt-file", "short.txt", "--key", "1", "--key", "3");
      expect([steady(second.stdout), second.stderr, second.status]).toEqual([
        lines(
          "1: answered, 10 + 16 tokens, $0.000011, N ms",
          "    input     title        The Long Night",
          "              description  A weary detective hunts a killer in rainy Lisbon.",
          '    answer    categories  ["drama"]',
          '              summary     "In short: The Long Night."',
          '    try 1     categories  ["thriller"]',
          '              summary     "A thriller about a weary detective and a killer."',
          "",
          "3: answered, 11 + 16 tokens, $0.000011, N ms",
          "    input     title        The Last Robbery",
          "              description  A retired thief plans a last robbery in a closed hotel.",
          '    answer    categories  ["crime"]',
          '              summary     "In short: The Last Robbery."',
          "",
          "Try 2: 2 rows ok, 0 failed, $0.000022 with gpt-4o-mini",
          "  All 3 rows by batch: estimated $0.000017 (from these 2 answers)",
          "  To use it, set pipelines.films.request.user to the text of short.txt. Then, for all rows: rowmill up",
        ),
        "",
        0,
      ]);
      expect(steady((await project.run("try", "--list")).stdout)).toBe(
        lines(
          "try  when (UTC)        model        differs in  rows  ok       cost",
          "  2  YYYY-MM-DD hh:mm  gpt-4o-mini  short.txt      2   2  $0.000022",
          "  1  YYYY-MM-DD hh:mm  gpt-4o-mini  nothing        2   1  $0.000032",
        ),
      );
      expect(steady((await project.run("try", "--compare", "1", "2")).stdout)).toBe(
        lines(
          "1: 2 fields differ",
          "    try 1     answered, 17 + 22 tokens, $0.000016, N ms",
          '              categories  ["thriller"]',
          '              summary     "A thriller about a weary detective and a killer."',
          "    try 2     answered, 10 + 16 tokens, $0.000011, N ms",
          '              categories  ["drama"]',
          '              summary     "In short: The Long Night."',
          "",
          "1 row in both, 0 with the same answer, 1 row only in try 1, 1 row only in try 2",
          "  try 1 (gpt-4o-mini): 0 failed, 17 + 22 tokens, $0.000016, N ms each",
          "  try 2 (gpt-4o-mini, short.txt): 0 failed, 10 + 16 tokens, $0.000011, N ms each",
        ),
      );
      expect(await project.run("try", "films", "--accept", "1")).toEqual({
        stdout: "",
        stderr: expect.stringContaining("rowmill: films is not set up yet, so no row waits for an answer.\n  Hint: "),
        status: 2,
      });
      await setUp();
      expect(await project.run("try", "films", "--accept")).toMatchObject({
        stderr: lines(
          "rowmill: Try 2 asked another question than films asks now.",
          "  Hint: See what differs: rowmill try films --list",
        ),
        status: 4,
      });
      expect(await project.run("try", "films", "--accept", "1")).toEqual({
        stdout: lines(
          "films: 1 answer of try 1 accepted at no further cost, 1 not accepted",
          "  2: it has no usable answer: no sisters, please",
        ),
        stderr: "",
        status: 3,
      });
      const again = await project.run("try", "films", "--accept", "1", "--json");
      expect([json(again), again.status]).toEqual([
        {
          try: 1,
          pipeline: "films",
          accepted: [],
          left: [
            { key: "1", why: "already", detail: null },
            { key: "2", why: "unusable", detail: "no sisters, please" },
          ],
        },
        3,
      ]);
      const stored = await project.run("try", "films", "--key", "1", "--model", "gpt-4.1-mini", "--json");
      expect(json(stored)).toMatchObject({
        model: "gpt-4.1-mini",
        overridden: { model: true },
        rows: [{ key: "1", outcome: "answered", input: { title: "The Long Night" }, before: { from: 2 } }],
        ok: 1,
        allRows: { rows: 3, answersCounted: 1 },
      });
      await answerHere(project);
      await project.run("try", "films", "--key", "2", "--json");
      await project.database.run(sql`delete from rowmill.tries`);
      const target = await project.run("try", "films", "--key", "3", "--prompt-file", "short.txt", "--json");
      expect(json(target)).toMatchObject({
        rows: [
          {
            before: { from: "target", changes: [{ field: "summary", before: "A crime story about a retired thief." }] },
          },
        ],
      });
    }, 150_000);

    it("keeps what a killed command may have spent in the budget, and its answers after Ctrl-C", async () => {
      await start('budget: { usd: 0.0003, per: "total" },');
      let held = () => {};
      const holding = new Promise<undefined>((resolve) => (held = () => resolve(undefined)));
      let calls = 0;
      beforeEffect = (call) => (call.route === "/v1/chat/completions" && ++calls > 0 ? holding : undefined);
      const killed = project.start("try", "films", "-n", "2");
      await until("its calls", () => Promise.resolve(calls === 2));
      killed.child.kill("SIGKILL");
      await killed.ended;
      const spent = await project.run("try", "films", "-n", "1");
      expect([spent.stdout, spent.status]).toEqual(["", 4]);
      expect(spent.stderr).toMatch(
        /^rowmill: The budget of \$0\.0003 in total has \$0\.0000\d+ left, and this row may cost up to \$0\.0001\d live\.\n/,
      );
      await project.writeConfig(filmsPipeline());
      calls = 0;
      const stopped = project.start("try", "films", "-n", "3");
      await until("its calls", () => Promise.resolve(calls === 3));
      stopped.child.kill("SIGINT");
      await stopped.says("Stopping after the calls that are on their way");
      held();
      const { status, stdout } = await stopped.ended;
      expect([status, stdout.match(/^\d: answered/gm)]).toEqual([130, ["1: answered", "2: answered", "3: answered"]]);
    }, 150_000);

    it("asks for a yes above approveAboveUsd, and says what is wrong with options and provider", async () => {
      await start("approveAboveUsd: 0,");
      expect(await project.run("try", "films", "-n", "1")).toEqual({
        stdout: "",
        stderr: expect.stringMatching(
          /^films: to ask live: 1 row; estimated \$0\.0000\d+ \(cap \$0\.0001\d\)\nrowmill: There is no terminal to ask on, so no row was asked\.\n {2}Hint: To ask without a question: rowmill try films --yes\n$/,
        ),
        status: 4,
      });
      expect((await project.run("try", "films", "-n", "1", "--yes")).status).toBe(0);
      const mistakes = [
        [["--where", "where id = 1"], /^rowmill: --where: expected an SQL condition/],
        [["--where", "nope = 1"], /^rowmill: --where: The database refused: column "nope" does not exist\./],
        [["--where", "id > 10"], /^rowmill: There is no row to ask in "public"\."films" that matches: id > 10\.\n$/],
        [["--key", "x"], /^rowmill: --key: x is not a key of "public"\."films", whose key is id \(bigint\)\.\n$/],
        [["--key", "9"], /^rowmill: There is no row with the key 9 in "public"\."films"\.\n$/],
        [["--prompt-file", "no.txt"], /^rowmill: --prompt-file no\.txt: there is no such file\.\n$/],
        [["-n", "101"], /^rowmill: A try has at most 100 rows, but 101 were asked for\.\n/],
        [["--compare", "1"], /^rowmill: --compare: expected the numbers of two tries, found 1\.\n/],
        [["--compare", "1", "7"], /^rowmill: There is no try 7\.\n/],
      ] as const;
      for (const [options, message] of mistakes) {
        const ended = await project.run("try", "films", "--yes", ...options);
        expect([ended.stdout, ended.status]).toEqual(["", 2]);
        expect(ended.stderr).toMatch(message);
      }
      await writeFile(join(project.folder, "bad.txt"), "{{ nope }}");
      expect((await project.run("try", "films", "--yes", "--prompt-file", "bad.txt")).stderr).toBe(
        lines(
          'rowmill: --prompt-file bad.txt: the template names "nope", which is not a declared column; ' +
            'the columns are: "title", "description".',
          '  Hint: It is a template such as "Summarize: {{ title }}", as request.user.',
        ),
      );
      beforeEffect = () => ({ kind: "reply", status: 401, body: { error: { message: "Incorrect API key." } } });
      const refused = await project.run("try", "films", "--yes");
      expect([steady(refused.stdout), refused.status]).toEqual([
        "Try 2: 0 rows ok, 3 failed, $0.00 with gpt-4o-mini\n",
        1,
      ]);
      expect(refused.stderr).toMatch(
        /^rowmill: could not ask the model: OpenAI answered HTTP 401: Incorrect API key\..*\n {2}Hint: Check your setup: rowmill doctor\n {2}Hint: Then try again: rowmill try films\n$/,
      );
    }, 150_000);

    it("leaves texts that forget erases, also where no up ever ran", async () => {
      await start();
      const unknown = await project.run("forget", "films", "--key", "2", "--yes");
      expect([unknown.status, unknown.stdout]).toEqual([2, ""]);
      await project.run("try", "films", "-n", "3");
      const texts = () =>
        project.database.column(sql`select key from rowmill.try_answers where prompt is not null order by key`);
      expect(await texts()).toEqual(["1", "2", "3"]);
      const erased = await project.run("forget", "films", "--key", "002", "--key", "9", "--yes");
      expect([erased.stdout.split("\n")[0], erased.status]).toEqual([
        "films: 0 requests erased, texts of 1 tried row erased",
        0,
      ]);
      expect(await texts()).toEqual(["1", "3"]);
      expect(await project.run("forget", "book", "--key", "1", "--yes")).toMatchObject({ stdout: "" });
    }, 150_000);

    it("of an edited config leaves the definition of a running worker as it is", async () => {
      await start();
      const worker = project.start("up");
      await worker.says("Working.");
      const definitions = () => project.database.rows(sql`select definition_hash, definition from rowmill.pipelines`);
      const before = await definitions();
      await project.writeConfig(filmsPipeline('request: { ...request, user: "Genre of: {{ title }}" },'));
      const tried = await project.run("try", "films", "--json");
      expect([json(tried), tried.status]).toMatchObject([{ ok: 3, failed: 0 }, 0]);
      expect(await definitions()).toEqual(before);
      expect(await project.run("try", "films", "--accept")).toMatchObject({
        stderr: lines(
          "rowmill: The config of films has changed since the last rowmill up, so nothing was accepted.",
          "  Hint: Start a worker with this config, then accept: rowmill up",
        ),
        status: 4,
      });
    }, 150_000);
  },
  newestKinds,
);
