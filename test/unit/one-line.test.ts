import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { RowmillError } from "../../src/model/errors.js";
import { oneLine, proseLine, safeSql } from "../../src/model/words/one-line.js";

/** Whatever could begin a line, steer a terminal, or change the order of what is read. */
const unsafe = /[\p{Cc}\p{Zl}\p{Zp}\p{Bidi_Control}\p{Surrogate}]/u;
const nasty = fc.string({
  unit: fc.oneof(
    fc.string({ unit: "binary", minLength: 1, maxLength: 1 }),
    fc.constantFrom("\n", "\r", "\u001b", "\u009b", "\u2028", "\u202e", "\u2066", "\ufeff", "\ud800", "\\"),
  ),
});

describe("Text of others in one line", () => {
  it.each([
    ["line feeds, carriage returns and tabs", "a\nb\rc\td", "a\\nb\\rc\\td"],
    ["escape sequences and NUL", "\u001b[2Ja\u0000", "\\x1b[2Ja\\x00"],
    ["controls of C1 and DEL", "\u009b2J\u007f\u0085", "\\u009b2J\\u007f\\u0085"],
    ["line separators", "a\u2028b\u2029", "a\\u2028b\\u2029"],
    ["bidi controls", "\u202eabc\u2066\u200f\u061c", "\\u202eabc\\u2066\\u200f\\u061c"],
    ["what takes no place", "a\u200bb\ufeff\u2060", "a\\u200bb\\ufeff\\u2060"],
    ["spaces other than the usual one", "a\u00a0b\u3000c\u2003d\u1680", "a\\u00a0b\\u3000c\\u2003d\\u1680"],
    [
      "what looks like space or hides",
      "\u00ad\u115f\u1160\u3164\uffa0\u2800\u034f",
      "\\u00ad\\u115f\\u1160\\u3164\\uffa0\\u2800\\u034f",
    ],
    ["tags", "a\u{e0001}\u{e007f}", "a\\udb40\\udc01\\udb40\\udc7f"],
    ["half a pair", "a\ud83d", "a\\ud83d"],
  ])("shows %s as what they are", (_, text, shown) => {
    expect(oneLine(text)).toBe(shown);
  });

  it("leaves words of any script, emoji and their joiners as they are", () => {
    const text = "Amélie – 千と千尋, نی‌نی, 👩‍👩‍👧 C:\\new";
    expect(oneLine(text)).toBe(text);
  });

  it("is safe, and stays as it is when it is made safe again", () => {
    fc.assert(
      fc.property(nasty, (text) => {
        expect(oneLine(text)).not.toMatch(unsafe);
        expect(oneLine(oneLine(text))).toBe(oneLine(text));
      }),
    );
  });

  it("leaves a line of JSON the same JSON", () => {
    fc.assert(
      fc.property(fc.array(nasty), (value) => {
        expect(JSON.parse(oneLine(JSON.stringify(value)))).toEqual(value);
      }),
    );
  });
});

describe("Text of others that a person reads", () => {
  it("has runs of spaces counted, but for an indentation", () => {
    expect(proseLine(`z${" ".repeat(77)}evil`)).toBe("z  \\x20{75}evil");
    expect(proseLine(`${" ".repeat(80)}evil`)).toBe(`${" ".repeat(40)}\\x20{40}evil`);
    expect(proseLine("      at f  (a b)\n   c")).toBe("      at f  (a b)\\n  \\x20{1}c");
  });

  it("is safe, and stays as it is when it is made safe again", () => {
    const spaced = fc.array(
      fc.oneof(
        nasty,
        fc.nat(90).map((count) => " ".repeat(count)),
      ),
    );
    fc.assert(
      fc.property(spaced, (pieces) => {
        const shown = proseLine(pieces.join(""));
        expect(shown).not.toMatch(unsafe);
        expect(shown).not.toMatch(/[^ ] {3}|^ {41}/);
        expect(proseLine(shown)).toBe(shown);
      }),
    );
  });
});

describe("A message of an error", () => {
  it("has the line breaks that its author gave it, and none of what it quotes", () => {
    const error = new RowmillError("refused", "no\nevil: ok", {
      hints: ["x\ny"],
      lines: ["one\rtwo", "three"],
    });
    expect(error.message).toBe("no\\nevil: ok\n  one\\rtwo\n  three");
    expect(error.hints).toEqual(["x\\ny"]);
  });
});

describe("SQL that is shown to be reviewed", () => {
  it.each([
    ["names", 'select "a\nb\\c" from "x""\u202e"', 'select U&"a\\000ab\\\\c" from U&"x""\\202e"'],
    ["values", "select 'a\nb\\c''', e'it\\'s\r'", "select E'a\\u000ab\\\\c''', e'it\\'s\\u000d'"],
    ["names inside a function's body", 'as $x$ begin "a\u001b"; end $x$', 'as $x$ begin U&"a\\001b"; end $x$'],
  ])("has %s escaped as SQL has it", (_, statement, shown) => {
    expect(safeSql(statement)).toBe(shown);
  });

  it("stays as it is where nothing is to be escaped, comments and layout included", () => {
    const statement = "-- don't\ncreate table \"a\" (\n  b text default 'it''s' /* \"\n */);\n$$ 'a' $$";
    expect(safeSql(statement)).toBe(statement);
  });
});
