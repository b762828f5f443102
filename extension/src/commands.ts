/** The commands: thin, each sends a request and shows a refusal in words. */

import * as vscode from "vscode";

import { answerRequest, replyToRequest, showRequest, showRequests, type Target as AskTarget } from "./asks/answer";
import type { Ctx } from "./ctx";
import { type DocumentTarget, showDiff } from "./documents";
import { canCancel, canPauseNow, canResume, isActive, need, toggleCommand } from "./loops";
import { show } from "./notify";
import type { Change, Snapshot } from "./protocol";
import { FailedError, refusal, RefusedError, untrusted } from "./refusal";
import type { Requests } from "./requests";
import { selectAgent, selectModel, selectPreset } from "./select";
import { Starter } from "./start";
import type { Views } from "./tree/views";
import { loopSummary } from "./status";
import { words } from "./text";
import { pickHistory } from "./views/historyPick";
import { loopOf, openDocument } from "./views/pages";
import { pickStatus } from "./views/statusPick";

/** What links, buttons and views pass along: a loop other than the one that is looked at. */
interface Target {
  runId?: string;
}

export function registerCommands(ctx: Ctx, views: Views): vscode.Disposable {
  const starter = new Starter(ctx);
  const commands: Record<string, (argument: never) => Promise<unknown>> = {
    ...views.commands(starter),
    start: (given) => starter.start(given),
    startWithOptions: () => starter.startWithOptions(),
    startWithSelection: () => starter.startWithSelection(),
    startWithFile: (uri: vscode.Uri | undefined) => starter.startWithFile(uri),
    preview: () => starter.preview(),
    pause: (target: Target) => pause(ctx, target, "afterIteration"),
    pauseNow: (target: Target) => pause(ctx, target, "now"),
    resume: (target: Target) => resume(ctx, target),
    cancel: (target: Target) => cancel(ctx, target),
    toggle: () => toggle(ctx),
    addContext: (target: Target) => addContext(ctx, target),
    showOutput: (target: Target) => showOutput(ctx, target),
    openFullOutput: (target: (Target & { iteration?: number }) | undefined) => openFullOutput(ctx, target),
    showHistory: async (target: Target) => pickHistory(ctx, await theLoop(ctx, target)),
    openHistory: async (target: Target) => openDocument({ kind: "history", runId: (await theLoop(ctx, target)).runId }),
    showStatus: () => pickStatus(ctx),
    showNeed: (target: Target) => showNeed(ctx, target),
    showRequests: () => showRequests(ctx),
    answerRequest: (target: AskTarget) => answerRequest(ctx, target),
    replyToRequest: (target: AskTarget) => replyToRequest(ctx, target),
    showRequest: (target: AskTarget) => showRequest(ctx, target),
    showDiff: ({ runId, iteration, change }: { runId: string; iteration: number; change: Change }) =>
      showDiff(runId, iteration, change),
    openDocument: (target: DocumentTarget) => openDocument(target),
    openWorkspaceState: () => openWorkspaceState(ctx),
    restartHelper: () => restartHelper(ctx),
    showHelperLog: () => {
      ctx.log.show();
      return Promise.resolve();
    },
    selectAgent: () => selectAgent(ctx),
    selectModel: () => selectModel(ctx),
    selectPreset: () => selectPreset(ctx),
  };
  return vscode.Disposable.from(
    ...Object.entries(commands).map(([name, run]) =>
      vscode.commands.registerCommand(`ralphLoop.${name}`, async (argument: never) => {
        try {
          return await run(argument);
        } catch (error) {
          if (!(error instanceof vscode.CancellationError)) tell(ctx, error);
          return undefined;
        }
      }),
    ),
  );
}

/** Shows why something was refused; never waits for the answer. */
function tell(ctx: Ctx, error: unknown): void {
  const { message, buttons } = refusal(error);
  ctx.log.warn(message);
  const severity = error instanceof RefusedError && !(error instanceof FailedError) ? "information" : "error";
  void show({ severity, message, buttons });
}

/** The loop that a command is about. */
async function theLoop(ctx: Ctx, target: Target | undefined): Promise<Snapshot> {
  if (target?.runId) return loopOf(ctx, target.runId);
  await ctx.connection.ensure();
  if (!ctx.folder) throw new RefusedError("Open a folder first: loops run in a folder.");
  const loop = ctx.loop ?? (await ctx.connection.request("ralph/status", { workspace: ctx.folder.uri.fsPath }));
  if (!loop) throw new RefusedError(`No loop has run in ${ctx.folder.name} yet.`);
  return loop;
}

async function change<M extends "ralph/pause" | "ralph/resume" | "ralph/cancel">(
  ctx: Ctx,
  method: M,
  params: Requests[M][0],
): Promise<void> {
  ctx.take(await ctx.connection.request(method, params));
}

function refuse(loop: Snapshot, what: string): never {
  throw new RefusedError(`There is nothing to ${what}: the loop is ${loopSummary(loop).says}.`);
}

async function pause(ctx: Ctx, target: Target, when: "afterIteration" | "now"): Promise<void> {
  if (!vscode.workspace.isTrusted) throw untrusted();
  const loop = await theLoop(ctx, target);
  if (!canPauseNow(loop)) refuse(loop, "pause");
  await change(ctx, "ralph/pause", { runId: loop.runId, when });
}

async function resume(ctx: Ctx, target: Target): Promise<void> {
  if (!vscode.workspace.isTrusted) throw untrusted();
  const loop = await theLoop(ctx, target);
  if (!canResume(loop)) refuse(loop, "resume");
  await change(ctx, "ralph/resume", { runId: loop.runId });
}

async function cancel(ctx: Ctx, target: Target): Promise<void> {
  if (!vscode.workspace.isTrusted) throw untrusted();
  const loop = await theLoop(ctx, target);
  if (!canCancel(loop)) refuse(loop, "cancel");
  const options = { location: vscode.ProgressLocation.Window, title: "Ralph Loop: ending the agent" };
  await vscode.window.withProgress(options, () => change(ctx, "ralph/cancel", { runId: loop.runId }));
}

/** What a click on the status bar does. */
async function toggle(ctx: Ctx): Promise<void> {
  if (ctx.connection.state.kind === "failed") {
    await restartHelper(ctx);
    return;
  }
  if (ctx.folder && !vscode.workspace.isTrusted) throw untrusted();
  const loop = ctx.loop;
  const command = toggleCommand(loop, loop !== undefined && ctx.hasSeen(loop.runId));
  await vscode.commands.executeCommand(`ralphLoop.${command}`);
}

/** What the loop waits for. A notification stays when the loop does not: its button is answered in words then. */
async function showNeed(ctx: Ctx, target: Target): Promise<void> {
  const loop = await theLoop(ctx, target);
  const needs = need(loop);
  if (!needs) refuse(loop, "review");
  if (needs === "permission" || needs === "question") await showRequests(ctx, loop.runId);
  else if (needs === "approval") await vscode.commands.executeCommand("ralphLoop.showStaged");
  else await pickStatus(ctx);
}

async function addContext(ctx: Ctx, target: Target): Promise<void> {
  if (!vscode.workspace.isTrusted) throw untrusted();
  const loop = await theLoop(ctx, target);
  if (!isActive(loop) && loop.status !== "interrupted") refuse(loop, "add context to");
  const text = await vscode.window.showInputBox({
    title: "Ralph Loop: Add Context",
    prompt: "The next iteration that starts gets this hint, once.",
    placeHolder: "e.g. The tests need Redis: start it with make redis",
    ignoreFocusOut: true,
  });
  if (!text?.trim()) return;
  await ctx.connection.request("ralph/addContext", { runId: loop.runId, text });
  vscode.window.setStatusBarMessage("$(comment) Hint kept for the next iteration", 4_000);
}

async function showOutput(ctx: Ctx, target: Target): Promise<void> {
  const loop = await theLoop(ctx, target);
  const [folder] = ctx.foldersOf(loop.runId);
  if (folder) ctx.outputs.show(folder);
  else await openDocument({ kind: "output", runId: loop.runId, after: 0 });
}

async function openFullOutput(ctx: Ctx, target: (Target & { iteration?: number }) | undefined): Promise<void> {
  const { runId } = await theLoop(ctx, target);
  const iteration = target?.iteration;
  await openDocument({ kind: "output", runId, after: 0, ...(iteration === undefined ? {} : { iteration }) });
}

/** The files that the loop keeps in the folder, for people and for scripts. */
async function openWorkspaceState(ctx: Ctx): Promise<void> {
  const folder = ctx.folder;
  if (!folder) throw new RefusedError("Open a folder first: loops run in a folder.");
  const descriptions: Record<string, string> = {
    "state.json": "how the loop is doing",
    "summary.md": "what happened, to read",
    "history.json": "the last iterations",
    "context.md": "hints for the next iteration, to write into",
  };
  const root = vscode.Uri.joinPath(folder.uri, ".ralph");
  const names = await vscode.workspace.fs.readDirectory(root).then(
    (entries) => entries.map(([name]) => name),
    () => [],
  );
  const items = Object.entries(descriptions)
    .filter(([name]) => names.includes(name))
    .map(([label, description]) => ({ label, description }));
  if (items.length === 0) throw new RefusedError(`${folder.name} has no loop state yet: start a loop first.`);
  const chosen = await vscode.window.showQuickPick(items, {
    title: "Ralph Loop: Open Workspace State",
    placeHolder: `in ${folder.name}/.ralph`,
  });
  if (chosen) await vscode.window.showTextDocument(vscode.Uri.joinPath(root, chosen.label));
}

/** Restarts the helper itself, not only our connection to it: its loops are paused by that, so a person is asked. */
async function restartHelper(ctx: Ctx): Promise<void> {
  if (ctx.connection.state.kind === "ready") {
    const { pid, activeLoops, shared } = await ctx.connection.request("ralph/health", {});
    if (activeLoops > 0) {
      const reconnect = "Only Reconnect";
      const restart = "Pause Loops and Restart";
      const chosen = await vscode.window.showWarningMessage(
        `${activeLoops === 1 ? "A loop is" : `${activeLoops} loops are`} under way in the helper.`,
        { modal: true, detail: "Restarting it pauses them; they can be resumed. Reconnecting leaves them alone." },
        reconnect,
        restart,
      );
      if (!chosen) return;
      if (chosen === restart) end(pid);
    } else if (shared) end(pid);
  }
  const options = { location: vscode.ProgressLocation.Window, title: "Ralph Loop: restarting the helper" };
  await vscode.window.withProgress(options, () => ctx.connection.restart(true));
}

function end(pid: number): void {
  try {
    process.kill(pid, "SIGTERM");
  } catch (error) {
    throw new RefusedError(`The helper (process ${pid}) could not be ended: ${words(error)}`);
  }
}
