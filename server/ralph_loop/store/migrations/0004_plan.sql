-- Plan mode: the changes of an iteration that wait for approval.
CREATE TABLE operations (
    number      INTEGER PRIMARY KEY AUTOINCREMENT,
    id          TEXT NOT NULL UNIQUE,
    run_id      TEXT NOT NULL REFERENCES loops(id) ON DELETE CASCADE,
    iteration   INTEGER NOT NULL,
    operation   TEXT NOT NULL,             -- JSON: protocol.Operation
    state       TEXT NOT NULL              -- staged, applying, approved, rejected, dropped
);
CREATE INDEX operations_by_run ON operations(run_id, state);
