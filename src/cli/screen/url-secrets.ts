/** What of a database's URL may be shown nowhere. Pure. Reads also what no connection could use: it was typed all the same. */

const PASSWORD_CHARACTERS_MIN = 12;

/** The URL and its password in each form that a message may have it in; none where it holds no password. */
export function urlSecrets(text: string): readonly string[] {
  // With a slash or a question mark that should have been encoded, it ends at the last @.
  const [, password = ""] =
    /:\/\/[^:@/?#]*:([^/?#]*)@/.exec(text) ?? /:\/\/[^:@/?#]*:(.*)@/s.exec(text) ?? [];
  const parameters = [...text.matchAll(/[?&]password=([^&#]+)/g)].map(([, value = ""]) => value);
  const passwords = [...(password === "" ? [] : [password]), ...parameters];
  if (passwords.length === 0) return [];
  return [
    text,
    ...(password === "" ? [] : [`:${password}@`]),
    ...parameters.map((value) => `password=${value}`),
    // A short one may be an ordinary word of our own messages, such as "postgres".
    ...passwords
      .flatMap((found) => [found, decoded(found), decoded(found.replaceAll("+", " "))])
      .filter((found) => found.length >= PASSWORD_CHARACTERS_MIN),
  ];
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    // Malformed percent-encoding is the one thing that it throws for.
    return text;
  }
}
