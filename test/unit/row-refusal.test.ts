/** Which errors of a transaction with answers are a row's doing. */
import { describe, expect, it } from "vitest";
import { DatabaseError } from "../../src/postgres/database.js";
import { causeOf, isOfStatement } from "../../src/worker/turn/collect/row-refusal.js";

function failed(sqlState: string | null, where?: string, routine?: string): DatabaseError {
  const code = sqlState === null || /^(08|53|57P)/.test(sqlState) ? "database_unreachable" : "database_refused";
  return new DatabaseError(code, "x", {
    sqlState,
    passes: false,
    cause: Object.assign(new Error("x"), { where, routine }),
  });
}

describe("A transaction that failed", () => {
  it.each(["P0001", "42501", "55000", "23503", "22001", "0A000", "XX000", "40002", "21000", "RM123", "58P01"])(
    "by %s is a row's doing at the target, and not in a statement over the ledger",
    (sqlState) => {
      expect(causeOf(failed(sqlState), true)?.cause).toBe("refusal");
      expect(causeOf(failed(sqlState), false)).toBeNull();
    },
  );

  it.each(["40001", "40P01", "55P03"])("by %s may go well another time, wherever it was", (sqlState) => {
    expect(causeOf(failed(sqlState), true)?.cause).toBe("passing");
    expect(causeOf(failed(sqlState), false)?.cause).toBe("passing");
  });

  it("by a time-out may go well another time at the target alone", () => {
    expect(causeOf(failed("57014"), true)?.cause).toBe("passing");
    expect(causeOf(failed("57014"), false)).toBeNull();
  });

  it.each([null, "08006", "53100", "53200", "57P01", "25006", "25P03", "58030"])(
    "by %s is no row's doing",
    (sqlState) => {
      expect(causeOf(failed(sqlState), true)).toBeNull();
    },
  );

  it.each(["08006", "53100", "57P01", "25006", "25P03", "58030"])(
    "by %s is a row's doing where code of the user's raised it",
    (sqlState) => {
      const raised = failed(sqlState, "PL/pgSQL function f() line 1 at RAISE", "exec_stmt_raise");
      expect(causeOf(raised, true)?.cause).toBe("refusal");
      expect(causeOf(raised, false)).toBeNull();
    },
  );

  it("by a connection that a trigger opened is a row's doing, and not by the server's own end in a trigger", () => {
    expect(causeOf(failed("08001", "while establishing new connection"), true)?.cause).toBe("refusal");
    expect(causeOf(failed("57P01", "PL/pgSQL function f() line 1", "ProcessInterrupts"), true)).toBeNull();
  });

  it("by anything but the database is no row's doing", () => {
    expect(causeOf(new Error("the worker died"), true)).toBeNull();
  });

  it("says of the statement what no code of the user's raised", () => {
    expect(isOfStatement(failed("42501"))).toBe(true);
    expect(isOfStatement(failed("42501", "PL/pgSQL function f() line 1 at RAISE"))).toBe(false);
    expect(isOfStatement(failed("23514"))).toBe(false);
  });
});
