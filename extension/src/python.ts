/** Finds what can make a virtual environment: a Python of at least 3.11 with `venv`, else `uv`. */

import { execFile } from "node:child_process";
import { access, constants } from "node:fs/promises";
import { homedir } from "node:os";
import { delimiter, isAbsolute, join } from "node:path";
import { promisify } from "node:util";

import { cleanEnvironment, HelperError } from "./server";
import { words } from "./text";

const run = promisify(execFile);

export interface Python {
  kind: "python" | "uv";
  command: string;
  version: string;
}

const NAMES = ["python3", "python3.14", "python3.13", "python3.12", "python3.11", "python"];
const PLACES = ["/usr/bin", "/usr/local/bin", "/opt/homebrew/bin", join(homedir(), ".local/bin")];
const QUESTION = "import sys, venv, ensurepip; print('.'.join(map(str, sys.version_info[:3])))";

/** `configured`: the setting ralphLoop.helper.python; `places` are looked at after the PATH. Rejects with what to install when nothing fits. */
export async function findPython(
  path: string,
  configured: string,
  log: (line: string) => void,
  places = PLACES,
): Promise<Python> {
  if (configured) {
    const found = await ask(configured, log);
    if (found) return found;
    throw new HelperError(
      `The Python of the setting ralphLoop.helper.python (${configured}) cannot be used: it must be 3.11 or newer and have the venv module.`,
    );
  }
  const directories = [...new Set([...path.split(delimiter).filter(isAbsolute), ...places])];
  for (const name of NAMES) {
    for (const directory of directories) {
      const found = await ask(join(directory, name), log);
      if (found) return found;
    }
  }
  for (const directory of directories) {
    const command = join(directory, "uv");
    if (!(await isExecutable(command))) continue;
    const { stdout } = await run(command, ["--version"], { cwd: homedir(), timeout: 20_000 });
    return { kind: "uv", command, version: stdout.trim() };
  }
  throw new HelperError(
    "Ralph Loop's helper needs Python 3.11 or newer with the venv module (or uv), and none was found. " +
      "Install one (Debian and Ubuntu: sudo apt install python3 python3-venv, macOS: brew install python) and try again, " +
      "or name one in the setting ralphLoop.helper.python.",
  );
}

async function ask(command: string, log: (line: string) => void): Promise<Python | undefined> {
  if (!(await isExecutable(command))) return undefined;
  try {
    const { stdout } = await run(command, ["-I", "-c", QUESTION], {
      cwd: homedir(),
      timeout: 20_000,
      env: cleanEnvironment(),
    });
    const version = stdout.trim();
    if (atLeast311(version)) return { kind: "python", command, version };
    log(`${command} is Python ${version}, older than 3.11: not used`);
  } catch (error) {
    log(`${command} cannot be used: ${words(error)}`);
  }
  return undefined;
}

export function atLeast311(version: string): boolean {
  const [major = 0, minor = 0] = version.split(".").map(Number);
  return major > 3 || (major === 3 && minor >= 11);
}

async function isExecutable(command: string): Promise<boolean> {
  return access(command, constants.X_OK).then(
    () => true,
    () => false,
  );
}
