/** How the loop is doing and what can be done about it, for the keyboard: the tooltip's other half. */

import * as vscode from "vscode";

import type { Ctx } from "../ctx";
import { canCancel, canPause, canPauseNow, canResume, elapsed, isActive, need } from "../loops";
import type { Snapshot } from "../protocol";
import { loopSummary } from "../status";
import { changed, count, duration, firstLine, iconless } from "../text";

interface Item extends vscode.QuickPickItem {
  command?: string;
}

export async function pickStatus(ctx: Ctx): Promise<void> {
  const { folder, loop } = ctx;
  const title = `Ralph Loop${folder ? `: ${folder.name}` : ""}`;
  const items = [...(loop ? facts(ctx, loop) : []), ...actions(loop), ...others(ctx)];
  if (loop) await ctx.markSeen(loop.runId);
  const placeHolder = loop ? sentence(loopSummary(loop).says) : "No loop has run here yet";
  const chosen = await vscode.window.showQuickPick(items, { title, placeHolder, matchOnDescription: true });
  if (chosen?.command) await vscode.commands.executeCommand(`ralphLoop.${chosen.command}`);
}

function facts(ctx: Ctx, loop: Snapshot): Item[] {
  const known = ctx.loops.get(loop.runId);
  const worked = known ? elapsed(known, Date.now()) : loop.elapsedMs;
  const items: Item[] = [
    {
      label: "$(comment-discussion) Prompt",
      description: iconless(firstLine(loop.prompt, 120)),
      command: "openHistory",
    },
    { label: "$(hubot) Agent", description: [loop.agent, loop.model].filter(Boolean).join(" · ") },
    {
      label: "$(clock) Elapsed",
      description: `${duration(worked)}${loop.lastIterationMs === undefined ? "" : `, last iteration ${duration(loop.lastIterationMs)}`}`,
    },
    { label: "$(files) Changes", description: changed(loop.filesChanged), command: "showHistory" },
  ];
  if (loop.pendingContext > 0)
    items.push({
      label: "$(comment) Hints",
      description: `${count(loop.pendingContext, "hint")} for the next iteration`,
    });
  if (loop.struggle.detected)
    items.push({ label: "$(warning) Struggling", description: iconless(loop.struggle.reasons.join(" ")) });
  if (loop.error) {
    items.unshift({
      label: "$(error) Error",
      description: iconless(firstLine(loop.error.message, 200)),
      ...(loop.error.hint ? { detail: iconless(loop.error.hint) } : {}),
      command: "showOutput",
    });
  }
  return items;
}

function actions(loop: Snapshot | undefined): Item[] {
  const items: Item[] = [{ label: "", kind: vscode.QuickPickItemKind.Separator }];
  const needs = loop && need(loop);
  if (needs === "permission" || needs === "question")
    items.push({ label: "$(bell-dot) Answer the Agent…", command: "showRequests" });
  if (needs === "approval") items.push({ label: "$(diff) Review Staged Changes", command: "showStaged" });
  if (!loop || !isActive(loop)) items.push({ label: "$(play) Start Loop…", command: "start" });
  if (loop && canResume(loop)) items.push({ label: "$(debug-continue) Resume", command: "resume" });
  if (loop && canPause(loop)) items.push({ label: "$(debug-pause) Pause After This Iteration", command: "pause" });
  if (loop && canPauseNow(loop)) items.push({ label: "$(debug-pause) Pause Now", command: "pauseNow" });
  if (loop && canCancel(loop)) {
    items.push(
      { label: "$(debug-stop) Cancel", command: "cancel" },
      { label: "$(comment) Add Context…", command: "addContext" },
    );
  }
  if (loop)
    items.push(
      { label: "$(output) Show Output", command: "showOutput" },
      { label: "$(history) Show History", command: "showHistory" },
    );
  return items;
}

function others(ctx: Ctx): Item[] {
  const items = ctx
    .others()
    .map(({ folder, loop }) => ({ label: iconless(folder), description: sentence(loopSummary(loop).says) }));
  return items.length > 0 ? [{ label: "other folders", kind: vscode.QuickPickItemKind.Separator }, ...items] : [];
}

function sentence(text: string): string {
  return text.charAt(0).toUpperCase() + text.slice(1);
}
