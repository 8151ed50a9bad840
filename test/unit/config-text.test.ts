import { describe, expect, it } from "vitest";
import { readAnswerFields } from "../../src/app/init/answer-fields.js";
import { checkConfigText, configText, type Choices } from "../../src/app/init/config-text.js";
import { compileMessage } from "../../src/model/request/template.js";

const choices: Choices = {
  name: "films",
  table: "films",
  isFile: false,
  elsewhere: null,
  cursor: null,
  key: ["id"],
  columns: ["title"],
  model: "gpt-4o-mini",
  prompt: "Summarise.",
  asFunction: false,
  answer: null,
  target: "film_answers",
  embedded: false,
};
const read = (changed: Partial<Choices>) =>
  checkConfigText(configText({ ...choices, ...changed }), {
    file: "/project/rowmill.config.ts",
    databaseUrl: "postgres://user@127.0.0.1/app",
  });

const words =
  "empty nil null true false blank row and or not contains in with now forloop size first last first_name eval".split(
    " ",
  );

describe("The text of a first config", () => {
  it.each([false, true])("sends the column of whatever name; as a function: %s", async (asFunction) => {
    for (const column of [...words, "My Column", "größe", "a}}b", "it's", 'a "quoted" one', "1st", "a-b"]) {
      const { pipelines } = await read({ columns: [column, "other"], asFunction });
      const user = pipelines[0]?.request.user;
      if (user === undefined) throw new Error("no user message");
      expect(compileMessage(user)({ [column]: "its value", other: "x" }), column).toContain("its value\n");
    }
  });

  it("can be read whatever the pipeline and the answer's fields are called", async () => {
    const reserved =
      "eval arguments undefined require module exports default async of type z pipeline row row_1 a-b jiti_import";
    for (const name of reserved.split(" ")) {
      const answer = readAnswerFields(`${name.replace("-", "_")}:string,constructor:integer?`);
      const { pipelines } = await read({ name, answer });
      expect(pipelines.map((pipeline) => pipeline.name)).toEqual([name]);
    }
  });
});
