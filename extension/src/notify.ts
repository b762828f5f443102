/** Says something only when a person must act, or when a loop ended and nobody looked. */

import * as vscode from "vscode";

import { inert } from "./asks/render";
import type { Ctx, LoopChange } from "./ctx";
import { isActive } from "./loops";
import { type Notice, notice, stillRunning } from "./notice";
import type { NotificationLevel } from "./settings";

/** Loops that ran when this window last looked; those of folders that have left it are forgotten in time. */
const RUNNING = "ralphLoop.running";

export class Notifier implements vscode.Disposable {
  readonly #listener: vscode.Disposable;

  constructor(private readonly ctx: Ctx) {
    this.#listener = ctx.onDidChangeLoop((change) => {
      void this.#heard(change);
    });
  }

  dispose(): void {
    this.#listener.dispose();
  }

  async #heard({ folder, before, loop }: LoopChange): Promise<void> {
    const state = this.ctx.extension.workspaceState;
    const running = state.get<string[]>(RUNNING, []);
    const wasRunning = before ? isActive(before) : running.includes(loop.runId);
    const level = vscode.workspace.getConfiguration("ralphLoop").get<NotificationLevel>("notifications", "important");
    // a loop that ended while the window was closed was not looked at either
    const isLookedAt = vscode.window.state.focused && before !== undefined;
    const due = notice({ place: folder.name, before, loop, wasRunning, isLookedAt, level });
    if (due) void show(due);
    if (isActive(loop) !== running.includes(loop.runId)) await state.update(RUNNING, stillRunning(running, loop));
  }
}

export async function show({ severity, message, buttons }: Notice): Promise<void> {
  const ask = {
    information: vscode.window.showInformationMessage,
    warning: vscode.window.showWarningMessage,
    error: vscode.window.showErrorMessage,
  }[severity];
  const chosen = await ask(inert(message), ...buttons.map((button) => button.title));
  const button = buttons.find(({ title }) => title === chosen);
  if (button) await vscode.commands.executeCommand(button.command, ...(button.arguments ?? []));
}
