/** Whether a change of a loop is worth a notification, and its words and buttons. Pure. */

import { isActive, need } from "./loops";
import type { Snapshot } from "./protocol";
import type { Button } from "./refusal";
import type { NotificationLevel } from "./settings";
import { changed, count, duration, firstLine } from "./text";

export interface Notice {
  severity: "information" | "warning" | "error";
  message: string;
  buttons: Button[];
}

const MOST_RUNNING = 50;

/** The runs that are known to be active, after a loop of any folder was heard of; the oldest are forgotten. */
export function stillRunning(running: string[], loop: Snapshot): string[] {
  const others = running.filter((runId) => runId !== loop.runId);
  return isActive(loop) ? [...others, loop.runId].slice(-MOST_RUNNING) : others;
}

export interface Occasion {
  /** Name of the folder. */
  place: string;
  before: Snapshot | undefined;
  loop: Snapshot;
  /** It ran when this window last heard of it. */
  wasRunning: boolean;
  isLookedAt: boolean;
  level: NotificationLevel;
}

export function notice({ place, before, loop, wasRunning, isLookedAt, level }: Occasion): Notice | undefined {
  if (level === "off") return undefined;
  const arguments_ = [{ runId: loop.runId }];
  const button = (title: string, command: string): Button => ({
    title,
    command: `ralphLoop.${command}`,
    arguments: arguments_,
  });
  const output = button("Show Output", "showOutput");
  const history = button("Show History", "showHistory");

  const needs = need(loop);
  if (needs && !(before && need(before) === needs)) {
    switch (needs) {
      case "permission":
      case "question":
        return undefined; // the request itself is shown, with its answers
      case "approval":
        return {
          severity: "warning",
          message: `${place}: ${count(loop.stagedOperations, "staged change")} for you to approve.`,
          buttons: [button("Review", "showNeed")],
        };
      case "struggle":
        return {
          severity: "warning",
          message: `${place}: the loop was paused because it struggles. ${loop.struggle.reasons.join(" ")}`,
          buttons: [button("Add Context", "addContext"), button("Resume", "resume"), output],
        };
      case "disk":
        return {
          severity: "error",
          message: `${place}: the loop was paused because the disk is full. Free some space, then resume.`,
          buttons: [button("Resume", "resume")],
        };
    }
  }
  if (!wasRunning || isActive(loop)) return undefined;
  if (loop.status === "interrupted") {
    return {
      severity: "warning",
      message: `${place}: the loop was interrupted at iteration ${loop.iteration}. Nothing stored is lost.`,
      buttons: [button("Resume", "resume"), output],
    };
  }
  const tellEnds = level === "all" || (level === "important" && !isLookedAt);
  if (!tellEnds || loop.status === "cancelled") return undefined;
  const after = `${count(loop.iteration, "iteration")}, ${duration(loop.elapsedMs)}`;
  if (loop.status === "error") {
    const why = loop.error ? `: ${firstLine(loop.error.message, 200)}` : "";
    const hint = loop.error?.hint ? ` ${firstLine(loop.error.hint, 200)}` : "";
    return {
      severity: "error",
      message: `${place}: the loop failed after ${after}${why}${hint}`,
      buttons: [output, history],
    };
  }
  const message = {
    completed: `${place}: the loop is done after ${after}, ${changed(loop.filesChanged)}.`,
    maxIterations: `${place}: the loop stopped at its limit of ${count(loop.maxIterations, "iteration")}. It is not done.`,
    maxDuration: `${place}: the loop stopped at its time limit, after ${after}. It is not done.`,
    aborted: `${place}: the agent gave up after ${after}.`,
  }[
    loop.stopReason === "maxIterations" || loop.stopReason === "maxDuration" || loop.stopReason === "aborted"
      ? loop.stopReason
      : "completed"
  ];
  return { severity: loop.stopReason === "completed" ? "information" : "warning", message, buttons: [history, output] };
}
