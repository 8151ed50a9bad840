/**
 * Runs one statement over many items. When the data of one makes it fail, halves until that one stands alone.
 * Uses savepoints inside a transaction, so what the other items wrote stays.
 */
import { isDataError, sentAhead, sql, type Queryable } from "./database.js";

/**
 * `work` gets any part of `items`; `poison` a single one that fails by itself: by its own data, unless `isOfItem` says
 * otherwise. Other errors (connection, deadlock) are thrown: they say nothing about an item. At most
 * 2 × items × log2(items) calls.
 */
export async function bisect<Item>(
  tx: Queryable,
  items: readonly Item[],
  work: (items: readonly Item[]) => Promise<void>,
  poison: (item: Item, error: Error) => Promise<void>,
  isOfItem: (error: Error) => boolean = isDataError,
): Promise<void> {
  const [only] = items;
  if (only === undefined) return;
  const error = await attempt(tx, () => work(items), isOfItem);
  if (error === null) return;
  if (items.length === 1) return poison(only, error);
  const middle = Math.ceil(items.length / 2);
  await bisect(tx, items.slice(0, middle), work, poison, isOfItem);
  await bisect(tx, items.slice(middle), work, poison, isOfItem);
}

async function attempt(
  tx: Queryable,
  work: () => Promise<void>,
  isOfItem: (error: Error) => boolean,
): Promise<Error | null> {
  await tx.run(sentAhead(sql`savepoint rowmill_chunk`));
  try {
    await work();
    await tx.run(sentAhead(sql`release savepoint rowmill_chunk`));
    return null;
  } catch (error) {
    if (!(error instanceof Error) || !isOfItem(error)) throw error;
    await tx.run(sentAhead(sql`rollback to savepoint rowmill_chunk`));
    await tx.run(sentAhead(sql`release savepoint rowmill_chunk`));
    return error;
  }
}
