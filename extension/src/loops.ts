/** What the window knows of loops: the newest snapshot of each, and which repository a folder belongs to. Pure. */

import type { Snapshot } from "./protocol";

/** A loop as it was heard of, and when: what has gone by since then is added to its times. */
export interface Known {
  loop: Snapshot;
  heardAt: number;
}

/** Holds its repository: nothing else can start there. */
export function isActive(loop: Snapshot): boolean {
  return ["running", "paused", "waiting", "awaiting_approval"].includes(loop.status);
}

export function canPause(loop: Snapshot): boolean {
  return (loop.status === "running" && !loop.pauseRequested) || loop.status === "waiting";
}

export function canPauseNow(loop: Snapshot): boolean {
  return loop.status === "running" || loop.status === "waiting";
}

export function canResume(loop: Snapshot): boolean {
  return ["paused", "waiting", "interrupted"].includes(loop.status);
}

export function canCancel(loop: Snapshot): boolean {
  return isActive(loop) || loop.status === "interrupted";
}

/** Why the loop cannot go on without a person, if so. */
export function need(loop: Snapshot): "permission" | "question" | "approval" | "struggle" | "disk" | undefined {
  if (!isActive(loop)) return undefined;
  if (loop.pendingPermissions > 0) return "permission";
  if (loop.pendingQuestions > 0) return "question";
  if (loop.status === "awaiting_approval") return "approval";
  if (loop.status !== "paused") return undefined;
  if (loop.stopReason === "struggle") return "struggle";
  return loop.error?.kind === "diskFull" ? "disk" : undefined;
}

/** Milliseconds worked so far, by the clock of this machine since the snapshot came. */
export function elapsed(known: Known, now: number): number {
  const ticking = known.loop.status === "running" || known.loop.status === "waiting";
  return known.loop.elapsedMs + (ticking ? Math.max(0, now - known.heardAt) : 0);
}

/** The command that a click on the status bar means. `isSeen`: the person has looked at how it ended. */
export function toggleCommand(loop: Snapshot | undefined, isSeen: boolean): string {
  if (!loop) return "start";
  if (need(loop)) return "showNeed";
  if (loop.status === "running") return loop.pauseRequested ? "showStatus" : "pause";
  if (loop.status === "waiting") return "showStatus";
  if (canResume(loop)) return "resume";
  return loop.status === "error" && !isSeen ? "showStatus" : "start";
}

export class Loops {
  readonly #known = new Map<string, Known>();
  readonly #repositories = new Map<string, string>();

  /** Which repository a folder (its URI) lies in. */
  assign(folder: string, repoId: string): void {
    this.#repositories.set(folder, repoId);
  }

  forget(folder: string): void {
    this.#repositories.delete(folder);
  }

  isAssigned(folder: string): boolean {
    return this.#repositories.has(folder);
  }

  /** Keeps a snapshot if it is newer than what is known. Returns the one it replaced, or null when it was stale. */
  take(loop: Snapshot, heardAt: number): { before: Snapshot | undefined } | null {
    const before = this.#known.get(loop.runId)?.loop;
    if (before && before.revision >= loop.revision) return null;
    this.#known.set(loop.runId, { loop, heardAt });
    this.#prune(loop.repoId);
    return { before };
  }

  get(runId: string): Known | undefined {
    return this.#known.get(runId);
  }

  /** Of all repositories, also those that are not open here. */
  get all(): Snapshot[] {
    return [...this.#known.values()].map(({ loop }) => loop);
  }

  /** The loop of a folder that counts: the active one, else the latest. */
  of(folder: string): Known | undefined {
    const repoId = this.#repositories.get(folder);
    return repoId === undefined ? undefined : this.#newest(repoId);
  }

  #newest(repoId: string): Known | undefined {
    let newest: Known | undefined;
    for (const known of this.#known.values()) {
      if (known.loop.repoId === repoId && (!newest || rank(known.loop) > rank(newest.loop))) newest = known;
    }
    return newest;
  }

  #prune(repoId: string): void {
    const newest = this.#newest(repoId);
    for (const [runId, { loop }] of this.#known) {
      if (loop.repoId === repoId && runId !== newest?.loop.runId && !isActive(loop)) this.#known.delete(runId);
    }
  }
}

/** Sorts by active first, then by start. RFC 3339 in UTC sorts as text. */
function rank(loop: Snapshot): string {
  return `${isActive(loop) ? 1 : 0}${loop.startedAt}`;
}
