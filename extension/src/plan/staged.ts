/** The view of changes that wait for approval, and what is done with them. */

import * as vscode from "vscode";

import type { Ctx } from "../ctx";
import { showOperationDiff } from "../documents";
import type { Operation, Snapshot } from "../protocol";
import { RefusedError, untrusted } from "../refusal";
import { fileItem, treeItem } from "../tree/item";
import { changeRow, loopRow } from "../tree/rows";
import { count, iconless, words } from "../text";

const VIEW = "ralphLoop.staged";

interface Staged {
  loop: Snapshot;
  operations: Operation[];
}

type Node = Staged | { loop: Snapshot; operation: Operation };

/** What the view's actions pass along; none from the view's title. */
export type StagedTarget = Node | undefined;

export class StagedChanges implements vscode.TreeDataProvider<Node>, vscode.Disposable {
  readonly #staged = new Map<string, Staged>();
  /** The state of each loop that was asked about last. */
  readonly #asked = new Map<string, string>();
  readonly #changed = new vscode.EventEmitter<undefined>();
  readonly onDidChangeTreeData = this.#changed.event;
  readonly #view: vscode.TreeView<Node>;
  readonly #listener: vscode.Disposable;

  constructor(private readonly ctx: Ctx) {
    this.#view = vscode.window.createTreeView(VIEW, { treeDataProvider: this });
    this.#listener = ctx.onDidChange(() => {
      this.#look();
    });
  }

  getTreeItem(node: Node): vscode.TreeItem {
    const { loop } = node;
    if (!("operation" in node))
      return treeItem(
        loop.runId,
        { ...loopRow(loop, new Date()), context: "staged" },
        vscode.TreeItemCollapsibleState.Expanded,
      );
    const { operation } = node;
    return fileItem(
      operation.operationId,
      changeRow(operation, "operation"),
      { workspace: loop.workspace, path: operation.path },
      { command: "ralphLoop.showOperation", title: "Open Changes", arguments: [node] },
    );
  }

  getChildren(node?: Node): Node[] {
    const only = node ? this.#staged.get(node.loop.runId) : this.#only();
    if (!only) return [...this.#staged.values()];
    return only.operations.map((operation) => ({ loop: only.loop, operation }));
  }

  getParent(): undefined {
    return undefined;
  }

  dispose(): void {
    this.#listener.dispose();
    this.#view.dispose();
    this.#changed.dispose();
  }

  /** Brings the view to the front. */
  async show(): Promise<void> {
    await vscode.commands.executeCommand(`${VIEW}.focus`);
  }

  async open(target: StagedTarget): Promise<void> {
    if (target && "operation" in target) await showOperationDiff(target.loop.runId, target.operation);
  }

  async approve(target: StagedTarget): Promise<void> {
    if (!vscode.workspace.isTrusted) throw untrusted();
    const { loop, ids } = await this.#choose(target);
    const { operations } = await this.ctx.connection.request("ralph/plan/approve", { runId: loop.runId, ...ids });
    this.#take(loop, operations);
  }

  async reject(target: StagedTarget): Promise<void> {
    if (!vscode.workspace.isTrusted) throw untrusted();
    const { loop, ids, what } = await this.#choose(target);
    const feedback = await vscode.window.showInputBox({
      title: `Ralph Loop: Reject ${what}`,
      prompt: "What is wrong with it? The agent reads this in its next prompt. Empty: it is only dropped.",
      ignoreFocusOut: true,
    });
    if (feedback === undefined) return;
    const params = { runId: loop.runId, ...ids, ...(feedback.trim() ? { feedback: feedback.trim() } : {}) };
    const { operations } = await this.ctx.connection.request("ralph/plan/reject", params);
    this.#take(loop, operations);
  }

  async #choose(target: StagedTarget): Promise<{ loop: Snapshot; ids: { operationIds?: string[] }; what: string }> {
    if (target && "operation" in target) {
      const { loop, operation } = target;
      return { loop, ids: { operationIds: [operation.operationId] }, what: operation.path };
    }
    const all = [...this.#staged.values()];
    if (all.length === 0) throw new RefusedError("No change waits for your approval.");
    const found = target ? this.#staged.get(target.loop.runId) : (this.#only() ?? (await pick(all)));
    if (!found) throw new RefusedError("No change of this loop waits for your approval.");
    // the ones that are shown: what is staged meanwhile was not seen
    const operationIds = found.operations.map(({ operationId }) => operationId);
    return { loop: found.loop, ids: { operationIds }, what: `All ${count(operationIds.length, "Change")}` };
  }

  /** The only loop that waits, if it is one of this window: of another it is said whose changes they are. */
  #only(): Staged | undefined {
    const [first, ...others] = this.#staged.values();
    return first && others.length === 0 && this.ctx.foldersOf(first.loop.runId).length > 0 ? first : undefined;
  }

  /** Asks for the changes of each loop whose number of them is not the one that was asked about. */
  #look(): void {
    const waiting = new Map<string, Snapshot>();
    // also of repositories that are not open here: a loop can be started from their rows, and must not wait unseen
    for (const loop of this.ctx.loops.all) if (loop.status === "awaiting_approval") waiting.set(loop.runId, loop);
    for (const runId of this.#asked.keys()) {
      if (waiting.has(runId)) continue;
      this.#asked.delete(runId);
      if (this.#staged.delete(runId)) this.#draw();
    }
    if (this.ctx.connection.state.kind !== "ready") return;
    for (const loop of waiting.values()) {
      const state = `${loop.iteration} ${loop.stagedOperations}`;
      if (this.#asked.get(loop.runId) === state) continue;
      this.#asked.set(loop.runId, state);
      void this.#ask(loop);
    }
  }

  async #ask(loop: Snapshot): Promise<void> {
    try {
      const { operations } = await this.ctx.connection.request("ralph/plan/staged", { runId: loop.runId });
      if (this.#asked.has(loop.runId)) this.#take(loop, operations);
    } catch (error) {
      this.#asked.delete(loop.runId);
      this.ctx.log.error(`Staged changes could not be read: ${words(error)}`);
    }
  }

  #take(loop: Snapshot, operations: Operation[]): void {
    if (operations.length > 0) this.#staged.set(loop.runId, { loop, operations });
    else this.#staged.delete(loop.runId);
    this.#draw();
  }

  #draw(): void {
    const total = [...this.#staged.values()].reduce((n, { operations }) => n + operations.length, 0);
    this.#view.badge = total > 0 ? { value: total, tooltip: `${count(total, "staged change")} to approve` } : undefined;
    void vscode.commands.executeCommand("setContext", "ralphLoop.hasStaged", total > 0);
    this.#changed.fire(undefined);
  }
}

async function pick(all: Staged[]): Promise<Staged | undefined> {
  const items = all.map((staged) => ({
    label: iconless(loopRow(staged.loop, new Date()).label),
    description: `${count(staged.operations.length, "change")} in ${iconless(staged.loop.workspace)}`,
    staged,
  }));
  const chosen = await vscode.window.showQuickPick(items, { title: "Ralph Loop: Whose Changes?" });
  if (!chosen) throw new vscode.CancellationError();
  return chosen.staged;
}
