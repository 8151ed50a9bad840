/** Statements that only rows over the bound bring about: they too look nothing up along the role's own path. */
import { afterEach, beforeEach, expect, it } from "vitest";
import { inspectTable } from "../../src/sources/table/inspection.js";
import { createTableSource } from "../../src/sources/table/table-source.js";
import { openDatabase, raw } from "../../src/postgres/database.js";
import { describeDatabases } from "../support/databases.js";
import { startProject, type TestProject } from "../support/project.js";

/** Namesakes of every type that a cast without a schema could find. */
const types = ["int2", "int4", "int8", "text", "bool", "numeric", "json", "jsonb", "oid", "name"];

describeDatabases(
  "A sweep past a row that is a gigabyte as text, with types of another role first in the path,",
  (kind) => {
    let project: TestProject;
    beforeEach(async () => {
      project = await startProject(kind);
      const { pool } = project.database;
      await pool.query(`create schema evil; create table public.notes (id int primary key, body jsonb);
        insert into public.notes values (1, '{}'), (2, ('[' || repeat('1e131071, ', 9000) || '0]')::jsonb);
        create function evil.runs() returns boolean language plpgsql as $$ begin raise 'taken from evil'; end $$;
        ${types.map((type) => `create domain evil.${type} as pg_catalog.${type} check (evil.runs());`).join(" ")}`);
    });
    afterEach(() => project.close());

    it("uses none of those types", async () => {
      const name = new URL(project.url).pathname.slice(1);
      await project.database.run(raw(`alter database "${name}" set search_path = evil, pg_catalog, public`));
      const database = openDatabase({ connectionString: project.url });
      try {
        const wanted = { table: "public.notes", key: ["id"], columns: ["body"] };
        const table = await inspectTable(database, wanted);
        const where = "s.id operator(pg_catalog.>) 0";
        const source = createTableSource(table, { pipelineId: 1, where, skipBefore: null });
        const read = await database.transaction((tx) =>
          source.compareChunk(tx, { cursor: null, lastRequestId: "0" }, 100),
        );
        expect({ ...read, keys: [...read.keys].sort() }).toEqual({
          rows: 2,
          keys: ["1", "2"],
          cursor: null,
          met: "0",
        });
      } finally {
        await database.close();
      }
    });
  },
  ["pg14", "pg18"],
);
