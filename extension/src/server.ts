/** Finds the helper: the configured one, else one on PATH of the right protocol, else our private install. */

import { execFile } from "node:child_process";
import { access, constants } from "node:fs/promises";
import { homedir } from "node:os";
import { delimiter, isAbsolute, join, sep } from "node:path";
import { promisify } from "node:util";

import { PROTOCOL_VERSION } from "./protocol";
import { words } from "./text";

const run = promisify(execFile);

export interface Helper {
  command: string;
  /** As in `ralph-loop 0.1.0 (protocol 1)`. */
  version: string;
  origin: "setting" | "path" | "private";
}

/** The helper cannot be used. The message says what to do. */
export class HelperError extends Error {
  override name = "HelperError";
}

/** The helper that a person chose. Never falls back to another one. */
export async function configuredHelper(command: string): Promise<Helper> {
  if (!isAbsolute(command)) {
    throw new HelperError(`The setting ralphLoop.helper.path must be an absolute path, not "${command}".`);
  }
  const answer = await probe(command).catch((error: unknown) => {
    throw new HelperError(`The helper ${command} of the setting ralphLoop.helper.path cannot be run: ${words(error)}`);
  });
  if (answer.protocol !== PROTOCOL_VERSION) {
    throw new HelperError(
      `The helper ${command} speaks protocol ${answer.protocol}, this extension needs ${PROTOCOL_VERSION}. ` +
        "Update it, or clear the setting ralphLoop.helper.path to use the one that comes with the extension.",
    );
  }
  return { command, version: answer.version, origin: "setting" };
}

/** The first `ralph-loop` on PATH that speaks our protocol. Nothing inside `folders`: a repository must not choose it. */
export async function helperOnPath(
  path: string,
  folders: string[],
  log: (line: string) => void,
): Promise<Helper | undefined> {
  for (const directory of path.split(delimiter)) {
    if (!isAbsolute(directory) || folders.some((folder) => `${directory}${sep}`.startsWith(`${folder}${sep}`)))
      continue;
    const command = join(directory, "ralph-loop");
    try {
      await access(command, constants.X_OK);
    } catch {
      continue; // not here
    }
    try {
      const { version, protocol } = await probe(command);
      if (protocol === PROTOCOL_VERSION) return { command, version, origin: "path" };
      log(`${command} speaks protocol ${protocol}, not ${PROTOCOL_VERSION}: not used`);
    } catch (error) {
      log(`${command} cannot be run: ${words(error)}`);
    }
  }
  return undefined;
}

/** Asks a helper for its version. Rejects when it cannot be run or is something else. */
export async function probe(command: string): Promise<{ version: string; protocol: number }> {
  const { stdout } = await run(command, ["--version"], { timeout: 20_000, cwd: homedir(), env: cleanEnvironment() });
  const match = /^ralph-loop (\S+) \(protocol (\d+)\)/.exec(stdout.trim());
  if (!match?.[1]) throw new Error(`it is not a Ralph Loop helper (it says "${stdout.trim().slice(0, 100)}")`);
  return { version: match[1], protocol: Number(match[2]) };
}

/** Our environment without what the editor put there for itself. */
export function cleanEnvironment(extra: Record<string, string> = {}): NodeJS.ProcessEnv {
  const kept = Object.entries(process.env).filter(([name]) => !/^(VSCODE_|ELECTRON_|NODE_OPTIONS$)/.test(name));
  return { ...Object.fromEntries(kept), ...extra };
}
