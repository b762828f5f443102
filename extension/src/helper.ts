/** The helper of this window: found where it may come from, installed with progress when it is nowhere. */

import { mkdir, open, readFile, rm } from "node:fs/promises";
import { homedir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import * as vscode from "vscode";

import { bundle, type Bundle, install, installed, isUpgrade } from "./install";
import { findPython } from "./python";
import { configuredHelper, type Helper, HelperError, helperOnPath } from "./server";
import { setValue, strings } from "./settings";
import { type Ask, removeOld } from "./upgrade";

export class HelperFinder {
  readonly #storage: string;
  readonly #extension: string;

  constructor(
    context: vscode.ExtensionContext,
    private readonly log: vscode.LogOutputChannel,
  ) {
    this.#storage = context.globalStorageUri.fsPath;
    this.#extension = context.extensionPath;
  }

  /** The helper if there is one already. Rejects with HelperError when the configured one cannot be used. */
  async find(): Promise<Helper | undefined> {
    if (process.platform === "win32") {
      throw new HelperError(
        "Ralph Loop runs on Linux and macOS. On Windows open the folder in WSL, over SSH or in a container, and it runs there.",
      );
    }
    const configured = machineText("helper.path");
    if (configured) return configuredHelper(configured);
    const folders = (vscode.workspace.workspaceFolders ?? []).map((folder) => folder.uri.fsPath);
    const onPath = await helperOnPath(process.env.PATH ?? "", folders, (line) => {
      this.log.info(line);
    });
    if (onPath) return onPath;
    const ours = await bundle(this.#extension).catch(() => undefined); // told when it is to be installed
    return ours && installed(this.#storage, ours);
  }

  /** The helper that is wanted is of another version of this extension: the one that it brings takes its place. */
  async isUpgrade(): Promise<boolean> {
    const ours = await bundle(this.#extension).catch(() => undefined);
    return ours !== undefined && isUpgrade(this.#storage, ours);
  }

  /** Installs the helper that the extension brings. Rejects with HelperError, or CancellationError. */
  async install(): Promise<Helper> {
    const ours = await bundle(this.#extension);
    const python = await findPython(process.env.PATH ?? "", machineText("helper.python"), (line) => {
      this.log.info(line);
    });
    const options = {
      location: vscode.ProgressLocation.Notification,
      title: "Ralph Loop: installing the helper (once)",
      cancellable: true,
    };
    return vscode.window.withProgress(options, async (progress, token) => {
      const abort = new AbortController();
      token.onCancellationRequested(() => {
        abort.abort(new vscode.CancellationError());
      });
      const steps = {
        report: (step: string) => {
          progress.report({ message: `${step}…` });
        },
        log: (line: string) => {
          this.log.info(line);
        },
        signal: abort.signal,
      };
      return this.#alone(
        ours,
        abort.signal,
        async () => (await installed(this.#storage, ours)) ?? install(this.#storage, ours, python, steps),
      );
    });
  }

  /** To be called once a private helper is connected. */
  async removeOld({ version }: Helper, ask: Ask): Promise<void> {
    await removeOld(this.#storage, await bundle(this.#extension), version, ask);
  }

  /** Two windows that start at once must not build the same folder: the second waits for the first. */
  async #alone<T>({ id }: Bundle, signal: AbortSignal, work: () => Promise<T>): Promise<T> {
    const lock = join(this.#storage, "helper", `${id}.lock`);
    await mkdir(join(this.#storage, "helper"), { recursive: true });
    for (;;) {
      try {
        const file = await open(lock, "wx");
        await file.write(String(process.pid));
        await file.close();
        break;
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw error;
        if (await isStale(lock)) await rm(lock, { force: true });
        else await sleep(300, undefined, { signal });
      }
    }
    try {
      return await work();
    } finally {
      await rm(lock, { force: true });
    }
  }
}

async function isStale(lock: string): Promise<boolean> {
  const text = await readFile(lock, "utf8").catch(() => "");
  if (!text) return false; // just being written, or just gone
  try {
    process.kill(Number(text), 0);
    return false;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === "ESRCH";
  }
}

/** What is added to the command and environment of the helper: from the user's own settings only. */
export function launchOptions(): { args: string[]; env: Record<string, string> } {
  const configuration = vscode.workspace.getConfiguration("ralphLoop");
  const args = setValue(configuration, "helper.args");
  return {
    args: Array.isArray(args) ? args.filter((arg): arg is string => typeof arg === "string") : [],
    env: strings(setValue(configuration, "helper.env")),
  };
}

function machineText(key: string): string {
  const value = setValue(vscode.workspace.getConfiguration("ralphLoop"), key);
  const text = typeof value === "string" ? value.trim() : "";
  return text.startsWith("~/") ? join(homedir(), text.slice(2)) : text;
}
