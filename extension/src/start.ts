/** Starting a loop: the prompt from an input box, the selection or a file, and options for this one loop. */

import { isAbsolute, relative } from "node:path";
import * as vscode from "vscode";

import type { Ctx } from "./ctx";
import type { LoopConfig } from "./protocol";
import { RefusedError, untrusted } from "./refusal";
import type { Requests } from "./requests";
import { editOptions } from "./options";
import { count, firstLine } from "./text";

/** What the loop is told to do: as text, or in a file (its path, absolute or in the folder). */
type Prompt = { prompt: string } | { promptFile: string };

/** What a keybinding or another extension may pass to `ralphLoop.start`; the rest is asked. */
type Given = Partial<{ prompt: string; promptFile: string; config: Partial<LoopConfig> }> | undefined;

const LAST = "ralphLoop.lastPrompt";

export class Starter {
  constructor(private readonly ctx: Ctx) {}

  async start(given?: Given): Promise<void> {
    const folder = await this.#folder();
    const prompt = given?.promptFile
      ? { promptFile: given.promptFile }
      : given?.prompt
        ? { prompt: given.prompt }
        : await this.#ask();
    if (prompt === OPTIONS) await this.startWithOptions();
    else if (prompt) await this.#run(folder, prompt, given?.config ?? {});
  }

  async startWithOptions(): Promise<void> {
    const folder = await this.#folder();
    const config = await editOptions(this.ctx);
    if (!config) return;
    const prompt = await this.#ask(false);
    if (prompt && prompt !== OPTIONS) await this.#run(folder, prompt, config);
  }

  async startWithSelection(): Promise<void> {
    const folder = await this.#folder();
    const prompt = selection();
    if (!prompt) throw new RefusedError("Select the text that the agent shall work on first.");
    await this.#run(folder, { prompt }, {});
  }

  async startWithFile(uri?: vscode.Uri): Promise<void> {
    const folder = await this.#folder(uri);
    const prompt = await this.#file(uri);
    if (prompt) await this.#run(folder, prompt, {});
  }

  /** In a folder that need not be open here. */
  async startIn(path: string): Promise<void> {
    const folder = (vscode.workspace.workspaceFolders ?? []).find(({ uri }) => uri.fsPath === path);
    if (!vscode.workspace.isTrusted) throw untrusted();
    const prompt = await this.#ask(false);
    if (prompt && prompt !== OPTIONS) await this.#run(folder ?? path, prompt, {});
  }

  /** Shows the exact first prompt of a loop without starting it. */
  async preview(): Promise<void> {
    const folder = await this.#folder();
    const prompt = await this.#ask(false);
    if (!prompt || prompt === OPTIONS) return;
    const result = await this.ctx.connection.request("ralph/preview", { workspace: folder.uri.fsPath, ...prompt });
    const document = await vscode.workspace.openTextDocument({ language: "markdown", content: result.prompt });
    await vscode.window.showTextDocument(document, { preview: true });
  }

  async #run(folder: vscode.WorkspaceFolder | string, prompt: Prompt, config: Partial<LoopConfig>): Promise<void> {
    const params: Requests["ralph/start"][0] = {
      workspace: typeof folder === "string" ? folder : folder.uri.fsPath,
      ...prompt,
    };
    if (Object.keys(config).length > 0) params.config = config;
    await this.ctx.extension.workspaceState.update(LAST, prompt); // also when it is refused: nobody types it again
    const loop = await this.ctx.connection.request("ralph/start", params);
    this.ctx.take(loop);
    if (
      typeof folder !== "string" &&
      vscode.workspace.getConfiguration("ralphLoop").get<boolean>("showOutputOnStart", true)
    )
      this.ctx.outputs.show(folder);
  }

  /** The folder to work in. Refuses in words where no loop can start. */
  async #folder(uri?: vscode.Uri): Promise<vscode.WorkspaceFolder> {
    const folders = vscode.workspace.workspaceFolders ?? [];
    if (folders.length === 0)
      throw new RefusedError("Open a folder first: loops run in a folder.", [
        { title: "Open Folder", command: "vscode.openFolder" },
      ]);
    if (!vscode.workspace.isTrusted) throw untrusted();
    const of = uri ?? vscode.window.activeTextEditor?.document.uri;
    const folder = of && vscode.workspace.getWorkspaceFolder(of);
    if (folder) return folder;
    if (folders.length === 1 && folders[0]) return folders[0];
    const chosen = await vscode.window.showWorkspaceFolderPick({ placeHolder: "Folder to run the loop in" });
    if (!chosen) throw new vscode.CancellationError();
    return chosen;
  }

  /** Asks for the prompt. The last one is offered again. */
  async #ask(withOptions = true): Promise<Prompt | typeof OPTIONS | undefined> {
    const last = this.ctx.extension.workspaceState.get<Prompt>(LAST);
    const line = last && "prompt" in last && !last.prompt.includes("\n") ? last.prompt : "";
    const box = vscode.window.createInputBox();
    box.title = "Ralph Loop: Start Loop";
    box.prompt = "The agent gets this prompt again and again, until it is really done.";
    box.placeholder = last && !line ? `Enter: again with ${describe(last)}` : "What shall the agent do?";
    box.value = line;
    // a box that is opened with text has it selected, so that typing replaces it
    box.valueSelection = [0, line.length];
    box.ignoreFocusOut = true;
    const selected = selection();
    const useSelection = {
      iconPath: new vscode.ThemeIcon("selection"),
      tooltip: `Use the Selection (${count(selected.split("\n").length, "line")})`,
    };
    const useFile = { iconPath: new vscode.ThemeIcon("file-text"), tooltip: "Use a Prompt File…" };
    const options = { iconPath: new vscode.ThemeIcon("settings"), tooltip: "Options…" };
    box.buttons = [...(selected ? [useSelection] : []), useFile, ...(withOptions ? [options] : [])];
    try {
      return await new Promise((resolve, reject) => {
        box.onDidAccept(() => {
          const prompt = box.value.trim() ? { prompt: box.value.trim() } : last;
          if (prompt) resolve(prompt);
          else box.validationMessage = "Say what the agent shall do.";
        });
        box.onDidChangeValue(() => {
          box.validationMessage = undefined;
        });
        box.onDidTriggerButton((button) => {
          if (button === useSelection) resolve({ prompt: selected });
          else if (button === useFile) this.#file().then(resolve, reject);
          else resolve(OPTIONS);
        });
        box.onDidHide(() => {
          // a file dialog hides the box, and then decides
          setTimeout(() => {
            if (!this.#choosing) resolve(undefined);
          }, 0);
        });
        box.show();
      });
    } finally {
      box.dispose();
    }
  }

  #choosing = false;

  async #file(uri?: vscode.Uri): Promise<Prompt | undefined> {
    this.#choosing = true;
    try {
      const file = uri ?? (await choosePromptFile());
      if (!file) return undefined;
      const document = vscode.workspace.textDocuments.find((open) => open.uri.toString() === file.toString());
      if (document?.isDirty && !(await document.save()))
        throw new RefusedError(`${file.fsPath} could not be saved, so the agent would not see it as it is.`);
      const folder = vscode.workspace.getWorkspaceFolder(file);
      const inside = folder && relative(folder.uri.fsPath, file.fsPath);
      return { promptFile: inside && !isAbsolute(inside) ? inside : file.fsPath };
    } finally {
      this.#choosing = false;
    }
  }
}

const OPTIONS = "options";

async function choosePromptFile(): Promise<vscode.Uri | undefined> {
  const found = await vscode.workspace.findFiles("{**/*.loop.md,**/PROMPT.md}", "**/node_modules/**", 100);
  const active = vscode.window.activeTextEditor?.document.uri;
  if (active?.scheme === "file" && !found.some((uri) => uri.toString() === active.toString())) found.unshift(active);
  const items: (vscode.QuickPickItem & { uri?: vscode.Uri })[] = found.map((uri) => ({
    label: vscode.workspace.asRelativePath(uri),
    iconPath: new vscode.ThemeIcon("file-text"),
    uri,
  }));
  items.push({ label: "Another file…", iconPath: new vscode.ThemeIcon("folder-opened") });
  const chosen = await vscode.window.showQuickPick(items, {
    title: "Ralph Loop: Prompt File",
    placeHolder: "A file that says what the agent shall do",
  });
  if (!chosen) return undefined;
  return chosen.uri ?? (await vscode.window.showOpenDialog({ canSelectMany: false, openLabel: "Use as Prompt" }))?.[0];
}

function selection(): string {
  const editor = vscode.window.activeTextEditor;
  return editor ? editor.document.getText(editor.selection).trim() : "";
}

function describe(prompt: Prompt): string {
  return "promptFile" in prompt ? prompt.promptFile : `“${firstLine(prompt.prompt, 60)}”`;
}
