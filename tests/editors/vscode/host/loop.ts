/** A loop that is run by commands alone. */

import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import * as vscode from "vscode";

import type { LoopConfig, Snapshot } from "../../../../extension/src/protocol";

export const FOLDER = vscode.workspace.workspaceFolders?.[0]?.uri.fsPath ?? "";

/** What the workspace state says of the loop, if there is one. */
export function state(): Snapshot | undefined {
  const path = join(FOLDER, ".ralph/state.json");
  return existsSync(path) ? (JSON.parse(readFileSync(path, "utf8")) as Snapshot) : undefined;
}

export async function until(fits: (loop: Snapshot) => boolean): Promise<Snapshot> {
  for (;;) {
    const loop = state();
    if (loop && fits(loop)) return loop;
    await sleep(20); // Mocha's own limit ends a test that hangs
  }
}

/** Starts a loop and waits for its end. */
export async function loop(prompt: string, config: Partial<LoopConfig> = {}): Promise<Snapshot> {
  await vscode.commands.executeCommand("ralphLoop.start", { prompt, config });
  return until((loop) => loop.prompt === prompt && loop.endedAt !== undefined);
}

/** What commands say to a person while `work` is done. */
export async function told(work: () => Thenable<unknown>): Promise<string[]> {
  const said: string[] = [];
  const window = vscode.window as unknown as Record<string, unknown>;
  const names = ["showInformationMessage", "showWarningMessage", "showErrorMessage"];
  const originals = names.map((name) => window[name]);
  for (const name of names) {
    window[name] = (message: string) => {
      said.push(message);
      return Promise.resolve(undefined);
    };
  }
  try {
    await work();
  } finally {
    names.forEach((name, n) => (window[name] = originals[n]));
  }
  return said;
}
