/** What the parts of the extension share: the connection, what is known of loops, the folder that is looked at. */

import * as vscode from "vscode";

import { Asks } from "./asks/asks";
import { Connection } from "./client";
import { HelperFinder } from "./helper";
import { type Known, Loops } from "./loops";
import { Outputs } from "./output/outputs";
import { ERRORS, type IterationRecord, type Snapshot } from "./protocol";
import { codeOf } from "./refusal";
import { words } from "./text";

export interface LoopChange {
  folder: vscode.WorkspaceFolder;
  /** None when the window hears of the loop for the first time. */
  before: Snapshot | undefined;
  loop: Snapshot;
}

/** The last loops whose end the person has looked at: each folder has its own. */
const SEEN = "ralphLoop.seen";
const MOST_SEEN = 50;

export class Ctx implements vscode.Disposable {
  readonly log: vscode.LogOutputChannel;
  readonly connection: Connection;
  readonly loops = new Loops();
  readonly outputs: Outputs;
  readonly asks: Asks;
  readonly #changed = new vscode.EventEmitter<undefined>();
  readonly #loopChanged = new vscode.EventEmitter<LoopChange>();
  readonly #heard = new vscode.EventEmitter<Omit<LoopChange, "folder">>();
  readonly #iterated = new vscode.EventEmitter<IterationRecord>();
  readonly #registered = new vscode.EventEmitter<undefined>();
  #looked: vscode.WorkspaceFolder | undefined;
  readonly #disposables: vscode.Disposable[] = [];

  /** Something that is shown may be different now. */
  readonly onDidChange = this.#changed.event;
  readonly onDidChangeLoop = this.#loopChanged.event;
  /** Of any loop, also of other folders. */
  readonly onDidHear = this.#heard.event;
  readonly onDidIterate = this.#iterated.event;
  /** The helper lists a folder of this window from now on. */
  readonly onDidRegister = this.#registered.event;

  constructor(readonly extension: vscode.ExtensionContext) {
    this.log = vscode.window.createOutputChannel("Ralph Loop Helper", { log: true });
    this.connection = new Connection(new HelperFinder(extension, this.log), this.log);
    this.outputs = new Outputs(this.connection, this.log);
    this.asks = new Asks(this.connection, this.log);
    this.connection.on("ralph/didChange", (loop) => {
      this.take(loop);
    });
    this.connection.on("ralph/didOutput", ({ runId, chunks }) => {
      this.outputs.take(runId, chunks);
    });
    this.connection.on("ralph/didIterate", (record) => {
      this.#iterated.fire(record);
    });
    this.#looked = this.#folderOf(vscode.window.activeTextEditor);
    this.#disposables.push(
      this.#changed,
      this.#loopChanged,
      this.#heard,
      this.#iterated,
      this.#registered,
      this.connection.onDidChangeState(() => {
        this.#changed.fire(undefined);
      }),
      this.connection.onReady(() => void this.#synchronize(vscode.workspace.workspaceFolders ?? [], true)),
      vscode.workspace.onDidChangeWorkspaceFolders(({ added, removed }) => {
        for (const folder of removed) this.loops.forget(folder.uri.toString());
        void this.#synchronize(added, false);
      }),
      vscode.workspace.onDidGrantWorkspaceTrust(
        () => void this.#synchronize(vscode.workspace.workspaceFolders ?? [], false),
      ),
      vscode.window.onDidChangeActiveTextEditor((editor) => {
        const folder = this.#folderOf(editor);
        if (!folder || folder === this.#looked) return;
        this.#looked = folder;
        this.#changed.fire(undefined);
      }),
      vscode.workspace.onDidChangeConfiguration((event) => {
        if (event.affectsConfiguration("ralphLoop.helper")) {
          void this.connection.restart(false).catch((error: unknown) => {
            this.log.error(words(error));
          });
        } else if (event.affectsConfiguration("ralphLoop")) this.connection.sendSettings();
      }),
    );
  }

  /** The folder that is looked at: of the active editor, else the last one, else the first with a loop, else the first. */
  get folder(): vscode.WorkspaceFolder | undefined {
    const folders = vscode.workspace.workspaceFolders ?? [];
    return (
      folders.find((folder) => folder === this.#looked) ?? folders.find((folder) => this.known(folder)) ?? folders[0]
    );
  }

  known(folder: vscode.WorkspaceFolder): Known | undefined {
    return this.loops.of(folder.uri.toString());
  }

  /** The loop of the folder that is looked at. */
  get loop(): Snapshot | undefined {
    return this.folder && this.known(this.folder)?.loop;
  }

  /** Folders that a loop belongs to; several when they lie in the same repository. */
  foldersOf(runId: string): vscode.WorkspaceFolder[] {
    return (vscode.workspace.workspaceFolders ?? []).filter((folder) => this.known(folder)?.loop.runId === runId);
  }

  /** The loops of the folders that are not looked at. */
  others(): { folder: string; loop: Snapshot }[] {
    const shown = this.folder;
    return (vscode.workspace.workspaceFolders ?? []).flatMap((folder) => {
      const known = folder === shown ? undefined : this.known(folder);
      return known ? [{ folder: folder.name, loop: known.loop }] : [];
    });
  }

  /** Whether the person has looked at how a loop ended. */
  hasSeen(runId: string): boolean {
    return this.#seen.includes(runId);
  }

  async markSeen(runId: string): Promise<void> {
    if (this.hasSeen(runId)) return;
    await this.extension.workspaceState.update(SEEN, [...this.#seen, runId].slice(-MOST_SEEN));
    this.#changed.fire(undefined);
  }

  get #seen(): string[] {
    return this.extension.workspaceState.get<string[]>(SEEN, []);
  }

  /** Learns of a loop, from an answer or a notification. */
  take(loop: Snapshot): void {
    const taken = this.loops.take(loop, Date.now());
    if (!taken) return;
    this.#heard.fire({ before: taken.before, loop });
    const folders = this.foldersOf(loop.runId);
    if (folders.length === 0) void this.#adopt();
    for (const folder of folders) this.outputs.follow(folder, loop, false);
    const [folder] = folders;
    if (folder) this.#loopChanged.fire({ folder, before: taken.before, loop });
    this.#changed.fire(undefined);
  }

  dispose(): void {
    vscode.Disposable.from(...this.#disposables, this.outputs, this.asks, this.connection, this.log).dispose();
  }

  /** Tells the helper of trust, and asks how the folders' loops are. */
  async #synchronize(folders: readonly vscode.WorkspaceFolder[], isNewConnection: boolean): Promise<void> {
    if (this.connection.state.kind !== "ready") return;
    await Promise.all(
      folders.map(async (folder) => {
        try {
          await this.#trust(folder);
          await this.#ask(folder, isNewConnection);
        } catch (error) {
          this.log.error(`${folder.name}: ${words(error)}`);
        }
      }),
    );
    this.#changed.fire(undefined);
  }

  async #trust(folder: vscode.WorkspaceFolder): Promise<void> {
    try {
      const params = { workspace: folder.uri.fsPath, trusted: vscode.workspace.isTrusted };
      const repo = await this.connection.request("ralph/repos/trust", params);
      this.loops.assign(folder.uri.toString(), repo.repoId);
      this.#registered.fire(undefined);
    } catch (error) {
      if (codeOf(error) !== ERRORS.notAvailable) throw error;
    }
  }

  async #ask(folder: vscode.WorkspaceFolder, isNewConnection: boolean): Promise<void> {
    const loop = await this.connection.request("ralph/status", { workspace: folder.uri.fsPath });
    if (!loop) return;
    this.loops.assign(folder.uri.toString(), loop.repoId);
    this.take(loop);
    if (isNewConnection) this.outputs.follow(folder, loop, true);
  }

  /** A loop of a repository we have not heard of: one of the folders without a loop lies in it. */
  async #adopt(): Promise<void> {
    const unknown = (vscode.workspace.workspaceFolders ?? []).filter(
      (folder) => !this.loops.isAssigned(folder.uri.toString()),
    );
    await this.#synchronize(unknown, false);
  }

  #folderOf(editor: vscode.TextEditor | undefined): vscode.WorkspaceFolder | undefined {
    return editor && vscode.workspace.getWorkspaceFolder(editor.document.uri);
  }
}
