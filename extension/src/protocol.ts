/**
 * The wire contract, mirrored from `server/ralph_loop/protocol.py`. A test fails when the two drift.
 *
 * Times are RFC 3339 in UTC; durations are integer milliseconds in keys ending in `Ms`.
 */

export const PROTOCOL_VERSION = 1;

export const METHODS = [
  "ralph/health",
  "ralph/start",
  "ralph/pause",
  "ralph/resume",
  "ralph/cancel",
  "ralph/status",
  "ralph/list",
  "ralph/history",
  "ralph/addContext",
  "ralph/listContext",
  "ralph/clearContext",
  "ralph/preview",
  "ralph/prompt",
  "ralph/subscribe",
  "ralph/unsubscribe",
  "ralph/watch",
  "ralph/output",
  "ralph/file",
  "ralph/search",
  "ralph/repos/list",
  "ralph/repos/add",
  "ralph/repos/remove",
  "ralph/repos/scan",
  "ralph/repos/trust",
  "ralph/sessions/list",
  "ralph/sessions/create",
  "ralph/sessions/get",
  "ralph/sessions/rename",
  "ralph/sessions/delete",
  "ralph/git/status",
  "ralph/git/log",
  "ralph/git/branches",
  "ralph/git/diff",
  "ralph/git/add",
  "ralph/git/commit",
  "ralph/git/pull",
  "ralph/git/push",
  "ralph/git/checkout",
  "ralph/git/branch",
  "ralph/git/reset",
  "ralph/config/list",
  "ralph/config/get",
  "ralph/config/set",
  "ralph/config/delete",
  "ralph/config/explain",
  "ralph/config/backends",
  "ralph/config/presets",
  "ralph/tasks/list",
  "ralph/tasks/add",
  "ralph/tasks/remove",
  "ralph/permission/list",
  "ralph/permission/reply",
  "ralph/question/list",
  "ralph/question/answer",
  "ralph/plan/staged",
  "ralph/plan/approve",
  "ralph/plan/reject",
  "ralph/service/status",
  "ralph/service/install",
  "ralph/service/uninstall",
  "ralph/service/start",
  "ralph/service/stop",
] as const;

export type Method = (typeof METHODS)[number];

export const NOTIFICATIONS = [
  "ralph/didChange",
  "ralph/didOutput",
  "ralph/didIterate",
  "ralph/didEvent",
  "ralph/permissionAsked",
  "ralph/questionAsked",
  "ralph/didStage",
  "ralph/permissionResolved",
  "ralph/questionResolved",
] as const;

/** Codes of JSON-RPC errors; `data.kind` of the error holds the same name. */
export const ERRORS = {
  repoBusy: 1001,
  notFound: 1002,
  invalidState: 1003,
  agentNotFound: 1004,
  notARepository: 1005,
  gitFailed: 1006,
  confirmationRequired: 1007,
  treeChanged: 1008,
  databaseTooNew: 1009,
  protocolMismatch: 1010,
  notAvailable: 1011,
  helperRunning: 1012,
  processesLeft: 1013,
  untrusted: 1014,
  planNeedsGit: 1015,
  invalidPrompt: 1016,
} as const;

export type Status =
  "running" | "paused" | "waiting" | "awaiting_approval" | "completed" | "cancelled" | "error" | "interrupted";

export type StopReason =
  "completed" | "maxIterations" | "maxDuration" | "aborted" | "cancelled" | "agentFailed" | "error" | "struggle";

export type Reply = "once" | "always" | "reject";

export interface LoopConfig {
  agent: string;
  model?: string;
  rotation?: string[];
  preset?: string;
  template?: string;
  minIterations: number;
  maxIterations: number;
  maxFailures: number;
  completionPromise: string;
  abortPromise?: string;
  tasksMode: boolean;
  taskPromise: string;
  planMode: boolean;
  allowAll: boolean;
  autoCommit: boolean;
  iterationTimeoutMs?: number;
  inactivityTimeoutMs?: number;
  maxDurationMs?: number;
  pauseOnStruggle: boolean;
  iterationDelayMs: number;
  agentArgs?: string[];
  command?: string[];
}

export interface LoopError {
  kind: string;
  message: string;
  hint?: string;
}

export interface Tokens {
  input: number;
  output: number;
}

export interface Snapshot {
  runId: string;
  sessionId: string;
  repoId: string;
  workspace: string;
  status: Status;
  phase?: "starting" | "agent" | "delay" | "ending";
  pauseRequested: boolean;
  stopReason?: StopReason;
  iteration: number;
  maxIterations: number;
  prompt: string;
  agent: string;
  model?: string;
  startedAt: string;
  endedAt?: string;
  elapsedMs: number;
  lastIterationMs?: number;
  filesChanged: number;
  struggle: { detected: boolean; reasons: string[] };
  pendingContext: number;
  pendingPermissions: number;
  pendingQuestions: number;
  stagedOperations: number;
  waitingUntil?: string;
  tokens?: Tokens;
  costUsd?: number;
  error?: LoopError;
  /** Plan mode only: your folder is read-only for the agent. */
  confined?: boolean;
  revision: number;
}

export interface Change {
  /** What is not UTF-8 is shown lossily here, and given whole in `pathBytes` (base64). */
  path: string;
  pathBytes?: string;
  oldPath?: string;
  oldPathBytes?: string;
  kind: "create" | "modify" | "delete" | "rename" | "typeChange";
  added: number;
  removed: number;
  binary: boolean;
}

export interface Operation extends Change {
  operationId: string;
  iteration: number;
}

export interface IterationRecord {
  runId: string;
  iteration: number;
  status: "running" | "completed" | "interrupted" | "failed" | "timedOut";
  startedAt: string;
  endedAt?: string;
  durationMs: number;
  agent: string;
  model?: string;
  exitCode?: number;
  tools: Record<string, number>;
  /** At most 500; left out of `ralph/didIterate` when there are more than 50. */
  files?: Change[];
  filesTotal: number;
  errors: string[];
  promise: "none" | "nearMiss" | "task" | "completion" | "abort";
  contextIds: string[];
  tokens?: Tokens;
  costUsd?: number;
  message?: string;
  /** Why there is no record of the changed files. */
  tracking?: string;
}

export interface Chunk {
  seq: number;
  iteration: number;
  stream: "stdout" | "stderr" | "display" | "system";
  text: string;
  at: string;
  /** As printed, base64; only when asked for with `raw`. */
  bytes?: string;
}

export interface Repo {
  repoId: string;
  path: string;
  name: string;
  git: boolean;
  trusted: boolean;
  missing: boolean;
  branch?: string;
  lastRunId?: string;
  cloneUrl?: string;
  createdAt: string;
}

/** What a scan found. */
export interface FoundRepo {
  path: string;
  name: string;
  registered: boolean;
}

export interface Session {
  sessionId: string;
  repoId: string;
  workspace: string;
  title: string;
  status: string;
  createdAt: string;
  updatedAt: string;
}

export interface Message {
  messageId: string;
  sessionId: string;
  runId?: string;
  iteration?: number;
  role: "user" | "agent" | "system";
  kind: string;
  text: string;
  at: string;
}

export interface Permission {
  requestId: string;
  runId: string;
  iteration: number;
  tool: string;
  title: string;
  arguments: Record<string, unknown>;
  diff?: string;
  options: Reply[];
  askedAt: string;
}

export interface Question {
  questionId: string;
  runId: string;
  iteration: number;
  text: string;
  options: string[];
  askedAt: string;
}

export interface Backend {
  id: string;
  name: string;
  installed: boolean;
  path?: string;
  version?: string;
  permissions: boolean;
  models: string[];
  installHint: string;
  alsoAs?: string[];
}

export interface Preset {
  id: string;
  title: string;
  description: string;
  source: string;
}

export interface Health {
  status: "ok";
  version: string;
  protocolVersion: number;
  pid: number;
  uptimeMs: number;
  database: string;
  shared: boolean;
  activeLoops: number;
}

/** The helper as a service of the user's. */
export interface ServiceStatus {
  installed: boolean;
  running: boolean;
  manager: string;
  unitPath?: string;
}

/** One side of a changed file. `bytes` (base64) when it is binary, `text` otherwise. */
export interface FileContent {
  exists: boolean;
  binary: boolean;
  text?: string;
  bytes?: string;
  mode: number;
}

export interface GitStatus {
  branch?: string;
  detached: boolean;
  unborn: boolean;
  head?: string;
  upstream?: string;
  ahead: number;
  behind: number;
  operation?: string;
  staged: Change[];
  unstaged: Change[];
  untracked: string[];
  conflicts: string[];
}

export interface GitOutput {
  exitCode: number;
  stdout: string;
  stderr: string;
}

export interface Branch {
  name: string;
  remote: boolean;
  current: boolean;
  sha: string;
  upstream?: string;
}

export interface SearchHit {
  runId?: string;
  sessionId: string;
  where: string;
  excerpt: string;
  at: string;
}
