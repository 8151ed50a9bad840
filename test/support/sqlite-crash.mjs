/** Changes all films of a SQLite file, and is killed before it commits: part of the change is in the file. */
import { createClient } from "@libsql/client";

const client = createClient({ url: `file:${process.argv[2]}`, concurrency: 1 });
await client.executeMultiple("pragma cache_size = 5; pragma cache_spill = 5");
const transaction = await client.transaction("write");
await transaction.execute("update films set v = 'torn ' || v");
process.kill(process.pid, "SIGKILL");
