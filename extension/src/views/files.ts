/** Serves the sides of changed files to VS Code: text, and binaries such as images too. */

import * as vscode from "vscode";

import type { Connection } from "../client";
import { FILES, fileTarget } from "../documents";

/** VS Code asks for size and content one after the other. */
const KEPT = 20;

export class FileSides implements vscode.FileSystemProvider, vscode.Disposable {
  readonly #kept = new Map<string, Promise<Uint8Array>>();
  readonly #changed = new vscode.EventEmitter<vscode.FileChangeEvent[]>();
  readonly onDidChangeFile = this.#changed.event;
  readonly #registration = vscode.workspace.registerFileSystemProvider(FILES, this, {
    isReadonly: true,
    isCaseSensitive: true,
  });

  constructor(private readonly connection: Connection) {}

  async stat(uri: vscode.Uri): Promise<vscode.FileStat> {
    const content = await this.#content(uri);
    return { type: vscode.FileType.File, ctime: 0, mtime: 0, size: content.length };
  }

  readFile(uri: vscode.Uri): Promise<Uint8Array> {
    return this.#content(uri);
  }

  /** Nothing ever changes: an iteration is the past. */
  watch(): vscode.Disposable {
    return new vscode.Disposable(() => undefined);
  }

  readDirectory(): [string, vscode.FileType][] {
    return [];
  }

  createDirectory(uri: vscode.Uri): void {
    throw vscode.FileSystemError.NoPermissions(uri);
  }

  writeFile(uri: vscode.Uri): void {
    throw vscode.FileSystemError.NoPermissions(uri);
  }

  delete(uri: vscode.Uri): void {
    throw vscode.FileSystemError.NoPermissions(uri);
  }

  rename(uri: vscode.Uri): void {
    throw vscode.FileSystemError.NoPermissions(uri);
  }

  dispose(): void {
    this.#registration.dispose();
    this.#changed.dispose();
  }

  #content(uri: vscode.Uri): Promise<Uint8Array> {
    const key = uri.toString();
    let content = this.#kept.get(key);
    if (!content) {
      content = this.#fetch(uri);
      this.#kept.set(key, content);
      content.catch(() => this.#kept.delete(key));
      const [oldest] = this.#kept.keys();
      if (this.#kept.size > KEPT && oldest !== undefined) this.#kept.delete(oldest);
    }
    return content;
  }

  async #fetch(uri: vscode.Uri): Promise<Uint8Array> {
    const { exists, text, bytes } = await this.connection.request("ralph/file", fileTarget(uri));
    if (!exists) return new Uint8Array(); // created or deleted: the other side is all of it
    return bytes === undefined ? Buffer.from(text ?? "") : Buffer.from(bytes, "base64");
  }
}
