/**
 * Shows on a real PostgreSQL what the usual set-up does: a row trigger that counts the table and acts at exactly
 * 1,000 rows, and a DELETE between two ids that are not set. Each act would be a batch of 1,000 requests; here it is
 * noted in a table. Fails when PostgreSQL does not do what docs/internals/proofs.md says.
 */
import { startDocsProject } from "./docs-project.mjs";

const threshold = 1_000;
const setUp = `
  create table movies (id bigint generated always as identity primary key, description text);
  create table batches_sent (rows_sent bigint);
  create function send_batch() returns void language plpgsql as $$
    declare start_id bigint; end_id bigint;
    begin
      insert into batches_sent select count(*) from (select 1 from movies order by id limit ${threshold}) sent;
      delete from movies where id between start_id and end_id;
    end $$;
  create function count_rows() returns trigger language plpgsql as $$ begin
    if (select count(*) from movies) = ${threshold} then perform send_batch(); end if;
    return new;
  end $$;
  create trigger count_rows after insert on movies for each row execute function count_rows();`;

const insertAtOnce = (rows) => `insert into movies (description) select 'A film.' from generate_series(1, ${rows})`;
const loads = [
  { what: "1,000 rows in one statement", statements: [insertAtOnce(1_000)], sent: 1_000, left: 1_000 },
  { what: "1,001 rows in one statement", statements: [insertAtOnce(1_001)], sent: 0, left: 1_001 },
  {
    what: "2,500 rows one by one",
    statements: Array.from({ length: 2_500 }, () => insertAtOnce(1)),
    sent: 1,
    left: 2_500,
  },
];

const { client, close } = await startDocsProject();
try {
  await client.query(setUp);
  for (const load of loads) await show(load);
} finally {
  await close();
}

async function show({ what, statements, sent, left }) {
  await client.query("truncate movies, batches_sent");
  for (const statement of statements) await client.query(statement);
  const { rows } = await client.query(
    `select (select count(*)::int from batches_sent) as sent,
      (select coalesce(sum(rows_sent), 0)::int from batches_sent) as requests,
      (select count(*)::int from movies) as left`,
  );
  const [found] = rows;
  console.log(`${what}: ${found.sent} batches, ${found.requests} requests; ${found.left} rows still there`);
  if (found.sent !== sent || found.left !== left)
    throw new Error(`docs/internals/proofs.md says ${sent} batches, and ${left} rows still there.`);
}
