/** A loop in the middle of its work, to change as a test needs it. */

import type { IterationRecord, Snapshot } from "../../../extension/src/protocol";

export function loop(changes: Partial<Snapshot> = {}): Snapshot {
  return {
    runId: "run_1",
    sessionId: "ses_1",
    repoId: "repo_1",
    workspace: "/work/shop",
    status: "running",
    phase: "agent",
    pauseRequested: false,
    iteration: 3,
    maxIterations: 50,
    prompt: "Make the tests pass",
    agent: "claude",
    startedAt: "2026-11-21T09:00:00.000Z",
    elapsedMs: 65_000,
    lastIterationMs: 21_000,
    filesChanged: 4,
    struggle: { detected: false, reasons: [] },
    pendingContext: 0,
    pendingPermissions: 0,
    pendingQuestions: 0,
    stagedOperations: 0,
    revision: 7,
    ...changes,
  };
}

export function iteration(changes: Partial<IterationRecord> = {}): IterationRecord {
  return {
    runId: "run_1",
    iteration: 1,
    status: "completed",
    startedAt: "2026-11-21T09:00:00.000Z",
    endedAt: "2026-11-21T09:00:21.000Z",
    durationMs: 21_000,
    agent: "claude",
    exitCode: 0,
    tools: {},
    files: [],
    filesTotal: 0,
    errors: [],
    promise: "none",
    contextIds: [],
    ...changes,
  };
}
