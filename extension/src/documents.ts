/**
 * Read-only documents about loops, addressed by URI so that VS Code can open them again by itself:
 * `ralph-loop:` a loop's history, output or prompt; `ralph-loop-file:` one side of a file that an iteration changed.
 */

import * as vscode from "vscode";

import type { Change, Operation } from "./protocol";

export const DOCUMENTS = "ralph-loop";
export const FILES = "ralph-loop-file";

export type DocumentTarget =
  | { kind: "history"; runId: string }
  | { kind: "output"; runId: string; iteration?: number; after: number }
  | { kind: "prompt"; runId: string; iteration: number }
  | { kind: "request"; id: string };

export interface FileTarget {
  runId: string;
  iteration?: number;
  operationId?: string;
  path: string;
  /** Base64, when the path is not UTF-8. */
  pathBytes?: string | undefined;
  side: "before" | "after";
}

/** `title` is what the tab says; it ends in an extension that chooses the language. */
export function documentUri(title: string, target: DocumentTarget): vscode.Uri {
  return vscode.Uri.from({ scheme: DOCUMENTS, path: `/${title.replaceAll("/", "∕")}`, query: JSON.stringify(target) });
}

export function documentTarget(uri: vscode.Uri): DocumentTarget {
  return JSON.parse(uri.query) as DocumentTarget;
}

export function fileUri(target: FileTarget): vscode.Uri {
  return vscode.Uri.from({ scheme: FILES, path: `/${target.path}`, query: JSON.stringify(target) });
}

export function fileTarget(uri: vscode.Uri): FileTarget {
  return JSON.parse(uri.query) as FileTarget;
}

/** Opens what an iteration changed in a file. */
export async function showDiff(runId: string, iteration: number, change: Change): Promise<void> {
  await show({ runId, iteration }, change, `iteration ${iteration}`);
}

/** Opens what a staged operation would change in a file. */
export async function showOperationDiff(runId: string, operation: Operation): Promise<void> {
  await show({ runId, operationId: operation.operationId }, operation, "staged");
}

async function show(of: Omit<FileTarget, "path" | "side">, change: Change, what: string): Promise<void> {
  const { path, pathBytes, oldPath, oldPathBytes } = change;
  const old = oldPath === undefined ? { path, pathBytes } : { path: oldPath, pathBytes: oldPathBytes };
  const before = fileUri({ ...of, ...old, side: "before" });
  const after = fileUri({ ...of, path, pathBytes, side: "after" });
  const name = path.slice(path.lastIndexOf("/") + 1);
  await vscode.commands.executeCommand("vscode.diff", before, after, `${name} (${what})`);
}
