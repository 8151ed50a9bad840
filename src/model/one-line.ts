/**
 * Makes text that others wrote (rows, keys, models, providers, the database, file names) safe as a part of one line of ours: it can
 * neither begin a line, nor move the cursor, nor change the order in which a line is read. Pure; cannot fail.
 */

/**
 * Control characters (C0 with line feeds, tabs and ESC, DEL, C1), the line separators of Unicode, what reorders or hides (bidi
 * controls, zero-width spaces, the byte order mark), and half surrogate pairs. Joiners (U+200C, U+200D) stay: scripts and emoji need them.
 */
const UNSAFE = /[\p{Cc}\p{Zl}\p{Zp}\p{Bidi_Control}\p{Surrogate}\u200b\u2060-\u206f\ufeff]/gu;

const NAMED: Readonly<Record<string, string>> = { "\n": "\\n", "\r": "\\r", "\t": "\\t" };

/**
 * The text with `\n`, `\x1b`, `\u202e` in place of such characters. Backslashes stay single, so it may be applied twice; a line of
 * JSON stays the same JSON, because JSON itself escapes what is below U+0020.
 */
export function oneLine(text: string): string {
  return text.replace(UNSAFE, (character) => {
    const code = character.charCodeAt(0);
    return NAMED[character] ?? (code < 0x20 ? `\\x${hex(code, 2)}` : `\\u${hex(code, 4)}`);
  });
}

const SQL_TOKEN =
  /--[^\n]*|\/\*[^]*?\*\/|\$(?<tag>\w*)\$[^]*?\$\k<tag>\$|(?<!\w)[eE]'(?:[^'\\]|\\[^]|'')*'|'(?:[^']|'')*'|"(?:[^"]|"")*"/gu;

/** The same statement, with such characters of its names and values escaped as SQL has it: a script is read before it is run. */
export function safeSql(statement: string): string {
  return statement.replace(SQL_TOKEN, (token) => {
    if (oneLine(token) === token || /^(?:--|\/\*)/.test(token)) return token;
    const tag = /^\$\w*\$/.exec(token)?.[0];
    if (tag !== undefined) return tag + safeSql(token.slice(tag.length, -tag.length)) + tag;
    if (token.startsWith('"')) return `U&${escaped(token.replaceAll("\\", "\\\\"), "\\")}`;
    return token.startsWith("'")
      ? `E${escaped(token.replaceAll("\\", "\\\\"), "\\u")}`
      : escaped(token, "\\u");
  });
}

function escaped(text: string, mark: string): string {
  return text.replace(UNSAFE, (character) => mark + hex(character.charCodeAt(0), 4));
}

function hex(code: number, digits: number): string {
  return code.toString(16).padStart(digits, "0");
}
