/** Counts as people read them. Pure. */

/** `1,234,567` */
export function formatCount(count: number): string {
  return String(count).replace(/\B(?=(\d{3})+$)/g, ",");
}

/** `1 row`, `2,000 rows`. */
export function counted(count: number, noun: string): string {
  const plural = noun.endsWith("h") ? `${noun}es` : `${noun}s`;
  return `${formatCount(count)} ${count === 1 ? noun : plural}`;
}
