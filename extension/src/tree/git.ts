/** What can be done with a repository from its row. Git runs in the helper; a failure is shown in git's own words. */

import { basename } from "node:path";
import * as vscode from "vscode";

import type { Ctx } from "../ctx";
import { show } from "../notify";
import { type Branch, ERRORS, type GitOutput, type Repo } from "../protocol";
import { codeOf, FailedError, RefusedError, untrusted } from "../refusal";
import { count, firstLine, iconless } from "../text";
import { gitFailure, isBehind } from "./failure";
import { dirtyPaths, resetWords } from "./rows";

type Run = (force: boolean) => Promise<GitOutput>;

/** Refuses before anything is asked: git runs what a repository contains, and rows may be older than what they show. */
export async function requireUsable(ctx: Ctx, { repoId, name, path }: Repo): Promise<void> {
  if (!vscode.workspace.isTrusted) throw untrusted();
  const { repos } = await ctx.connection.request("ralph/repos/list", {});
  const repo = repos.find((other) => other.repoId === repoId);
  if (!repo) throw new RefusedError(`${name} is not in the list any more.`);
  if (repo.missing)
    throw new RefusedError(`The folder of ${name} is gone (${path}). Put it back, or remove it from the list.`);
  if (!repo.trusted)
    throw new RefusedError(
      `${name} is not trusted, and git would run what it contains. Open it in a window and trust it there; then try again.`,
      [{ title: "Open in New Window", command: "ralphLoop.repository.open", arguments: [{ repo }] }],
    );
}

export async function pull(ctx: Ctx, repo: Repo): Promise<void> {
  const workspace = repo.path;
  await git(ctx, "Pull", repo, (force) => ctx.connection.request("ralph/git/pull", { workspace, force }));
}

export async function push(ctx: Ctx, repo: Repo): Promise<void> {
  const workspace = repo.path;
  await git(ctx, "Push", repo, (force) => ctx.connection.request("ralph/git/push", { workspace, force }));
}

/** Commits what is staged; if nothing is, all changes after a question. */
export async function commit(ctx: Ctx, repo: Repo): Promise<void> {
  const { path: workspace, name } = repo;
  const status = await ctx.connection.request("ralph/git/status", { workspace });
  const paths = dirtyPaths(status);
  if (paths.length === 0) throw new RefusedError(`There is nothing to commit in ${name}.`);
  // adding them would call them resolved, with their markers in them
  if (status.conflicts.length > 0)
    throw new RefusedError(
      `${count(status.conflicts.length, "file")} in ${name} ${status.conflicts.length === 1 ? "has" : "have"} conflicts (${firstLine(status.conflicts.join(", "), 200)}). Resolve and stage them, then commit.`,
    );
  const all = status.staged.length === 0;
  const message = await vscode.window.showInputBox({
    title: `Ralph Loop: Commit in ${name}`,
    prompt: all
      ? `Nothing is staged: all ${count(paths.length, "changed file")} will be committed.`
      : `${count(status.staged.length, "staged file")} will be committed.`,
    placeHolder: "Message",
    ignoreFocusOut: true,
  });
  if (!message?.trim()) return;
  await git(ctx, "Commit", repo, async (force) => {
    if (all) {
      const added = await ctx.connection.request("ralph/git/add", { workspace, paths, force });
      if (added.exitCode !== 0) return added;
    }
    return ctx.connection.request("ralph/git/commit", { workspace, message, force });
  });
}

export async function checkout(ctx: Ctx, repo: Repo): Promise<void> {
  const { path: workspace, name } = repo;
  const { branches } = await ctx.connection.request("ralph/git/branches", { workspace });
  const create = { label: "$(plus) Create new branch…" };
  const items: (vscode.QuickPickItem & { branch?: Branch })[] = [create];
  for (const branch of branches)
    items.push({
      label: `$(${branch.remote ? "cloud" : "git-branch"}) ${iconless(branch.name)}`,
      description: `${branch.sha.slice(0, 8)}${branch.current ? " · current" : ""}`,
      branch,
    });
  const chosen = await vscode.window.showQuickPick(items, {
    title: `Ralph Loop: Checkout in ${name}`,
    placeHolder: "A branch",
  });
  if (!chosen) return;
  if (chosen.branch) {
    const branch = chosen.branch.name;
    await git(ctx, "Checkout", repo, (force) =>
      ctx.connection.request("ralph/git/checkout", { workspace, branch, force }),
    );
    return;
  }
  const branch = await vscode.window.showInputBox({
    title: "Ralph Loop: Create Branch",
    prompt: "Name of the new branch",
  });
  if (!branch?.trim()) return;
  // as one: what is not made is not checked out, and a person is asked once
  await git(ctx, "Checkout", repo, async (force) => {
    const made = await ctx.connection.request("ralph/git/branch", { workspace, name: branch.trim(), force });
    if (made.exitCode !== 0) return made;
    return ctx.connection.request("ralph/git/checkout", { workspace, branch: branch.trim(), force });
  });
}

export async function reset(ctx: Ctx, repo: Repo): Promise<void> {
  const { path: workspace, name } = repo;
  const status = await ctx.connection.request("ralph/git/status", { workspace });
  if (status.unborn) throw new RefusedError(`There is no commit in ${name} yet to reset to.`);
  const confirm = "Reset";
  const chosen = await vscode.window.showWarningMessage(
    `Reset ${name} to its last commit?`,
    { modal: true, detail: resetWords(status) },
    confirm,
  );
  if (chosen !== confirm) return;
  const done = await git(ctx, "Reset", repo, (force) =>
    ctx.connection.request("ralph/git/reset", { workspace, confirm: true, force }),
  );
  if (!done?.stdout.trim()) return;
  // its button keeps it open: it tells how to undo the reset
  const buttons = [{ title: "Show Log", command: "ralphLoop.showHelperLog" }];
  void show({ severity: "information", message: `${name}: ${done.stdout.trim()}`, buttons });
}

export async function removeRepository(ctx: Ctx, { repoId, name }: Repo): Promise<void> {
  const confirm = "Remove from List";
  const chosen = await vscode.window.showWarningMessage(
    `Remove ${name} from the list?`,
    { modal: true, detail: "Its files stay as they are." },
    confirm,
  );
  if (chosen === confirm) await ctx.connection.request("ralph/repos/remove", { repoId });
}

/** Runs git, and once more by force if a person wants so although a loop works there. */
async function git(ctx: Ctx, what: string, repo: Repo, run: Run): Promise<GitOutput | undefined> {
  const place = basename(repo.path);
  const options = { location: vscode.ProgressLocation.Window, title: `Ralph Loop: ${what} in ${iconless(place)}` };
  const tryIt = (force: boolean) => vscode.window.withProgress(options, () => run(force));
  let output: GitOutput;
  try {
    output = await tryIt(false);
  } catch (error) {
    if (codeOf(error) !== ERRORS.repoBusy) throw error;
    const anyway = `${what} Anyway`;
    const question = `${what} in ${place} while a loop works there?`;
    const detail = "The loop would see files change under it.";
    if ((await vscode.window.showWarningMessage(question, { modal: true, detail }, anyway)) !== anyway)
      return undefined;
    output = await tryIt(true);
  }
  const said = [output.stdout, output.stderr].filter(Boolean).join("\n").trim();
  ctx.log.info(`${what} in ${repo.path}: exit code ${output.exitCode}\n${said}`);
  if (output.exitCode !== 0) {
    throw new FailedError(`${what} in ${place} failed: ${firstLine(gitFailure(output), 400)}`, [
      ...(isBehind(output) ? [{ title: "Pull", command: "ralphLoop.repository.pull", arguments: [{ repo }] }] : []),
      { title: "Show Log", command: "ralphLoop.showHelperLog" },
    ]);
  }
  vscode.window.setStatusBarMessage(`$(check) ${what} in ${iconless(place)}: done`, 4_000);
  return output;
}
