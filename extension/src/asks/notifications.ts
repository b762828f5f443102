/** Shows what an agent asks for, and takes it away again when it was answered here or elsewhere. */

import * as vscode from "vscode";

import type { Ctx } from "../ctx";
import type { NotificationLevel } from "../settings";
import { idOf, notification, runOf } from "./render";

export class AskNotifications implements vscode.Disposable {
  /** What ends each notification that is shown. */
  readonly #shown = new Map<string, () => void>();
  readonly #listener: vscode.Disposable;

  constructor(private readonly ctx: Ctx) {
    const update = () => {
      this.#update();
    };
    // a request may be heard of before the loop that it belongs to
    this.#listener = vscode.Disposable.from(ctx.asks.onDidChange(update), ctx.onDidChange(update));
  }

  dispose(): void {
    this.#listener.dispose();
    for (const end of this.#shown.values()) end();
  }

  #update(): void {
    for (const [id, end] of this.#shown) {
      if (this.ctx.asks.get(id)) continue;
      this.#shown.delete(id);
      end();
    }
    const level = vscode.workspace.getConfiguration("ralphLoop").get<NotificationLevel>("notifications", "important");
    if (level === "off" || !vscode.workspace.isTrusted) return;
    for (const ask of this.ctx.asks.all) {
      const id = idOf(ask);
      const [folder] = this.ctx.foldersOf(runOf(ask));
      if (!folder || this.#shown.has(id)) continue;
      const options = {
        location: vscode.ProgressLocation.Notification,
        title: notification(folder.name, ask),
        cancellable: true,
      };
      // one that can be cancelled is shown in full; cancelled is put off: the status bar still tells
      void vscode.window.withProgress(
        options,
        (_, cancelled) =>
          new Promise<void>((end) => {
            this.#shown.set(id, end);
            cancelled.onCancellationRequested(() => {
              end();
            });
          }),
      );
    }
  }
}
