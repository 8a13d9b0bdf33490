-- What was answered to a request that named itself by an Idempotency-Key, so that it is done once.

CREATE TABLE sync.answer (
    who          text        NOT NULL,
    key          text        NOT NULL CHECK (length(key) BETWEEN 1 AND 200),
    fingerprint  bytea       NOT NULL CHECK (octet_length(fingerprint) = 32),
    status       smallint,                       -- both are null in the transaction that does it
    answer       text,
    made_at      timestamptz NOT NULL DEFAULT clock_timestamp(),
    expires_at   timestamptz NOT NULL,
    PRIMARY KEY (who, key)
);
COMMENT ON TABLE sync.answer IS 'Answers to requests with an Idempotency-Key, with what they did';
COMMENT ON COLUMN sync.answer.who IS 'Whose key it is: key NAME or user NAME';
COMMENT ON COLUMN sync.answer.fingerprint IS 'SHA-256 of method, address and body';
COMMENT ON COLUMN sync.answer.status IS 'Of the answer';
COMMENT ON COLUMN sync.answer.expires_at IS 'From then on the key may stand for another request';
CREATE INDEX answer_expires_at ON sync.answer (expires_at);

COMMENT ON TABLE sync.audit IS 'Who read and changed what over the API, and made keys; only added to';
COMMENT ON COLUMN sync.audit.who IS 'key NAME, user NAME, os ACCOUNT of a command, or nobody';
