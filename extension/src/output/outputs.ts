/** The output channels of the window: one for each folder that has had a loop, the first is just "Ralph Loop". */

import type * as vscode from "vscode";

import type { Connection } from "../client";
import type { Chunk, Snapshot } from "../protocol";
import { OutputPanel } from "./panel";

export class Outputs implements vscode.Disposable {
  readonly #panels = new Map<string, OutputPanel>();
  readonly #following = new Map<string, Promise<void>>();

  constructor(
    private readonly connection: Connection,
    private readonly log: vscode.LogOutputChannel,
  ) {}

  /** Shows a folder's loop in its channel, from where it was; a new loop after the one before. */
  follow(folder: vscode.WorkspaceFolder, loop: Snapshot, isNewConnection: boolean): void {
    const panel = this.#panel(folder);
    if (panel.runId === loop.runId && !isNewConnection) return;
    const key = folder.uri.toString();
    const previous = this.#following.get(key) ?? Promise.resolve();
    this.#following.set(
      key,
      previous.then(() => panel.follow(loop)),
    );
  }

  take(runId: string, chunks: Chunk[]): void {
    for (const panel of this.#panels.values()) panel.take(runId, chunks);
  }

  show(folder: vscode.WorkspaceFolder): void {
    this.#panel(folder).show();
  }

  dispose(): void {
    for (const panel of this.#panels.values()) panel.dispose();
  }

  #panel(folder: vscode.WorkspaceFolder): OutputPanel {
    const key = folder.uri.toString();
    let panel = this.#panels.get(key);
    if (!panel) {
      const name = this.#panels.size === 0 ? "Ralph Loop" : `Ralph Loop (${folder.name})`;
      panel = new OutputPanel(name, this.connection, this.log);
      this.#panels.set(key, panel);
    }
    return panel;
  }
}
