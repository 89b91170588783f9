-- One text for SQLite and PostgreSQL. Times are milliseconds since 1970 (UTC); JSON is text; secrets are sealed.

CREATE TABLE cg_counters (name TEXT PRIMARY KEY NOT NULL, value BIGINT NOT NULL);
-- `records` and `grants` grow with every change of such, `events` with every event; `keys` is 1 once a key was defined.
INSERT INTO cg_counters (name, value) VALUES ('records', 0), ('grants', 0), ('events', 0), ('keys', 0);

CREATE TABLE cg_seal (
    id BIGINT PRIMARY KEY NOT NULL,     -- always 1
    proof BYTEA NOT NULL                -- something known, sealed under the key that everything is sealed under
);

CREATE TABLE cg_records (
    kind TEXT NOT NULL,
    name TEXT NOT NULL,
    version BIGINT NOT NULL,            -- the value of the counter `records` at its last change
    body TEXT NOT NULL,
    sealed BYTEA,
    updated_at BIGINT NOT NULL,
    PRIMARY KEY (kind, name)
);

CREATE TABLE cg_disabled (name TEXT PRIMARY KEY NOT NULL, since BIGINT NOT NULL);

CREATE TABLE cg_grants (
    name TEXT PRIMARY KEY NOT NULL,
    sealed BYTEA,
    generation BIGINT NOT NULL,         -- the value of the counter `grants` at its last change
    expires_at BIGINT,
    state TEXT NOT NULL,
    reason TEXT,
    updated_at BIGINT NOT NULL,
    fence BIGINT NOT NULL,              -- grows with every lease
    holder TEXT,
    held_until BIGINT NOT NULL          -- 0: nobody's
);

CREATE TABLE cg_passing (
    purpose TEXT NOT NULL,
    digest BYTEA NOT NULL,
    body TEXT NOT NULL,
    sealed BYTEA,
    expires_at BIGINT NOT NULL,
    PRIMARY KEY (purpose, digest)
);
CREATE INDEX cg_passing_expiry ON cg_passing (expires_at);

CREATE TABLE cg_events (
    id BIGINT PRIMARY KEY NOT NULL,
    at BIGINT NOT NULL,
    actor TEXT NOT NULL,
    action TEXT NOT NULL,
    subject TEXT NOT NULL,
    origin TEXT,
    detail TEXT NOT NULL
);
CREATE INDEX cg_events_age ON cg_events (at);
