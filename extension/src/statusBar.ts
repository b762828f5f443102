/** Draws the status bar item and sets the context keys of the commands. */

import * as vscode from "vscode";

import type { Ctx } from "./ctx";
import { canCancel, canPause, canPauseNow, canResume, isActive } from "./loops";
import { face } from "./status";

/** Times in the tooltip go on while a loop runs; nothing is asked for it. */
const TICK_MS = 5_000;

/** Commands that links in the tooltip may run. */
const LINKED = [
  "showRequests",
  "showStaged",
  "start",
  "pause",
  "pauseNow",
  "resume",
  "cancel",
  "addContext",
  "showOutput",
  "showHistory",
  "restartHelper",
  "showHelperLog",
];

export class StatusBar implements vscode.Disposable {
  readonly #item = vscode.window.createStatusBarItem("ralphLoop.status", vscode.StatusBarAlignment.Left, 10);
  readonly #listener: vscode.Disposable;
  readonly #keys = new Map<string, unknown>();
  #tick: NodeJS.Timeout | undefined;

  constructor(private readonly ctx: Ctx) {
    this.#item.name = "Ralph Loop";
    this.#item.command = "ralphLoop.toggle";
    this.#listener = ctx.onDidChange(() => {
      this.#draw();
    });
    this.#draw();
    this.#item.show();
  }

  dispose(): void {
    clearTimeout(this.#tick);
    this.#listener.dispose();
    this.#item.dispose();
  }

  #draw(): void {
    const { ctx } = this;
    const { folder } = ctx;
    const known = folder && ctx.known(folder);
    const { text, tooltip, background, label } = face({
      now: new Date(),
      helper: ctx.connection.state,
      trusted: vscode.workspace.isTrusted,
      ...(folder ? { folder: folder.name } : {}),
      known,
      seen: known !== undefined && ctx.hasSeen(known.loop.runId),
      others: ctx.others(),
    });
    const markdown = new vscode.MarkdownString(tooltip, true);
    markdown.isTrusted = { enabledCommands: ["workbench.trust.manage", ...LINKED.map((name) => `ralphLoop.${name}`)] };
    this.#item.text = text;
    this.#item.tooltip = markdown;
    this.#item.backgroundColor = background && new vscode.ThemeColor(`statusBarItem.${background}Background`);
    this.#item.accessibilityInformation = { label, role: "button" };

    const loop = known?.loop;
    this.#key("helper", ctx.connection.state.kind);
    this.#key("status", loop?.status ?? "idle");
    this.#key("hasLoop", loop !== undefined);
    this.#key("isActive", loop !== undefined && isActive(loop));
    this.#key("canPause", loop !== undefined && canPause(loop));
    this.#key("canPauseNow", loop !== undefined && canPauseNow(loop));
    this.#key("canResume", loop !== undefined && canResume(loop));
    this.#key("canCancel", loop !== undefined && canCancel(loop));

    clearTimeout(this.#tick);
    if (loop?.status === "running") {
      this.#tick = setTimeout(() => {
        this.#draw();
      }, TICK_MS);
    }
  }

  #key(name: string, value: unknown): void {
    if (this.#keys.get(name) === value) return;
    this.#keys.set(name, value);
    void vscode.commands.executeCommand("setContext", `ralphLoop.${name}`, value);
  }
}
