/**
 * Makes text that others wrote (rows, keys, models, providers, the database, file names) safe inside a line of ours: it
 * cannot begin a line, move the cursor, or change the order in which a line is read. Pure; cannot fail.
 */

/**
 * Control characters (C0 with line feeds, tabs and ESC, DEL, C1), Unicode's line separators, spaces other than U+0020,
 * what reorders or hides (bidi controls, zero-width spaces, fillers, tags, the byte order mark), and half surrogate
 * pairs. Joiners (U+200C, U+200D) and variation selectors stay: scripts and emoji need them.
 */
const UNSAFE = new RegExp(
  String.raw`(?![ \u200c\u200d\p{Variation_Selector}])[\p{Cc}\p{Z}\p{Bidi_Control}\p{Surrogate}` +
    String.raw`\p{Default_Ignorable_Code_Point}\u2060-\u206f\u2800]`,
  "gu",
);

const NAMED: Readonly<Record<string, string>> = { "\n": "\\n", "\r": "\\r", "\t": "\\t" };

/**
 * The text with `\n`, `\x1b`, `\u202e` in place of such characters. Backslashes stay single, so it may be applied
 * twice. A line of JSON stays the same JSON, because JSON itself escapes characters below U+0020.
 */
export function oneLine(text: string): string {
  return text.replace(UNSAFE, (character) => {
    const code = character.charCodeAt(0);
    return NAMED[character] ?? (code < 0x20 ? `\\x${hex(code, 2)}` : unitsOf(character, "\\u"));
  });
}

/** More spaces are counted: they could push the rest of a line to the start of the terminal's next row. */
const SPACES_MAX = 2;
const INDENT_MAX = 40;
const SPACE_RUN = new RegExp(`^ {${INDENT_MAX + 1},}|(?<=[^ ]) {${SPACES_MAX + 1},}`, "g");

/** `oneLine` for prose, with `\x20{75}` in place of 75 spaces. It may be applied twice; JSON changes. */
export function proseLine(text: string): string {
  return oneLine(text).replace(SPACE_RUN, (run, at: number) => {
    const kept = at === 0 ? INDENT_MAX : SPACES_MAX;
    return `${" ".repeat(kept)}\\x20{${run.length - kept}}`;
  });
}

const COMMENT = String.raw`--[^\n]*|/\*[^]*?\*/`;
const STRING = String.raw`\$(?<tag>\w*)\$[^]*?\$\k<tag>\$|(?<!\w)[eE]'(?:[^'\\]|\\[^]|'')*'|'(?:[^']|'')*'`;
const SQL_TOKEN = new RegExp(`${COMMENT}|${STRING}|"(?:[^"]|"")*"`, "gu");

/** The same statement with such characters escaped in SQL's way, for a script that you read before you run it. */
export function safeSql(statement: string): string {
  return statement.replace(SQL_TOKEN, (token) => {
    if (oneLine(token) === token || /^(?:--|\/\*)/.test(token)) return token;
    const tag = /^\$\w*\$/.exec(token)?.[0];
    if (tag !== undefined) return tag + safeSql(token.slice(tag.length, -tag.length)) + tag;
    if (token.startsWith('"')) return `U&${escaped(token.replaceAll("\\", "\\\\"), "\\")}`;
    return token.startsWith("'") ? `E${escaped(token.replaceAll("\\", "\\\\"), "\\u")}` : escaped(token, "\\u");
  });
}

function escaped(text: string, mark: string): string {
  return text.replace(UNSAFE, (character) => unitsOf(character, mark));
}

/** Two units for a character beyond U+FFFF, as in JSON and SQL. */
function unitsOf(character: string, mark: string): string {
  return Array.from({ length: character.length }, (_, at) => mark + hex(character.charCodeAt(at), 4)).join("");
}

function hex(code: number, digits: number): string {
  return code.toString(16).padStart(digits, "0");
}
