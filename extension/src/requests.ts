/** Params and results of the requests and notifications that the extension uses. */

import type {
  Backend,
  Branch,
  Chunk,
  FileContent,
  FoundRepo,
  GitOutput,
  GitStatus,
  Health,
  IterationRecord,
  LoopConfig,
  Operation,
  Permission,
  Preset,
  Question,
  Reply,
  Repo,
  ServiceStatus,
  SearchHit,
  Snapshot,
} from "./protocol";

interface Workspace {
  workspace: string;
}

interface Run {
  runId: string;
}

interface Page {
  limit?: number;
}

interface GitWrite extends Workspace {
  /** Also while a loop works there. */
  force?: boolean;
}

interface Start extends Workspace {
  prompt?: string;
  promptFile?: string;
  sessionId?: string;
  config?: Partial<LoopConfig>;
  env?: Record<string, string>;
}

type Empty = Record<string, never>;

/** Params and result of each request that the extension sends. */
export interface Requests {
  "ralph/health": [Empty, Health];
  "ralph/service/status": [Empty, ServiceStatus];
  "ralph/service/install": [Empty, ServiceStatus];
  "ralph/start": [Start, Snapshot];
  "ralph/preview": [Start, { prompt: string }];
  "ralph/pause": [Run & { when?: "afterIteration" | "now" }, Snapshot];
  "ralph/resume": [
    Run & { config?: Partial<Pick<LoopConfig, "maxIterations" | "maxDurationMs" | "agent" | "model">> },
    Snapshot,
  ];
  "ralph/cancel": [Run, Snapshot];
  "ralph/status": [Run | Workspace, Snapshot | null];
  "ralph/list": [
    Partial<Workspace> & Page & { active?: boolean; before?: string },
    { loops: Snapshot[]; more: boolean },
  ];
  "ralph/history": [Run & Page & { before?: number }, { iterations: IterationRecord[]; more: boolean }];
  "ralph/addContext": [(Run | Workspace) & { text: string }, { contextId: string; state: "pending" }];
  "ralph/prompt": [Run & { iteration: number }, { prompt: string }];
  "ralph/subscribe": [Run & { after?: number; view?: View }, { firstSeq: number; lastSeq: number }];
  "ralph/unsubscribe": [Run, Empty];
  "ralph/watch": [{ all: boolean }, { loops: Snapshot[] }];
  "ralph/output": [
    Run & Page & { after?: number; view?: View; iteration?: number; raw?: boolean },
    { chunks: Chunk[]; more: boolean; firstSeq: number },
  ];
  "ralph/file": [
    (Run | Empty) & {
      iteration?: number;
      operationId?: string;
      path: string;
      pathBytes?: string | undefined;
      side: "before" | "after";
    },
    FileContent,
  ];
  "ralph/repos/trust": [Workspace & { trusted: boolean }, Repo];
  "ralph/repos/list": [Empty, { repos: Repo[] }];
  "ralph/repos/add": [{ path: string }, Repo];
  "ralph/repos/remove": [{ repoId: string }, Empty];
  "ralph/git/status": [Workspace, GitStatus];
  "ralph/git/branches": [Workspace, { branches: Branch[] }];
  "ralph/git/add": [GitWrite & { paths: string[] }, GitOutput];
  "ralph/git/commit": [GitWrite & { message: string }, GitOutput];
  "ralph/git/pull": [GitWrite, GitOutput];
  "ralph/git/push": [GitWrite, GitOutput];
  "ralph/git/checkout": [GitWrite & { branch: string }, GitOutput];
  "ralph/git/branch": [GitWrite & { name: string; from?: string }, GitOutput];
  "ralph/git/reset": [GitWrite & { to?: string; confirm: true }, GitOutput];
  "ralph/search": [Partial<Workspace> & Page & { text: string }, { hits: SearchHit[] }];
  "ralph/permission/list": [Partial<Run>, { requests: Permission[] }];
  "ralph/permission/reply": [{ requestId: string; reply: Reply; message?: string }, Empty];
  "ralph/question/list": [Partial<Run>, { questions: Question[] }];
  "ralph/question/answer": [{ questionId: string; answer: string }, Empty];
  "ralph/plan/staged": [Run, { operations: Operation[] }];
  "ralph/plan/approve": [Run & { operationIds?: string[] }, { operations: Operation[] }];
  "ralph/plan/reject": [Run & { operationIds?: string[]; feedback?: string }, { operations: Operation[] }];
  "ralph/config/backends": [Empty, { backends: Backend[] }];
  "ralph/config/presets": [Partial<Workspace>, { presets: Preset[] }];
}

/** Requests that tell how far they are, and can be cancelled. */
export interface LongRequests {
  "ralph/repos/add": [{ url: string; directory: string }, Repo];
  "ralph/repos/scan": [{ paths: string[]; maxDepth?: number }, { repos: FoundRepo[] }];
}

/** What a person reads: `raw` is what was printed, `readable` has structured output turned into text. */
export type View = "readable" | "raw";

/** Parameters of each notification that the extension listens to. */
export interface Notifications {
  "ralph/didChange": Snapshot;
  "ralph/didOutput": { runId: string; chunks: Chunk[] };
  "ralph/didIterate": IterationRecord;
  "ralph/permissionAsked": Permission;
  "ralph/questionAsked": Question;
  "ralph/didStage": { runId: string; operations: Operation[] };
  "ralph/permissionResolved": { requestId: string; reply: string; by: string };
  "ralph/questionResolved": { questionId: string; answer?: string; by: string };
}
