/** What the status bar shows of a window. Pure: a view in, text and Markdown out. */

import { canPause, canPauseNow, canResume, elapsed, isActive, type Known, need } from "./loops";
import type { Snapshot } from "./protocol";
import { changed, clock, count, duration, firstLine, plain, sentence } from "./text";

export type HelperState =
  | { kind: "idle" } // not needed yet
  | { kind: "busy"; doing: string }
  | { kind: "ready" }
  | { kind: "lost" }
  | { kind: "failed"; message: string };

export interface View {
  now: Date;
  helper: HelperState;
  trusted: boolean;
  /** Name of the folder that is looked at; none when no folder is open. */
  folder?: string;
  known?: Known | undefined;
  /** The person has seen how the loop ended. */
  seen: boolean;
  others: { folder: string; loop: Snapshot }[];
}

export interface Face {
  text: string;
  /** Markdown with icons and links to commands. */
  tooltip: string;
  background?: "warning" | "error";
  /** For screen readers. */
  label: string;
}

export function face(view: View): Face {
  const { text, says, background } = summary(view);
  const result: Face = { text, tooltip: tooltip(view, says), label: `Ralph Loop: ${says}` };
  return background ? { ...result, background } : result;
}

interface Summary {
  text: string;
  says: string;
  background?: "warning" | "error";
}

function summary(view: View): Summary {
  const { helper, known } = view;
  switch (helper.kind) {
    case "failed":
      return { text: "$(error) Ralph", says: "the helper cannot run", background: "error" };
    case "busy":
      return { text: "$(loading~spin) Ralph", says: helper.doing };
    case "lost":
      return { text: "$(loading~spin) Ralph", says: "reconnecting to the helper" };
    case "idle":
    case "ready":
      break;
  }
  if (view.folder === undefined) return { text: "$(sync) Ralph", says: "open a folder to start a loop" };
  if (!view.trusted && !(known && isActive(known.loop))) {
    return { text: "$(shield) Ralph", says: "no loops in Restricted Mode" };
  }
  return known ? loopSummary(known.loop, view.seen) : { text: "$(sync) Ralph", says: "idle" };
}

/** How a loop is doing, in icon and words: also for lists and other folders. */
export function loopSummary(loop: Snapshot, seen = true): Summary {
  const n = position(loop);
  const at = loop.iteration > 0 ? ` at iteration ${words(loop)}` : "";
  switch (need(loop)) {
    case "permission":
      return needed(`${n} · permission`, `${count(loop.pendingPermissions, "permission request")} for you to answer`);
    case "question":
      return needed(`${n} · question`, `${count(loop.pendingQuestions, "question")} for you to answer`);
    case "approval":
      return needed(`${n} · review`, `${count(loop.stagedOperations, "staged change")} for you to approve`);
    case "struggle":
      return needed(`${n} · struggling`, `paused${at}: it struggles and needs you`);
    case "disk":
      return { text: `$(error) Ralph ${n} · disk full`, says: `paused${at}: the disk is full`, background: "error" };
    case undefined:
      break;
  }
  switch (loop.status) {
    case "running":
      if (loop.pauseRequested)
        return { text: `$(sync~spin) Ralph ${n} · pausing`, says: `pausing after iteration ${words(loop)}` };
      return {
        text: `$(sync~spin) Ralph ${n}`,
        says: loop.iteration > 0 ? `running iteration ${words(loop)}` : "starting",
      };
    case "waiting": {
      const until = loop.waitingUntil ? ` until ${clock(loop.waitingUntil).slice(0, 5)}` : "";
      return { text: `$(watch) Ralph ${n} · waits${until}`, says: `waits for the rate limit${until}` };
    }
    case "paused":
      return { text: `$(debug-pause) Ralph ${n} · paused`, says: `paused${at}` };
    case "interrupted":
      return { text: `$(debug-disconnect) Ralph ${n} · interrupted`, says: `interrupted${at}`, background: "warning" };
    case "completed":
      return completed(loop);
    case "error":
      return {
        text: `$(error) Ralph ${n} · failed`,
        says: `failed${at}${loop.error ? `: ${firstLine(loop.error.message, 200)}` : ""}`,
        ...(seen ? {} : { background: "error" as const }),
      };
    case "awaiting_approval": // always a need, see above
    case "cancelled":
      return { text: "$(sync) Ralph", says: `cancelled${at}` };
  }
}

function completed(loop: Snapshot): Summary {
  const n = position(loop);
  switch (loop.stopReason) {
    case "maxIterations":
      return {
        text: `$(stop-circle) Ralph ${n} · limit`,
        says: `stopped at the limit of ${count(loop.maxIterations, "iteration")}`,
      };
    case "maxDuration":
      return { text: `$(stop-circle) Ralph ${n} · time limit`, says: "stopped at its time limit" };
    case "aborted":
      return { text: `$(stop-circle) Ralph ${n} · aborted`, says: "the agent gave up" };
    default:
      return { text: `$(pass) Ralph ${n} · done`, says: `completed after ${count(loop.iteration, "iteration")}` };
  }
}

function needed(rest: string, says: string): Summary {
  return { text: `$(bell-dot) Ralph ${rest}`, says, background: "warning" };
}

/** `3/50`, or `3` without a limit. */
function position(loop: Snapshot): string {
  return loop.maxIterations > 0 ? `${loop.iteration}/${loop.maxIterations}` : `${loop.iteration}`;
}

function words(loop: Snapshot): string {
  return loop.maxIterations > 0 ? `${loop.iteration} of ${loop.maxIterations}` : `${loop.iteration}`;
}

function tooltip(view: View, says: string): string {
  const title = `**Ralph Loop**${view.folder === undefined ? "" : ` — ${plain(view.folder)}`}`;
  const blocks = [`${title}  \n${plain(capital(says))}`];
  if (view.helper.kind === "failed") blocks.push(plain(view.helper.message));
  else if (view.helper.kind === "idle" && !view.known && view.trusted) {
    blocks.push("Click to give an agent a task that it works on until it is really done.");
  }
  if (!view.trusted) {
    blocks.push("An agent runs what a repository contains, so it needs a trusted workspace.");
  }
  if (view.known) blocks.push(...facts(view.known, view.now));
  const links = actions(view);
  if (links.length > 0) blocks.push(`---\n\n${links.join(" &nbsp;·&nbsp; ")}`);
  const others = view.others.map(({ folder, loop }) => {
    const { text, says: state } = loopSummary(loop);
    return `${/^\$\([a-z~-]+\)/.exec(text)?.[0] ?? ""} **${plain(folder)}** ${plain(state)}`;
  });
  if (others.length > 0) blocks.push(`---\n\n${others.join("  \n")}`);
  return blocks.join("\n\n");
}

function facts(known: Known, now: Date): string[] {
  const { loop } = known;
  const rows = [
    `Agent **${plain(loop.agent)}**${loop.model ? ` · ${plain(loop.model)}` : ""}`,
    [
      `Elapsed **${duration(elapsed(known, now.getTime()))}**`,
      loop.lastIterationMs === undefined ? "" : `last iteration ${duration(loop.lastIterationMs)}`,
      `started ${clock(loop.startedAt).slice(0, 5)}`,
    ]
      .filter(Boolean)
      .join(" · "),
    sentence(changed(loop.filesChanged)),
  ];
  if (loop.pendingContext > 0) rows.push(`${count(loop.pendingContext, "hint")} for the next iteration`);
  if (loop.tokens)
    rows.push(`Tokens **${(loop.tokens.input + loop.tokens.output).toLocaleString("en-US")}**${cost(loop)}`);
  if (loop.struggle.detected) rows.push(`$(warning) Struggling: ${plain(loop.struggle.reasons.join(" "))}`);
  if (loop.error && loop.status !== "error") rows.push(`$(warning) ${plain(firstLine(loop.error.message, 300))}`);
  if (loop.error?.hint) rows.push(`$(lightbulb) ${plain(firstLine(loop.error.hint, 300))}`);
  return [`$(comment-discussion) ${plain(firstLine(loop.prompt, 200))}`, rows.join("  \n")];
}

function cost(loop: Snapshot): string {
  return loop.costUsd === undefined ? "" : ` · $${loop.costUsd.toFixed(2)}`;
}

function actions({ helper, known, trusted, folder }: View): string[] {
  const link = (icon: string, title: string, command: string) => `[$(${icon}) ${title}](command:ralphLoop.${command})`;
  if (helper.kind === "failed") {
    return [link("refresh", "Try Again", "restartHelper"), link("output", "Log", "showHelperLog")];
  }
  const links: string[] = [];
  const loop = known?.loop;
  const needs = loop && need(loop);
  if (trusted && (needs === "permission" || needs === "question"))
    links.push(link("bell-dot", "Answer", "showRequests"));
  if (trusted && needs === "approval") links.push(link("diff", "Review", "showStaged"));
  if (!trusted) links.push("[$(shield) Manage Workspace Trust](command:workbench.trust.manage)");
  else if (folder !== undefined) {
    if (!loop || !isActive(loop)) links.push(link("play", "Start", "start"));
    if (loop && canResume(loop)) links.push(link("debug-continue", "Resume", "resume"));
    if (loop && canPause(loop)) links.push(link("debug-pause", "Pause", "pause"));
    if (loop?.pauseRequested && canPauseNow(loop)) links.push(link("debug-pause", "Pause Now", "pauseNow"));
    if (loop && (isActive(loop) || loop.status === "interrupted")) {
      links.push(link("debug-stop", "Cancel", "cancel"), link("comment", "Add Context", "addContext"));
    }
  }
  if (loop) links.push(link("output", "Output", "showOutput"), link("history", "History", "showHistory"));
  return links;
}

function capital(text: string): string {
  return text.charAt(0).toUpperCase() + text.slice(1);
}
