-- Batches that other code created at the provider, and that a person gave to a pipeline by `rowmill adopt`.

alter table rowmill.batches
  -- How that code named its requests, such as `task-{imdb_id}`; null: the batch is Rowmill's own. What lies at the provider for an
  -- adopted one is the user's, and never deleted.
  add column adopted_pattern text,
  drop constraint uploading_has_spool,
  add constraint uploading_has_spool check (state in ('planned', 'settled', 'rejected', 'cancelled')
    or (lines > 0 and spool_bytes > 0 and (spool_sha256 is not null or (adopted_pattern is not null and state in ('running', 'collecting')))));

-- As that code wrote it, and not by the key: a row may get another key while it is being answered.
alter table rowmill.in_flight add column custom_id text;
create unique index in_flight_by_custom_id on rowmill.in_flight (batch_id, custom_id) where custom_id is not null;
