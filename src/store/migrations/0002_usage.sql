-- Usage: what was counted of requests with something in common, by the minute and by the day (UTC). One text for SQLite
-- and PostgreSQL, as in 0001.

CREATE TABLE cg_usage (
    span BIGINT NOT NULL,               -- in minutes: 1 or 1440
    begins BIGINT NOT NULL,             -- in minutes since 1970
    key_name TEXT NOT NULL,
    route_name TEXT NOT NULL,
    credential_name TEXT NOT NULL,
    endpoint TEXT NOT NULL,
    method TEXT NOT NULL,
    scope TEXT NOT NULL,
    status_class BIGINT NOT NULL,
    requests BIGINT NOT NULL,
    errors BIGINT NOT NULL,
    rate_limited BIGINT NOT NULL,
    refused BIGINT NOT NULL,
    request_bytes BIGINT NOT NULL,
    response_bytes BIGINT NOT NULL,
    waits BIGINT NOT NULL,
    waited_us BIGINT NOT NULL,
    took_us BIGINT NOT NULL,
    -- Requests by how long they took: up to 1, 2.5, 5, 10, 25, 50, 100, 250, 500 ms, 1, 2.5, 5, 10, 30, 60 s, longer.
    d0 BIGINT NOT NULL, d1 BIGINT NOT NULL, d2 BIGINT NOT NULL, d3 BIGINT NOT NULL,
    d4 BIGINT NOT NULL, d5 BIGINT NOT NULL, d6 BIGINT NOT NULL, d7 BIGINT NOT NULL,
    d8 BIGINT NOT NULL, d9 BIGINT NOT NULL, d10 BIGINT NOT NULL, d11 BIGINT NOT NULL,
    d12 BIGINT NOT NULL, d13 BIGINT NOT NULL, d14 BIGINT NOT NULL, d15 BIGINT NOT NULL,
    PRIMARY KEY (span, begins, key_name, route_name, credential_name, endpoint, method, scope, status_class)
);

-- The last batch of counts that a process has written: one whose answer was lost is not counted twice.
CREATE TABLE cg_usage_writers (writer TEXT PRIMARY KEY NOT NULL, number BIGINT NOT NULL, at BIGINT NOT NULL);

CREATE TABLE cg_last_uses (
    kind TEXT NOT NULL,                 -- key or credential
    name TEXT NOT NULL,
    at BIGINT NOT NULL,                 -- in seconds since 1970
    PRIMARY KEY (kind, name)
);

-- What of the daily quota of a key was given to gateways, each of which uses up its part; days are counted from 1970.
CREATE TABLE cg_allowances (
    name TEXT PRIMARY KEY NOT NULL,
    day BIGINT NOT NULL,
    given BIGINT NOT NULL
);
