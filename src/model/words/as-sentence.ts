/** The text with its full stop, for another sentence to follow. Pure. */
export function asSentence(text: string): string {
  return /[.:!?…]["')]?$/u.test(text) ? text : `${text}.`;
}
