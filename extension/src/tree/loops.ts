/** The view of loops: those that run, then the past ones by repository → iterations → changed files. Loaded as opened. */

import * as vscode from "vscode";

import type { Ctx } from "../ctx";
import type { Change, IterationRecord, Repo } from "../protocol";
import { words } from "../text";
import { fileItem, treeItem } from "./item";
import { type PlacedLoop, Placing } from "./placing";
import { changeRow, iterationRow, loopRow, pastRow, placeOf, type Row } from "./rows";

const PAGE = 30;

interface RepositoryNode {
  kind: "repository";
  repo: Repo;
  place: string;
  shown: number;
}

export type LoopNode =
  | PlacedLoop
  | RepositoryNode
  | { kind: "iteration"; runId: string; workspace: string; iteration: number; record: IterationRecord }
  | { kind: "file"; runId: string; workspace: string; iteration: number; change: Change }
  | { kind: "note"; id: string; text: string; more?: LoopNode };

export class LoopsView implements vscode.TreeDataProvider<LoopNode>, vscode.Disposable {
  readonly #placing = new Placing();
  /** By id: VS Code knows nodes by identity. */
  readonly #repositories = new Map<string, RepositoryNode>();
  readonly #changed = new vscode.EventEmitter<LoopNode | undefined>();
  readonly onDidChangeTreeData = this.#changed.event;
  readonly #disposable: vscode.Disposable;

  constructor(private readonly ctx: Ctx) {
    this.#disposable = vscode.Disposable.from(
      vscode.window.createTreeView("ralphLoop.loops", { treeDataProvider: this, showCollapseAll: true }),
      ctx.connection.onReady(() => {
        this.refresh();
      }),
      ctx.onDidHear(({ loop }) => {
        const redrawn = this.#placing.heard(loop);
        if (redrawn) this.#changed.fire(redrawn === "all" ? undefined : redrawn);
      }),
      ctx.onDidIterate(({ runId }) => {
        const node = this.#placing.get(runId);
        if (node) this.#changed.fire(node);
      }),
    );
  }

  refresh(node?: LoopNode): void {
    this.#changed.fire(node);
  }

  /** The next page of a repository's past loops. */
  showMore(node: LoopNode): void {
    if (node.kind !== "note" || node.more?.kind !== "repository") return;
    node.more.shown += PAGE;
    this.#changed.fire(node.more);
  }

  dispose(): void {
    this.#disposable.dispose();
    this.#changed.dispose();
  }

  getTreeItem(node: LoopNode): vscode.TreeItem {
    const now = new Date();
    const { Collapsed, Expanded, None } = vscode.TreeItemCollapsibleState;
    switch (node.kind) {
      case "loop":
        return treeItem(node.runId, loopRow(node.loop, now), Collapsed);
      case "repository": {
        const { repo, place } = node;
        const isOpen = (vscode.workspace.workspaceFolders ?? []).some(({ uri }) => uri.fsPath === repo.path);
        return treeItem(repo.repoId, pastRow(repo, place), isOpen ? Expanded : Collapsed);
      }
      case "iteration": {
        const state = (node.record.files ?? []).length > 0 || node.record.tracking ? Collapsed : None;
        return treeItem(`${node.runId}#${node.iteration}`, iterationRow(node.record, now), state);
      }
      case "file": {
        const { runId, iteration, change, workspace } = node;
        const open = {
          command: "ralphLoop.showDiff",
          title: "Open Changes",
          arguments: [{ runId, iteration, change }],
        };
        const id = `${runId}#${iteration}/${change.pathBytes ?? change.path}`;
        return fileItem(id, changeRow(change, "file"), { workspace, path: change.path }, open);
      }
      case "note": {
        const row: Row = {
          label: node.text,
          description: "",
          tooltip: node.text,
          icon: node.more ? "ellipsis" : "info",
          context: "note",
        };
        const item = treeItem(node.id, row);
        if (node.more?.kind === "loop")
          item.command = { command: "ralphLoop.loop.history", title: "Open History", arguments: [node.more] };
        else if (node.more) item.command = { command: "ralphLoop.moreLoops", title: "Show More", arguments: [node] };
        return item;
      }
    }
  }

  async getChildren(node?: LoopNode): Promise<LoopNode[]> {
    if (this.ctx.connection.state.kind !== "ready") return []; // the welcome says why
    try {
      return await this.#children(node);
    } catch (error) {
      this.ctx.log.error(`The view of loops: ${words(error)}`);
      return [{ kind: "note", id: `error ${Date.now()}`, text: words(error) }];
    }
  }

  async #children(node: LoopNode | undefined): Promise<LoopNode[]> {
    const { connection } = this.ctx;
    if (!node) {
      const [active, { repos }] = await Promise.all([this.#active(), connection.request("ralph/repos/list", {})]);
      const used = repos.filter(({ lastRunId }) => lastRunId !== undefined);
      return [...active, ...used.map((repo) => this.#repository(repo, placeOf(repo, used)))];
    }
    switch (node.kind) {
      case "repository": {
        const { repo, shown } = node;
        const { loops, more } = await connection.request("ralph/list", { workspace: repo.path, limit: shown });
        const past: LoopNode[] = this.#placing.past(loops);
        if (more) past.push({ kind: "note", id: `more ${repo.repoId}`, text: "Show older loops…", more: node });
        else if (past.length === 0) past.push({ kind: "note", id: `none ${repo.repoId}`, text: "No past loop here" });
        return past;
      }
      case "loop": {
        const { runId, loop } = node;
        const { iterations, more } = await connection.request("ralph/history", { runId, limit: 200 });
        const nodes: LoopNode[] = iterations.reverse().map((record) => ({
          kind: "iteration",
          runId,
          workspace: loop.workspace,
          iteration: record.iteration,
          record,
        }));
        if (more) nodes.push({ kind: "note", id: `older ${runId}`, text: "Older ones: open the history", more: node });
        if (nodes.length === 0) nodes.push({ kind: "note", id: `none ${runId}`, text: "No iteration has started yet" });
        return nodes;
      }
      case "iteration": {
        const { runId, iteration, record, workspace } = node;
        const files = record.files ?? [];
        const nodes: LoopNode[] = files.map((change) => ({ kind: "file", runId, workspace, iteration, change }));
        const id = `note ${runId}#${iteration}`;
        if (record.tracking) nodes.push({ kind: "note", id, text: record.tracking });
        else if (record.filesTotal > files.length)
          nodes.push({ kind: "note", id, text: `… and ${record.filesTotal - files.length} more` });
        return nodes;
      }
      default:
        return [];
    }
  }

  /** Placed as soon as they are known: what is heard while the repositories are asked for is newer. */
  async #active(): Promise<PlacedLoop[]> {
    const { loops } = await this.ctx.connection.request("ralph/watch", { all: true });
    const active = this.#placing.top(loops);
    for (const loop of loops) this.ctx.take(loop); // after: what is drawn now is not drawn again
    return active;
  }

  #repository(repo: Repo, place: string): LoopNode {
    const known = this.#repositories.get(repo.repoId);
    if (known) return Object.assign(known, { repo, place });
    const node: LoopNode = { kind: "repository", repo, place, shown: PAGE };
    this.#repositories.set(repo.repoId, node);
    return node;
  }
}
