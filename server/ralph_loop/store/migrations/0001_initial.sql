-- Times are RFC 3339 in UTC with milliseconds. JSON columns hold what is only ever read whole.
CREATE TABLE repos (
    id          TEXT PRIMARY KEY,
    key         TEXT NOT NULL UNIQUE,      -- real path of the git common directory, or of the plain folder
    path        TEXT NOT NULL,             -- root of the working tree it was first seen with
    name        TEXT NOT NULL,
    git         INTEGER NOT NULL,
    trusted     INTEGER NOT NULL DEFAULT 0,
    listed      INTEGER NOT NULL DEFAULT 1, -- 0: the user removed it from the list
    clone_url   TEXT,
    created_at  TEXT NOT NULL
);

CREATE TABLE sessions (
    id          TEXT PRIMARY KEY,
    repo_id     TEXT NOT NULL REFERENCES repos(id),
    workspace   TEXT NOT NULL,
    title       TEXT NOT NULL,
    created_at  TEXT NOT NULL,
    updated_at  TEXT NOT NULL
);
CREATE INDEX sessions_by_repo ON sessions(repo_id, created_at);

CREATE TABLE loops (
    number      INTEGER PRIMARY KEY AUTOINCREMENT, -- order of starting
    id          TEXT NOT NULL UNIQUE,
    session_id  TEXT NOT NULL REFERENCES sessions(id) ON DELETE CASCADE,
    repo_id     TEXT NOT NULL REFERENCES repos(id),
    status      TEXT NOT NULL,
    state       TEXT NOT NULL              -- JSON: engine/state.py LoopState
);
CREATE INDEX loops_by_session ON loops(session_id, number);
CREATE INDEX loops_by_repo ON loops(repo_id, number);
CREATE INDEX loops_by_status ON loops(status);

CREATE TABLE iterations (
    run_id      TEXT NOT NULL REFERENCES loops(id) ON DELETE CASCADE,
    iteration   INTEGER NOT NULL,
    status      TEXT NOT NULL,
    record      TEXT NOT NULL,             -- JSON: protocol.IterationRecord
    structured  INTEGER NOT NULL,          -- the agent printed a format for machines: see `display` in output_logs
    prompt      TEXT NOT NULL,             -- exactly as it was given
    before_tree TEXT,                      -- ids in the private snapshot store
    after_tree  TEXT,
    PRIMARY KEY (run_id, iteration)
);

CREATE TABLE contexts (
    number      INTEGER PRIMARY KEY AUTOINCREMENT, -- order of arrival
    id          TEXT NOT NULL UNIQUE,
    repo_id     TEXT NOT NULL REFERENCES repos(id),
    run_id      TEXT REFERENCES loops(id) ON DELETE CASCADE, -- NULL: for the next loop of the repository
    text        TEXT NOT NULL,
    state       TEXT NOT NULL,             -- pending, delivered, cleared
    iteration   INTEGER,
    added_at    TEXT NOT NULL
);
CREATE INDEX contexts_by_run ON contexts(run_id, state);
CREATE INDEX contexts_by_repo ON contexts(repo_id, state);

CREATE TABLE messages (
    number      INTEGER PRIMARY KEY AUTOINCREMENT,
    id          TEXT NOT NULL UNIQUE,
    session_id  TEXT NOT NULL REFERENCES sessions(id) ON DELETE CASCADE,
    run_id      TEXT REFERENCES loops(id) ON DELETE CASCADE,
    iteration   INTEGER,
    role        TEXT NOT NULL,             -- user, agent, system
    kind        TEXT NOT NULL,
    text        TEXT NOT NULL,
    at          TEXT NOT NULL
);
CREATE INDEX messages_by_session ON messages(session_id, number);

CREATE TABLE output_logs (
    number      INTEGER PRIMARY KEY,
    run_id      TEXT NOT NULL REFERENCES loops(id) ON DELETE CASCADE,
    seq         INTEGER NOT NULL,          -- grows by one over the whole loop
    iteration   INTEGER NOT NULL,
    stream      TEXT NOT NULL,             -- stdout, stderr, display, system
    at          TEXT NOT NULL,
    data        BLOB NOT NULL              -- as it was printed
);
CREATE UNIQUE INDEX output_by_seq ON output_logs(run_id, seq);

CREATE TABLE config (
    key         TEXT PRIMARY KEY,
    value       TEXT NOT NULL              -- JSON
);
