/**
 * The private helper: a virtual environment in the extension's global storage, from the wheel inside the extension
 * and a hash-locked requirements file.
 *
 * A virtual environment cannot be moved, so it is built in place; `ready.json` is written last and tells that it is
 * whole. A folder without it is half-finished and built again.
 */

import { spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { mkdir, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";

import { type Python } from "./python";
import { cleanEnvironment, type Helper, HelperError, probe } from "./server";
import { words } from "./text";

export interface Bundle {
  wheel: string;
  requirements: string;
  version: string;
  /** Names the folder of the install: the version and what exactly is in it. */
  id: string;
}

/** What the extension brings. */
export async function bundle(extension: string): Promise<Bundle> {
  const folder = join(extension, "helper");
  const names = await readdir(folder).catch(() => [] as string[]);
  const wheel = names.find((name) => /^ralph_loop-.*\.whl$/.test(name));
  if (!wheel || !names.includes("requirements.txt")) {
    throw new HelperError(
      "This build of the extension has no helper inside. Install the ralph-loop command and set ralphLoop.helper.path to it.",
    );
  }
  const requirements = join(folder, "requirements.txt");
  const hash = createHash("sha256");
  for (const file of [join(folder, wheel), requirements]) hash.update(await readFile(file));
  const version = wheel.split("-")[1] ?? "0";
  return { wheel: join(folder, wheel), requirements, version, id: `${version}-${hash.digest("hex").slice(0, 8)}` };
}

const command = (folder: string) => join(folder, "bin", "ralph-loop");

/** The install of this bundle if it is whole and runs. */
export async function installed(storage: string, { id }: Bundle): Promise<Helper | undefined> {
  const folder = join(storage, "helper", id);
  try {
    await readFile(join(folder, "ready.json"));
    const { version } = await probe(command(folder));
    return { command: command(folder), version, origin: "private" };
  } catch {
    return undefined; // not there, half-finished, or its Python is gone: to be installed again
  }
}

export interface Steps {
  report: (step: string) => void;
  log: (line: string) => void;
  signal: AbortSignal;
}

/** Installs the bundle with the given Python. Rejects with what to do; when cancelled, with an AbortError. */
export async function install(storage: string, bundle: Bundle, python: Python, steps: Steps): Promise<Helper> {
  const folder = join(storage, "helper", bundle.id);
  steps.log(`Installing the helper ${bundle.version} into ${folder} with ${python.command} (${python.version})`);
  await rm(folder, { recursive: true, force: true });
  await mkdir(folder, { recursive: true });
  const pip =
    python.kind === "uv"
      ? [python.command, "pip", "install", "--python", join(folder, "bin", "python"), "--no-config"]
      : [join(folder, "bin", "python"), "-I", "-m", "pip", "install", "--disable-pip-version-check", "--no-input"];
  try {
    steps.report("making a virtual environment");
    await execute(
      python.kind === "uv"
        ? [python.command, "venv", "--no-config", "--python", ">=3.11", "--allow-existing", folder]
        : [python.command, "-I", "-m", "venv", folder],
      folder,
      steps,
    );
    steps.report("installing its libraries");
    await execute([...pip, "--only-binary", ":all:", "--require-hashes", "-r", bundle.requirements], folder, steps);
    steps.report("installing the helper");
    await execute([...pip, "--no-deps", bundle.wheel], folder, steps);
    const { version } = await probe(command(folder));
    await writeFile(join(folder, "ready.json"), JSON.stringify({ version, python: python.version }));
    return { command: command(folder), version, origin: "private" };
  } catch (error) {
    await rm(folder, { recursive: true, force: true });
    steps.signal.throwIfAborted();
    throw new HelperError(`The helper could not be installed. ${advice(words(error))}`);
  }
}

/** The folders of every other install. */
export async function others(storage: string, { id }: Bundle): Promise<string[]> {
  const folder = join(storage, "helper");
  const names = await readdir(folder).catch(() => [] as string[]);
  return names.filter((name) => name !== id && !name.endsWith(".lock")).map((name) => join(folder, name));
}

/** Another version of the extension has installed its helper here, wholly: a person wanted one. */
export async function isUpgrade(storage: string, bundle: Bundle): Promise<boolean> {
  for (const folder of await others(storage, bundle)) {
    const names = await readdir(folder).catch(() => [] as string[]);
    if (names.includes("ready.json")) return true;
  }
  return false;
}

/** Runs a command, its output to the log. Rejects with the end of what it printed. */
function execute(argv: string[], cwd: string, { signal, log }: Steps): Promise<void> {
  const [file = "", ...args] = argv;
  log(`> ${argv.join(" ")}`);
  return new Promise((resolve, reject) => {
    signal.throwIfAborted();
    // a group of its own: pip and venv start processes, and all of them end when a person cancels
    const child = spawn(file, args, {
      cwd,
      env: cleanEnvironment(),
      detached: true,
      stdio: ["ignore", "pipe", "pipe"],
    });
    const stop = () => {
      if (child.pid !== undefined) process.kill(-child.pid, "SIGKILL");
    };
    signal.addEventListener("abort", stop, { once: true });
    let said = "";
    for (const stream of [child.stdout, child.stderr]) {
      stream.setEncoding("utf8").on("data", (text: string) => {
        said = (said + text).slice(-8_000);
        log(text.trimEnd());
      });
    }
    child.on("error", reject);
    child.on("close", (code, killedBy) => {
      signal.removeEventListener("abort", stop);
      if (code === 0) resolve();
      else reject(new Error(said.trim() || `${file} ended with ${killedBy ?? `exit code ${code ?? "?"}`}`));
    });
  });
}

/** What to do about what pip or uv said. */
export function advice(said: string): string {
  const last = said.trim().split("\n").at(-1)?.trim() ?? "";
  if (
    /from versions: none|name resolution|getaddrinfo|ConnectionError|NewConnectionError|Network is unreachable|timed out|dns error|error sending request|ProxyError|Failed to fetch/i.test(
      said,
    )
  ) {
    return "The Python package index cannot be reached. Check the network or proxy (HTTPS_PROXY, PIP_INDEX_URL) and try again, or install ralph-loop by other means and set ralphLoop.helper.path.";
  }
  if (/CERTIFICATE_VERIFY_FAILED|SSLError|certificate/i.test(said)) {
    return "The certificate of the Python package index is not trusted. Behind a company proxy, set PIP_CERT (or SSL_CERT_FILE) and try again.";
  }
  if (/No space left/i.test(said)) return "The disk is full. Free some space and try again.";
  if (/ensurepip|venv.*not available|python3[^ ]*-venv/i.test(said)) {
    return "This Python has no venv module. On Debian and Ubuntu: sudo apt install python3-venv. Then try again.";
  }
  if (/THESE PACKAGES DO NOT MATCH THE HASHES|hash mismatch/i.test(said)) {
    return "A downloaded package is not the one that was published (its hash differs), so nothing was installed. Check your package index or proxy.";
  }
  if (/No matching distribution|no wheels|Could not find a version/i.test(said)) {
    return `A library has no package for this machine or Python: ${last}`;
  }
  return last;
}
