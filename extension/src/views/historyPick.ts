/** The history as a quick pick: iterations, newest first → its files → the diff of one. */

import * as vscode from "vscode";

import type { Ctx } from "../ctx";
import { showDiff } from "../documents";
import { KIND_MARKS, STATUS_WORDS } from "../history/render";
import type { Change, IterationRecord, Snapshot } from "../protocol";
import { loopSummary } from "../status";
import { changed, count, duration, firstLine, iconless, lines, moment } from "../text";
import { allIterations, openDocument } from "./pages";

const ICONS: Record<IterationRecord["status"], string> = {
  running: "sync~spin",
  completed: "check",
  interrupted: "debug-disconnect",
  failed: "error",
  timedOut: "watch",
};

type Choice = { open: "document" } | { open: "output" } | { open: "loops" } | { iteration: IterationRecord };

export async function pickHistory(ctx: Ctx, loop: Snapshot): Promise<void> {
  for (;;) {
    const choice = await pickIteration(ctx, loop);
    if (!choice) return;
    if ("iteration" in choice) {
      if ((await pickFile(loop, choice.iteration)) === "back") continue;
      return;
    }
    switch (choice.open) {
      case "document":
        await openDocument({ kind: "history", runId: loop.runId });
        return;
      case "output":
        await openDocument({ kind: "output", runId: loop.runId, after: 0 });
        return;
      case "loops": {
        const other = await pickLoop(ctx, loop);
        if (!other) return;
        loop = other;
      }
    }
  }
}

async function pickIteration(ctx: Ctx, loop: Snapshot): Promise<Choice | undefined> {
  const now = new Date();
  const items = allIterations(ctx, loop.runId).then((iterations): (vscode.QuickPickItem & { choice?: Choice })[] => [
    ...iterations.reverse().map((iteration) => iterationItem(iteration, now)),
    { label: "", kind: vscode.QuickPickItemKind.Separator },
    { label: "$(book) Read All as a Document", choice: { open: "document" } },
    { label: "$(output) Open Full Output", choice: { open: "output" } },
    { label: "$(history) Other Loops…", choice: { open: "loops" } },
  ]);
  const chosen = await vscode.window.showQuickPick(items, {
    title: `Ralph Loop: ${firstLine(loop.prompt, 60)}`,
    placeHolder: `${loopSummary(loop).says}, ${changed(loop.filesChanged)}`,
    matchOnDescription: true,
    matchOnDetail: true,
  });
  return chosen?.choice;
}

function iterationItem(iteration: IterationRecord, now: Date): vscode.QuickPickItem & { choice: Choice } {
  const [added, removed] = sum(iteration.files ?? []);
  const facts = [
    STATUS_WORDS[iteration.status],
    iteration.status === "running" ? "" : duration(iteration.durationMs),
    iteration.tracking ? "" : `${count(iteration.filesTotal, "file")} ${lines({ added, removed })}`.trim(),
    moment(iteration.startedAt, now),
  ];
  return {
    label: `$(${ICONS[iteration.status]}) Iteration ${iteration.iteration}`,
    description: facts.filter(Boolean).join(" · "),
    ...(iteration.errors[0] ? { detail: iconless(firstLine(iteration.errors[0], 150)) } : {}),
    choice: { iteration },
  };
}

/** Shows one iteration's files until one is opened or the person goes back. */
async function pickFile(loop: Snapshot, record: IterationRecord): Promise<"back" | undefined> {
  const { iteration } = record;
  const files = record.files ?? [];
  const items: (vscode.QuickPickItem & { run?: () => Promise<"back" | undefined> })[] = files.map((change) => ({
    label: `${KIND_MARKS[change.kind]}  ${iconless(change.path)}`,
    description: change.binary ? "binary" : lines(change),
    ...(change.oldPath === undefined ? {} : { detail: `was ${iconless(change.oldPath)}` }),
    run: () => showDiff(loop.runId, iteration, change).then(() => undefined),
  }));
  if (files.length === 0)
    items.push({ label: record.tracking ?? "No file changed", run: () => Promise.resolve("back") });
  items.push(
    { label: "", kind: vscode.QuickPickItemKind.Separator },
    {
      label: "$(output) Open Output of This Iteration",
      run: () => openDocument({ kind: "output", runId: loop.runId, iteration, after: 0 }).then(() => undefined),
    },
    {
      label: "$(comment-discussion) Open Prompt of This Iteration",
      run: () => openDocument({ kind: "prompt", runId: loop.runId, iteration }).then(() => undefined),
    },
    { label: "$(arrow-left) Back", run: () => Promise.resolve("back") },
  );
  const chosen = await vscode.window.showQuickPick(items, {
    title: `Ralph Loop: Iteration ${iteration}`,
    placeHolder: files.length > 0 ? "A file to see what was changed in it" : STATUS_WORDS[record.status],
    matchOnDescription: true,
  });
  return chosen?.run?.();
}

async function pickLoop(ctx: Ctx, current: Snapshot): Promise<Snapshot | undefined> {
  const now = new Date();
  const items = ctx.connection.request("ralph/list", { workspace: current.workspace, limit: 100 }).then(({ loops }) =>
    loops.map((loop) => ({
      label: iconless(firstLine(loop.prompt, 80)),
      description: `${loopSummary(loop).says} · ${moment(loop.startedAt, now)}${loop.runId === current.runId ? " · shown" : ""}`,
      loop,
    })),
  );
  const chosen = await vscode.window.showQuickPick(items, {
    title: "Ralph Loop: Loops of This Repository",
    matchOnDescription: true,
  });
  return chosen?.loop;
}

function sum(files: Change[]): [number, number] {
  return [files.reduce((n, file) => n + file.added, 0), files.reduce((n, file) => n + file.removed, 0)];
}
