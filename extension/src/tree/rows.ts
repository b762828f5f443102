/** What the rows of the views say. Pure. */

import { KIND_MARKS, STATUS_WORDS } from "../history/render";
import { canCancel, canPause, canResume, isActive, need } from "../loops";
import type { Change, GitStatus, IterationRecord, Repo, Snapshot } from "../protocol";
import { loopSummary } from "../status";
import { changed, count, duration, firstLine, lines, moment, sentence } from "../text";

export interface Row {
  label: string;
  description: string;
  tooltip: string;
  icon: string;
  /** A theme colour of the icon. */
  color?: string;
  /** For the `when` of menus: words. */
  context: string;
}

const GONE = "the folder is gone";

const ITERATION_ICONS: Record<IterationRecord["status"], [string, string?]> = {
  running: ["sync~spin"],
  completed: ["check", "testing.iconPassed"],
  interrupted: ["debug-disconnect", "list.warningForeground"],
  failed: ["error", "list.errorForeground"],
  timedOut: ["watch", "list.warningForeground"],
};

export function loopRow(loop: Snapshot, now: Date): Row {
  const { text, says } = loopSummary(loop);
  const [icon, color] = loopIcon(loop, text);
  const abilities = [canPause(loop) && "pause", canResume(loop) && "resume", canCancel(loop) && "cancel"];
  return {
    label: firstLine(loop.prompt, 80),
    description: isActive(loop) ? says : `${moment(loop.startedAt, now)} · ${says}`,
    tooltip: [
      firstLine(loop.prompt, 300),
      sentence(says),
      `${loop.agent}${loop.model ? ` · ${loop.model}` : ""}, started ${moment(loop.startedAt, now)}, ${duration(loop.elapsedMs)} of work`,
      `${sentence(changed(loop.filesChanged))} in ${loop.workspace}`,
    ].join("\n"),
    icon,
    ...(color ? { color } : {}),
    context: ["loop", ...abilities.filter(Boolean)].join(" "),
  };
}

function loopIcon(loop: Snapshot, text: string): [string, string?] {
  if (loop.status === "cancelled") return ["circle-slash"];
  const icon = /^\$\(([a-z~-]+)\)/.exec(text)?.[1] ?? "sync";
  if (need(loop)) return [icon, "list.warningForeground"];
  if (loop.status === "error") return [icon, "list.errorForeground"];
  if (loop.status === "completed" && loop.stopReason === "completed") return [icon, "testing.iconPassed"];
  return [icon];
}

export function iterationRow(record: IterationRecord, now: Date): Row {
  const [icon, color] = ITERATION_ICONS[record.status];
  const time = record.status === "running" ? "running" : duration(record.durationMs);
  const status = record.status === "running" || record.status === "completed" ? "" : STATUS_WORDS[record.status];
  return {
    label: `Iteration ${record.iteration}`,
    description: [status, time, record.tracking ? "" : count(record.filesTotal, "file")].filter(Boolean).join(" · "),
    tooltip: [
      `Iteration ${record.iteration}: ${STATUS_WORDS[record.status]}, ${moment(record.startedAt, now)}`,
      ...record.errors.slice(0, 5).map((error) => firstLine(error, 200)),
      ...(record.tracking ? [record.tracking] : []),
    ].join("\n"),
    icon,
    ...(color ? { color } : {}),
    context: "iteration",
  };
}

export function changeRow(change: Change, context: string): Row {
  const slash = change.path.lastIndexOf("/");
  const numbers = change.binary ? "binary" : lines(change);
  const from = change.oldPath === undefined ? "" : `← ${change.oldPath}`;
  return {
    label: change.path.slice(slash + 1),
    description: [KIND_MARKS[change.kind], numbers, from, slash > 0 ? change.path.slice(0, slash) : ""]
      .filter(Boolean)
      .join("  "),
    tooltip: `${change.path}${change.oldPath === undefined ? "" : `, was ${change.oldPath}`}`,
    icon: "file",
    context,
  };
}

/** What tells a repository from others of its name: the folders above it, as few as it takes. Empty if its name does. */
export function placeOf(repo: Repo, all: readonly Repo[]): string {
  const above = ({ path }: Repo, depth: number) =>
    path
      .split("/")
      .slice(-1 - depth, -1)
      .join("/");
  const others = all.filter(({ repoId, name }) => repoId !== repo.repoId && name === repo.name);
  const isShared = (depth: number) => others.some((other) => above(other, depth) === above(repo, depth));
  let depth = 0;
  while (isShared(depth) && depth < repo.path.split("/").length) depth++;
  return above(repo, depth);
}

/** `place` is what `placeOf` says. */
export function repoRow(repo: Repo, place: string, status: GitStatus | undefined, loop: Snapshot | undefined): Row {
  const icon = loop && isActive(loop) ? loopIcon(loop, loopSummary(loop).text)[0] : "repo";
  const says = repo.missing ? GONE : repo.git ? gitWords(status, repo.branch) : "no git repository";
  return {
    label: repo.name,
    description: [place, says].filter(Boolean).join("  "),
    tooltip: [repo.path, ...(repo.trusted ? [] : ["Not trusted: only loops that a person starts"])].join("\n"),
    icon: repo.missing ? "warning" : icon,
    context: ["repository", repo.missing ? "missing" : "here", ...(repo.git && !repo.missing ? ["git"] : [])].join(" "),
  };
}

/** What the past loops of a repository stand under; they are there also when its folder is not. */
export function pastRow(repo: Repo, place: string): Row {
  return {
    label: repo.name,
    description: [place, repo.missing ? GONE : ""].filter(Boolean).join("  "),
    tooltip: repo.path,
    icon: repo.missing ? "warning" : "repo",
    context: "past",
  };
}

/** `main  ↑1 ↓2  3 changed`. */
export function gitWords(status: GitStatus | undefined, branch = ""): string {
  if (!status) return branch;
  const head = status.branch ?? (status.head ? status.head.slice(0, 8) : "no commit yet");
  const distance = [status.ahead > 0 ? `↑${status.ahead}` : "", status.behind > 0 ? `↓${status.behind}` : ""];
  const dirty = dirtyPaths(status).length;
  const parts = [
    head,
    distance.filter(Boolean).join(" "),
    status.operation ? `${status.operation} under way` : "",
    status.conflicts.length > 0 ? count(status.conflicts.length, "conflict") : "",
    dirty > 0 ? `${dirty.toLocaleString("en-US")} changed` : "",
  ];
  return parts.filter(Boolean).join("  ");
}

/** Every path that differs from the last commit, once. */
export function dirtyPaths(status: GitStatus): string[] {
  const changes = [...status.staged, ...status.unstaged].map(({ path }) => path);
  return [...new Set([...changes, ...status.untracked, ...status.conflicts])];
}

/** What a reset to the last commit does: git leaves files alone that it does not know. */
export function resetWords(status: GitStatus): string {
  const n = dirtyPaths({ ...status, untracked: [] }).length;
  const others = status.untracked.length;
  return [
    n === 0
      ? "No file that git tracks is changed there now."
      : `Changes in ${count(n, "file")} are discarded. They are saved first: the output of the reset tells how to get them back.`,
    ...(others > 0 ? [`${count(others, "untracked file")} ${others === 1 ? "stays" : "stay"}.`] : []),
  ].join(" ");
}
