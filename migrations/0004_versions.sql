-- Old and new versions of Rowmill beside each other.

alter table rowmill.deployment
  -- The oldest version of this schema that a worker must know to work here. A migration that older workers cannot live with sets it to its
  -- own number: they begin nothing from then on, and stop.
  add column oldest_version integer not null default 1;
