/** DynamoDB's stand-in in a process of its own. Says on standard output at which port it listens. */
import dynalite from "dynalite";

const server = dynalite({ createTableMs: 0, deleteTableMs: 0 });
server.listen(0, "127.0.0.1", () => process.stdout.write(`${JSON.stringify({ port: server.address().port })}\n`));
// It ends with the test that started it.
process.stdin.resume().once("end", () => process.exit(0));
