/** The view of repositories, each with its branch, its distance to the remote, and how many files differ. */

import * as vscode from "vscode";

import type { Ctx } from "../ctx";
import { isActive } from "../loops";
import type { GitStatus, Repo, Snapshot } from "../protocol";
import { words } from "../text";
import { treeItem } from "./item";
import { placeOf, repoRow } from "./rows";

export interface RepoNode {
  repo: Repo;
}

export class RepositoriesView implements vscode.TreeDataProvider<RepoNode>, vscode.Disposable {
  readonly #nodes = new Map<string, RepoNode>();
  /** The newest loop heard of in each repository. */
  readonly #loops = new Map<string, Snapshot>();
  readonly #changed = new vscode.EventEmitter<RepoNode | undefined>();
  readonly onDidChangeTreeData = this.#changed.event;
  readonly #disposable: vscode.Disposable;

  constructor(private readonly ctx: Ctx) {
    const view = vscode.window.createTreeView("ralphLoop.repositories", { treeDataProvider: this });
    this.#disposable = vscode.Disposable.from(
      view,
      view.onDidChangeVisibility(({ visible }) => {
        if (visible) this.refresh(); // files may have changed while nobody looked
      }),
      ctx.connection.onReady(() => {
        this.refresh();
      }),
      ctx.onDidRegister(() => {
        this.refresh();
      }),
      ctx.onDidHear(({ before, loop }) => {
        this.#loops.set(loop.repoId, loop);
        const isNew = !this.#nodes.has(loop.repoId);
        const wasActive = before !== undefined && isActive(before);
        if (isNew || before?.iteration !== loop.iteration || wasActive !== isActive(loop)) this.#draw(loop.repoId);
      }),
      vscode.workspace.onDidSaveTextDocument(({ uri }) => {
        for (const node of this.#nodes.values())
          if (uri.fsPath.startsWith(`${node.repo.path}/`)) this.#changed.fire(node);
      }),
    );
  }

  refresh(node?: RepoNode): void {
    this.#changed.fire(node);
  }

  dispose(): void {
    this.#disposable.dispose();
    this.#changed.dispose();
  }

  async getTreeItem(node: RepoNode): Promise<vscode.TreeItem> {
    const { repo } = node;
    const place = placeOf(
      repo,
      [...this.#nodes.values()].map((other) => other.repo),
    );
    const row = repoRow(repo, place, await this.#status(repo), this.#loops.get(repo.repoId));
    return treeItem(`repository ${repo.repoId}`, row);
  }

  async getChildren(node?: RepoNode): Promise<RepoNode[]> {
    if (node || this.ctx.connection.state.kind !== "ready") return [];
    const { repos } = await this.ctx.connection.request("ralph/repos/list", {});
    const old = new Map(this.#nodes);
    this.#nodes.clear();
    for (const repo of repos) {
      const known = old.get(repo.repoId) ?? { repo };
      known.repo = repo;
      this.#nodes.set(repo.repoId, known);
    }
    return [...this.#nodes.values()];
  }

  async #status(repo: Repo): Promise<GitStatus | undefined> {
    if (!repo.git || repo.missing) return undefined;
    try {
      return await this.ctx.connection.request("ralph/git/status", { workspace: repo.path });
    } catch (error) {
      this.ctx.log.warn(`${repo.path}: ${words(error)}`);
      return undefined;
    }
  }

  #draw(repoId: string): void {
    this.#changed.fire(this.#nodes.get(repoId));
  }
}
