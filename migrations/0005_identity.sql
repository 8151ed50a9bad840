-- Money and identity: what a batch was planned with stays with it.

-- Price and batch factor as planned: every cost of the batch is computed from them, whatever the config and the price list say by then.
alter table rowmill.batches
  -- {"model": …, "steps": [{"fromInputTokens", "inputPicoUsd", "cachedInputPicoUsd", "outputPicoUsd"}, …]}: live prices in 1e-12 US dollars
  -- a token. Null: not known.
  add column price jsonb,
  -- What a batch costs of the live price. Null: planned by an older version, and priced by its own model.
  add column batch_factor numeric check (batch_factor > 0),
  add constraint price_has_factor check (price is null or batch_factor is not null);
