-- What agents ask: permissions to use a tool, and questions. Unanswered ones survive a client's reconnect.
CREATE TABLE permissions (
    number      INTEGER PRIMARY KEY AUTOINCREMENT,
    id          TEXT NOT NULL UNIQUE,
    run_id      TEXT NOT NULL REFERENCES loops(id) ON DELETE CASCADE,
    request     TEXT NOT NULL,             -- JSON: protocol.Permission
    state       TEXT NOT NULL,             -- open, once, always, reject, withdrawn
    answer      TEXT,                      -- message that went with the reply
    answered_by TEXT
);
CREATE INDEX permissions_open ON permissions(run_id, state);

CREATE TABLE questions (
    number      INTEGER PRIMARY KEY AUTOINCREMENT,
    id          TEXT NOT NULL UNIQUE,
    run_id      TEXT NOT NULL REFERENCES loops(id) ON DELETE CASCADE,
    request     TEXT NOT NULL,             -- JSON: protocol.Question
    state       TEXT NOT NULL,             -- open, answered, withdrawn
    answer      TEXT,
    answered_by TEXT
);
CREATE INDEX questions_open ON questions(run_id, state);

-- "always" is remembered here per repository, tool and pattern, never by an agent's server
CREATE TABLE grants (
    repo_id     TEXT NOT NULL REFERENCES repos(id) ON DELETE CASCADE,
    tool        TEXT NOT NULL,
    pattern     TEXT NOT NULL,
    at          TEXT NOT NULL,
    PRIMARY KEY (repo_id, tool, pattern)
);
