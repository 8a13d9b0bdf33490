-- An own transaction by its id: a restore looks up the versions of all rows here, while programs wait for the store.

CREATE INDEX _sync_out_by_tx ON _sync_out (tx_id) WHERE part = 0;
