/** Preloaded into a command (`node --import`) whose screen a page shows: stdout counts as a terminal of 80 by 24. */
Object.assign(process.stdout, { isTTY: true, columns: 80, rows: 24 });
