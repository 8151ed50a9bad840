-- A ledger that was restored from a backup, and one that was copied: how they are noticed, and what a person decided.

alter table rowmill.deployment
  -- Not every user may read it; null: not known.
  alter column system_identifier drop not null,
  -- A rename keeps it; a restored dump and a copy on the same server have another one. Null: recorded by the next worker.
  add column database_oid oid,
  -- Of an embedded database: all copies have the same identifier and oid, so its folder and that one's number tell them apart.
  add column folder text,
  add column folder_inode text,
  -- What was seen, for the person who has to decide. While it is there every pipeline is paused.
  add column suspicion text,
  add column suspected_at timestamptz,
  add constraint suspicion_has_time check ((suspicion is null) = (suspected_at is null));

alter table rowmill.batches
  -- Created by a state of this ledger that is lost: its lines are attributed by in_flight.custom_id, which holds our own names.
  add column recovered boolean not null default false,
  -- Its files, and the batch at the provider, belong to another database too: never deleted, never cancelled.
  add column shared boolean not null default false,
  drop constraint uploading_has_spool,
  add constraint uploading_has_spool check (state in ('planned', 'settled', 'rejected', 'cancelled')
    or (lines > 0 and spool_bytes > 0
      and (spool_sha256 is not null or ((recovered or adopted_pattern is not null) and state in ('running', 'collecting')))));
