/** How repositories come into the list: an existing folder, a clone, or all that lie below a folder. */

import { basename } from "node:path";
import * as vscode from "vscode";

import type { Ctx } from "../ctx";
import { show } from "../notify";
import { ERRORS, type FoundRepo, type Repo } from "../protocol";
import { codeOf, FailedError, RefusedError } from "../refusal";
import type { LongRequests } from "../requests";
import { count, iconless, words } from "../text";
import { cloneFailure } from "./failure";
import { advance, foundWords, progressWords } from "./found";

export async function addRepository(ctx: Ctx): Promise<void> {
  const chosen = await vscode.window.showOpenDialog({
    canSelectFolders: true,
    canSelectFiles: false,
    openLabel: "Add Repository",
  });
  if (chosen?.[0]) await ctx.connection.request("ralph/repos/add", { path: chosen[0].fsPath });
}

export async function cloneRepository(ctx: Ctx): Promise<void> {
  const url = await vscode.window.showInputBox({
    title: "Ralph Loop: Clone Repository",
    prompt: "Where to clone from",
    placeHolder: "https://…, ssh://…, user@host:path, or an absolute path",
    ignoreFocusOut: true,
    validateInput: (text) => (text && !text.trim() ? "Give the URL of a repository." : undefined),
  });
  if (!url?.trim()) return;
  const [parent] =
    (await vscode.window.showOpenDialog({
      title: "Folder to clone into",
      canSelectFolders: true,
      canSelectFiles: false,
      openLabel: "Clone Here",
    })) ?? [];
  if (!parent) return;
  const repo = await clone(ctx, url.trim(), parent.fsPath);
  void show({
    severity: "information",
    message: `${repo.name} was cloned into ${repo.path}.`,
    buttons: [
      { title: "Open", command: "vscode.openFolder", arguments: [vscode.Uri.file(repo.path)] },
      { title: "Open in New Window", command: "ralphLoop.repository.open", arguments: [{ repo }] },
      ...(vscode.workspace.isTrusted
        ? [{ title: "Start Loop", command: "ralphLoop.repository.start", arguments: [{ repo }] }]
        : []),
    ],
  });
}

async function clone(ctx: Ctx, url: string, directory: string): Promise<Repo> {
  try {
    return await long(ctx, "ralph/repos/add", { url, directory }, `Cloning into ${basename(directory)}`);
  } catch (error) {
    const stderr = (error as { data?: { stderr?: unknown } }).data?.stderr;
    if (codeOf(error) !== ERRORS.gitFailed || typeof stderr !== "string") throw error;
    ctx.log.error(words(error));
    throw new FailedError(`The repository could not be cloned: ${cloneFailure(stderr)}`, [
      { title: "Try Again", command: "ralphLoop.cloneRepository" },
      { title: "Show Log", command: "ralphLoop.showHelperLog" },
    ]);
  }
}

export async function scanForRepositories(ctx: Ctx): Promise<void> {
  const folders = await vscode.window.showOpenDialog({
    title: "Folders to look for repositories in",
    canSelectFolders: true,
    canSelectFiles: false,
    canSelectMany: true,
    openLabel: "Scan",
  });
  if (!folders?.length) return;
  const names = folders.map(({ fsPath }) => basename(fsPath) || fsPath);
  const paths = folders.map(({ fsPath }) => fsPath);
  const { repos } = await long(ctx, "ralph/repos/scan", { paths }, `Looking for repositories in ${names.join(", ")}`);
  const says = foundWords(repos, names);
  const others = repos.filter(({ registered }) => !registered);
  if (others.length === 0) throw new RefusedError(says);
  const chosen = await choose(others, says);
  for (const { path } of chosen) await ctx.connection.request("ralph/repos/add", { path });
  if (chosen.length === 0) return;
  const message = `${count(chosen.length, "repository", "repositories")} added to the list.`;
  void show({ severity: "information", message, buttons: [] });
}

async function choose(found: FoundRepo[], says: string): Promise<FoundRepo[]> {
  const items = found.map((repo) => ({
    label: `$(repo) ${iconless(repo.name)}`,
    description: iconless(repo.path),
    picked: true,
    repo,
  }));
  const chosen = await vscode.window.showQuickPick(items, {
    title: "Ralph Loop: Scan for Repositories",
    placeHolder: `${says} Which ones shall be listed?`,
    canPickMany: true,
    matchOnDescription: true,
    ignoreFocusOut: true,
  });
  return (chosen ?? []).map(({ repo }) => repo);
}

/** A request with a notification that tells how far it is and can cancel it. */
async function long<M extends keyof LongRequests>(
  ctx: Ctx,
  method: M,
  params: LongRequests[M][0],
  title: string,
): Promise<LongRequests[M][1]> {
  const options = { location: vscode.ProgressLocation.Notification, title, cancellable: true };
  return vscode.window.withProgress(options, async (progress, token) => {
    let shown = 0;
    try {
      return await ctx.connection.long(method, params, token, (message, percentage) => {
        const increment = advance(shown, percentage);
        shown += increment;
        progress.report({ message: progressWords(message), increment });
      });
    } catch (error) {
      throw token.isCancellationRequested ? new vscode.CancellationError() : error;
    }
  });
}
