import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { nameFor, targetFor } from "../../src/app/init/config-text.js";
import { isNamed } from "../../src/app/init/list-tables.js";
import { parseTableName, writeTableName } from "../../src/model/table-name.js";

const part = fc.string({ minLength: 1 }).filter((text) => !text.includes("\0"));

describe("A table's name", () => {
  it("is read back as it was written, whatever stands in it", () => {
    fc.assert(
      fc.property(fc.option(part), part, (schema, name) => {
        expect(parseTableName(writeTableName({ schema, name }))).toEqual({ schema, name });
      }),
    );
  });

  it("means a listed table with its schema or without, in quotes or not", () => {
    const films = { name: "films", qualified: "public.films", columns: [], keys: [], problem: null };
    for (const text of ["films", "public.films", '"films"', 'public."films"']) expect(isNamed(films, text)).toBe(true);
    for (const text of ["Films", "shop.films", "films.public"]) expect(isNamed(films, text)).toBe(false);
  });

  it.each([
    ["movies", "movies", "movies_answers"],
    ["Shop.Order Lines", "order_lines", "Shop.order_lines_answers"],
    ['"my.shop"."the ""best"""', "the_best_", '"my.shop".the_best__answers'],
  ])("%s makes names for a pipeline and its target", (table, name, target) => {
    expect(nameFor(table)).toBe(name);
    expect(targetFor(table)).toBe(target);
  });
});
