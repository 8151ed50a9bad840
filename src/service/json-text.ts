/** JSON of parts that are JSON texts already, so that no number of the database loses a digit. Pure. */

/** On one line if its parts are. */
export function jsonObject(members: Readonly<Record<string, string>>): string {
  return `{${Object.entries(members)
    .map(([name, text]) => `${JSON.stringify(name)}:${text}`)
    .join(",")}}`;
}
