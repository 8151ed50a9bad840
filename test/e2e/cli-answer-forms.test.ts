/**
 * The forms in which models give their answers, answers of any JSON object, paths into JSON, and what is refused
 * before anything is sent.
 */
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { raw, sql } from "../../src/postgres/database.js";
import { buildCli, serverKind, startCliProject, type CliProject } from "../support/cli.js";

beforeAll(buildCli, 150_000);

interface Line {
  readonly response: {
    readonly body: { readonly model: string; readonly choices: { message: object; finish_reason: string }[] };
  };
}

type Form = { readonly message: object; readonly finish?: string };

const called = (given: unknown) => [{ id: "call_1", type: "function", function: { name: "a", arguments: given } }];
const label = (name: string) => JSON.stringify({ label: name });

/** Each is one answer; those with the label of their name are read. */
const schemaForms: Readonly<Record<string, Form>> = {
  think: { message: { content: `<think>maybe ${label("draft")}</think>\n${label("think")}` } },
  unclosed: { message: { content: `<thinking>so it is ${label("unclosed")}` } },
  apart: { message: { content: label("apart"), reasoning_content: `maybe ${label("draft")}` } },
  parts: {
    message: {
      content: [
        { type: "text", text: '{"label"' },
        { type: "text", text: ':"parts"}' },
      ],
    },
  },
  output: { message: { content: [{ type: "output_text", text: label("output") }] } },
  fence: { message: { content: `Sure! Here it is:\n\`\`\`json\n${label("fence")}\n\`\`\`\nMore?` } },
  call: { message: { content: null, tool_calls: called(label("call")) }, finish: "tool_calls" },
  object: { message: { content: null, tool_calls: called({ label: "object" }) }, finish: "stop" },
  function: { message: { content: "", function_call: { name: "a", arguments: label("function") } } },
  twoTexts: { message: { content: `${label("a")} or ${label("b")}` } },
  twoPlaces: { message: { content: label("c"), tool_calls: called(label("d")) } },
  length: { message: { content: label("length") }, finish: "length" },
};
const schemaRead = ["think", "unclosed", "apart", "parts", "output", "fence", "call", "object", "function"];

const plainForms: readonly Form[] = [
  { message: { content: "<think>hm</think>\nTwo words." } },
  { message: { content: " \n" } },
  { message: { content: null, reasoning: "hm" } },
];

const exact = '{"price": 1.10, "id": 12345678901234567890, "huge": 1e400, "of": ["ü", null]}';
const freeForms: readonly Form[] = [
  { message: { content: exact } },
  { message: { content: `Here: \`\`\`\n${exact.replace("1.10", "2.50")}\n\`\`\`` } },
  { message: { content: '[{"a": 1}]' } },
];

describe("Answers", { timeout: 120_000 }, () => {
  let project: CliProject;
  beforeEach(async () => {
    const left: Record<string, Form[]> = {
      "gpt-4o-mini": Object.values(schemaForms),
      "gpt-4.1-mini": [...plainForms],
      "gpt-4.1-nano": [...freeForms],
    };
    const transformOutput = (text: string) => {
      const line = JSON.parse(text) as Line;
      const form = left[line.response.body.model]?.shift();
      const [choice] = line.response.body.choices;
      if (form === undefined || choice === undefined) return undefined;
      choice.message = { role: "assistant", ...form.message };
      choice.finish_reason = form.finish ?? "stop";
      return [JSON.stringify(line)];
    };
    project = await startCliProject(serverKind, { gateway: { faults: { transformOutput } } });
  });
  afterEach(() => project.close());

  async function table(name: string, rows: number): Promise<void> {
    await project.database.run(sql`create table ${raw(name)} (id int primary key, body text not null, meta jsonb)`);
    await project.database.run(
      sql`insert into ${raw(name)} (id, body) select n, 'row ' || n from generate_series(1, ${rows}) n`,
    );
  }

  function config(pipelines: string): Promise<void> {
    const text = `import { defineConfig, json, pipeline, z } from "rowmill";
const polling = { min: "100ms", max: "500ms" };
const from = (table, more) => ({ source: { table, key: "id", columns: ["body", "meta"] }, polling, attempts: 1, ...more });
export default defineConfig({ pipelines: { ${pipelines} } });\n`;
    return writeFile(join(project.folder, "rowmill.config.mjs"), text);
  }

  async function details(pipeline: string): Promise<string[]> {
    const rows = await project.database.rows<{ outcome: string; detail: string | null }>(sql`
      select a.outcome, a.detail from rowmill.attempts a join rowmill.requests r on r.id = a.request_id
      join rowmill.pipelines p on p.id = r.pipeline_id
      where p.name = ${pipeline} and a.outcome <> 'answered' order by a.detail`);
    return rows.map(({ outcome, detail }) => `${outcome}: ${detail}`);
  }

  it("are read in each form that holds one value; JSON keeps its numbers, on its way to the model and from it", async () => {
    await table("forms", Object.keys(schemaForms).length);
    await table("plain", plainForms.length);
    await table("free", freeForms.length);
    await table("films", 3);
    await project.database.run(sql`
      update films set meta = '{"title": "Heat", "price": 1.10, "tags": ["crime", {"n": 1e400}]}' where id = 1`);
    await project.database.run(sql`update films set meta = '{"title": " "}' where id = 2`);
    await config(`
      forms: pipeline(from("forms", { request: { model: "gpt-4o-mini", user: "{{ body }}" },
        answer: z.object({ label: z.string() }), target: { table: "forms_out" } })),
      plain: pipeline(from("plain", { request: { model: "gpt-4.1-mini", user: "{{ body }}" },
        target: { table: "plain_out" } })),
      free: pipeline(from("free", { request: { model: "gpt-4.1-nano", user: "{{ body }}", system: "Answer as JSON." },
        answer: json(),
        validate: (answer, row) => (typeof answer.price === "number" && row.body.startsWith("row ") ? null : "no price"),
        target: { table: "free_out", columns: { answer: "facts" } } })),
      paths: pipeline(from("films", { request: { model: "gpt-5-nano",
        user: "{{ meta.title }} costs {{ meta.price }} {{ meta.tags[0] }}" },
        target: { table: "paths_out" } })),
      whole: pipeline(from("films", { request: { model: "gpt-5-nano", system: (row) => "As json.",
        user: "{{ body }}: {{ meta }}" },
        answer: json(), target: { table: "whole_out" } })),`);
    const up = await project.run("up", "--until-idle");
    expect(up.status, up.stderr).toBe(3);

    const labels = await project.database.rows<{ label: string }>(sql`select label from forms_out`);
    expect(labels.map((row) => row.label).sort()).toEqual([...schemaRead].sort());
    expect(await details("forms")).toEqual([
      expect.stringContaining("invalid: the answer holds 2 different JSON objects that fit"),
      expect.stringContaining("invalid: the answer holds 2 different JSON objects that fit"),
      expect.stringContaining("truncated: the answer reached the output limit"),
    ]);

    expect(await project.database.rows(sql`select answer from plain_out`)).toEqual([{ answer: "Two words." }]);
    expect(await details("plain")).toEqual([
      "invalid: the answer is blank",
      "invalid: the answer is blank: the model wrote only its reasoning",
    ]);

    const facts = await project.database.rows<{
      type: string;
      price: string;
      id: string;
      digits: number;
      of: string;
    }>(sql`
      select pg_typeof(facts)::text as type, facts ->> 'price' as price, facts ->> 'id' as id,
        length(facts ->> 'huge') as digits, facts ->> 'of' as of from free_out order by 2`);
    const one = { type: "jsonb", price: "1.10", id: "12345678901234567890", digits: 401, of: '["ü", null]' };
    expect(facts).toEqual([one, { ...one, price: "2.50" }]);
    expect(await details("free")).toEqual(["invalid: the answer is JSON, but not an object"]);

    expect(await project.database.rows(sql`select id, answer from paths_out`)).toEqual([
      { id: 1, answer: "Heat costs 1.10 crime." },
    ]);
    const empty = "empty: There is nothing to ask about this row: its message is empty.";
    expect(await details("paths")).toEqual([empty, empty]);
    const whole = await project.database.rows<{ keys: string[] }>(sql`
      select array(select jsonb_object_keys(answer) order by 1) as keys from whole_out`);
    expect(whole.map(({ keys }) => keys.join())).toEqual(Array(3).fill("categories,summary"));
    await project.check();
  });

  it("that no model could give are a mistake of the config: exit 2, every mistake at once, and nothing is sent", async () => {
    await table("films", 3);
    await config(`
      union: pipeline(from("films", { request: { model: "gpt-4o-mini", user: "{{ body }}" }, target: { table: "o1" },
        answer: z.object({
        u: z.union([z.object({ name: z.string(), a: z.int() }), z.object({ name: z.string(), b: z.int() })]) }) })),
      values: pipeline(from("films", { request: { model: "gpt-4o-mini", user: "{{ body }}" }, target: { table: "o2" },
        answer: z.object({
        quoted: z.enum(["a", 'the "b"']), broken: z.literal("a\\nb"), twice: z.literal(["x", "x"]),
        many: z.enum(Array.from({ length: 251 }, (_, n) => String(n).padEnd(60, "x"))) }) })),
      model: pipeline(from("films", { request: { model: "gpt-5-mini", user: "{{ body }}", temperature: 0.1,
        stop: "x" }, target: { table: "o3" } })),
      effort: pipeline(from("films", { request: { model: "gpt-4o-mini", user: "{{ body }}", reasoningEffort: "low" },
        target: { table: "o4" } })),
      word: pipeline(from("films", { request: { model: "gpt-4o-mini", user: "{{ body }}" }, target: { table: "o5" },
        answer: json() })),`);
    const up = await project.run("up", "--until-idle", "--yes");
    expect(up.status, up.stderr).toBe(2);
    for (const words of [
      'pipelines.union.answer: "u" is a union of objects that all begin with the field "name"',
      'pipelines.values.answer: "quoted" has the value "the \\"b\\""',
      'pipelines.values.answer: "broken" has the value "a\\nb"',
      'pipelines.values.answer: "twice" has the value "x" twice',
      'pipelines.values.answer: "many" has 251 values with 15060 characters',
      "pipelines.model.request.temperature: gpt-5-mini is a reasoning model, which refuses it; leave it out",
      "pipelines.model.request.stop: gpt-5-mini refuses it",
      "pipelines.effort.request.reasoningEffort: gpt-4o-mini is not a reasoning model and refuses it; leave it out",
      'pipelines.word.request: for an answer of json(), OpenAI needs the word "JSON" in `system` or `user`',
    ])
      expect(up.stderr).toContain(words);

    await config(`
      path: pipeline(from("films", { request: { model: "gpt-4o-mini", user: "{{ meta.a }} {{ body.x }}" },
        target: { table: "o6" } })),`);
    const path = await project.run("up", "--until-idle", "--yes");
    expect(path.status, path.stderr).toBe(2);
    const words =
      'request.user: the template has a path into "body", which is of type text: only json and jsonb have paths';
    expect(path.stderr).toContain(`pipelines.path: ${words}`);
    expect((await project.run("doctor")).stdout).toContain(`path: ${words}`);
    const { calls, batches, executed } = await project.gateway.journal.summary();
    expect({ batches, executed, uploads: calls.get("POST /v1/files") }).toEqual({
      batches: [],
      executed: 0,
      uploads: undefined,
    });
    expect(await project.database.first(sql`select to_regclass('o6')::text as made`)).toEqual({ made: null });
  });
});
