/** A real VS Code (code-server) with a home of its own, for as long as a test file needs it. */

import { type ChildProcess, execFile, spawn } from "node:child_process";
import { cpSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { promisify } from "node:util";

const run = promisify(execFile);

/** The repository's root: the tests are run from `extension/`. */
export const ROOT = resolve("..");
const ENTRY = "node_modules/code-server/out/node/entry.js";
const CLIENT_LOG = "ralph-loop.ralph-loop/Ralph Loop Helper.log";
/** The helper of the checkout. */
export const HELPER = process.env.RALPH_LOOP_HELPER ?? join(ROOT, ".venv/bin/ralph-loop");
/** The extension as it is given to people, installed by `run.mjs`. */
const EXTENSIONS = join(ROOT, "extension/out/extensions");

export interface Options {
  settings?: Record<string, unknown>;
  /** Settings that a workspace cannot make. */
  machine?: (home: string) => Record<string, unknown>;
  env?: Record<string, string>;
  /** Ask whether a folder is trusted, as the desktop does. */
  workspaceTrust?: boolean;
  /** Install the packaged extension. */
  vsix?: boolean;
  /** The oldest VS Code that the extension promises to run in. */
  oldest?: boolean;
}

export class CodeServer {
  private constructor(
    readonly home: string,
    readonly port: number,
    private readonly process: ChildProcess,
    private readonly log: string[],
  ) {}

  static async start(options: Options = {}): Promise<CodeServer> {
    // short: sockets below it must fit into 104 bytes
    const home = mkdtempSync(join(tmpdir(), "rl-"));
    const port = await freePort();
    const data = join(home, "ud");
    const settings = {
      "workbench.startupEditor": "none",
      "telemetry.telemetryLevel": "off",
      "security.workspace.trust.enabled": options.workspaceTrust ?? false,
      "security.workspace.trust.startupPrompt": "never",
      // pictures are taken in both themes
      "window.autoDetectColorScheme": true,
      "git.enabled": false,
      // other servers of this machine are no business of ours
      "remote.autoForwardPorts": false,
      "files.watcherExclude": { "**": true },
      "editor.minimap.enabled": false,
      ...options.settings,
    };
    write(join(data, "User/settings.json"), JSON.stringify(settings));
    write(join(data, "Machine/settings.json"), JSON.stringify(options.machine?.(home) ?? {}));
    write(join(home, "empty.yaml"), "");
    write(join(home, ".gitconfig"), "[user]\n\tname = Test\n\temail = test@example.org\n");
    const env = environment(home, options.env);
    const places = [
      "--config",
      join(home, "empty.yaml"),
      "--user-data-dir",
      data,
      "--extensions-dir",
      join(home, "ext"),
    ];
    if (options.vsix ?? true) cpSync(EXTENSIONS, join(home, "ext"), { recursive: true });
    const args = [
      join(ROOT, ".cache", options.oldest ? "code-server-oldest" : "code-server", ENTRY),
      ...places,
      ...["--bind-addr", `127.0.0.1:${port}`, "--auth", "none", "--disable-telemetry", "--disable-update-check"],
      ...["--disable-getting-started-override", "--disable-proxy", "--ignore-last-opened"],
      ...(options.workspaceTrust ? [] : ["--disable-workspace-trust"]),
    ];
    const process = spawn(globalThis.process.execPath, args, {
      env,
      cwd: home,
      stdio: ["ignore", "pipe", "pipe"],
    });
    const log: string[] = [];
    for (const stream of [process.stdout, process.stderr])
      stream.on("data", (data: Buffer) => log.push(data.toString()));
    const server = new CodeServer(home, port, process, log);
    await server.#ready();
    return server;
  }

  url(folder?: string, payload: [string, string][] = []): string {
    const query = new URLSearchParams();
    if (folder) query.set(folder.endsWith(".code-workspace") ? "workspace" : "folder", folder);
    if (payload.length > 0) query.set("payload", JSON.stringify(payload));
    return `http://127.0.0.1:${this.port}/?${query.toString()}`;
  }

  /** Ends it and everything that was started below its home, and removes the home. */
  async stop(): Promise<void> {
    this.process.kill("SIGTERM");
    for (let i = 0; i < 100 && this.process.exitCode === null && this.process.signalCode === null; i++) await sleep(50);
    this.process.kill("SIGKILL");
    endProcesses(this.home);
    rmSync(this.home, { recursive: true, force: true, maxRetries: 5 });
  }

  /** Keeps the logs of VS Code and of the extension, to see why a test failed. */
  keepLogs(name: string): void {
    cpSync(join(this.home, "ud/logs"), join(ROOT, ".cache/logs", name), { recursive: true });
  }

  /** What the extension's client logged in all windows so far. */
  clientLog(): string {
    const logs = join(this.home, "ud/logs");
    const files = readdirSync(logs, { recursive: true, encoding: "utf8" }).filter((name) => name.endsWith(CLIENT_LOG));
    return files.map((name) => readFileSync(join(logs, name), "utf8")).join("");
  }

  /** The folder of the installed extension, this server's own copy. */
  extension(): string {
    const name = readdirSync(join(this.home, "ext")).find((name) => name.startsWith("ralph-loop."));
    return join(this.home, "ext", name ?? "");
  }

  /** Processes of this server, its windows and their loops that match, so that a test can find an orphan. */
  processes(pattern?: RegExp): Process[] {
    return processesOf(this.home, pattern);
  }

  async #ready(): Promise<void> {
    for (let i = 0; i < 1_200; i++) {
      if (this.process.exitCode !== null) break;
      try {
        if ((await fetch(`http://127.0.0.1:${this.port}/healthz`)).ok) return;
      } catch {
        // not listening yet
      }
      await sleep(50);
    }
    throw new Error(`code-server did not start:\n${this.log.join("")}`);
  }
}

interface Process {
  pid: number;
  command: string;
}

/** Processes that have this home in their environment. */
export function processesOf(home: string, pattern = /./): Process[] {
  const mark = `\0HOME=${home}\0`;
  const pids = readdirSync("/proc").filter((name) => /^\d+$/.test(name));
  return pids.flatMap((name) => {
    try {
      if (!`\0${readFileSync(`/proc/${name}/environ`, "latin1")}`.includes(mark)) return [];
      const command = readFileSync(`/proc/${name}/cmdline`, "utf8").replaceAll("\0", " ").trim();
      return command && pattern.test(command) ? [{ pid: Number(name), command }] : [];
    } catch {
      return []; // it ended while we looked
    }
  });
}

export function endProcesses(home: string): void {
  for (const { pid } of processesOf(home)) {
    try {
      process.kill(pid, "SIGKILL");
    } catch {
      // it ended by itself
    }
  }
}

/** A fresh git repository below a home, with one commit. */
export async function repository(
  server: { home: string },
  name: string,
  files: Record<string, string> = {},
): Promise<string> {
  const folder = join(server.home, name);
  mkdirSync(folder, { recursive: true });
  for (const [path, text] of Object.entries({
    "README.md": `# ${name}\n`,
    ...files,
  }))
    write(join(folder, path), text);
  await git(server, folder, "init", "-q", "-b", "main");
  await git(server, folder, "add", "-A");
  await git(server, folder, "commit", "-q", "-m", "First commit");
  return folder;
}

/** What the terminal's client prints, of the helper that the windows use. */
export async function terminal(server: { home: string }, ...args: string[]): Promise<string> {
  return (await run(HELPER, args, { cwd: server.home, env: environment(server.home) })).stdout.trim();
}

/** What git prints. */
export async function git(server: { home: string }, folder: string, ...args: string[]): Promise<string> {
  return (await run("git", args, { cwd: folder, env: environment(server.home) })).stdout.trim();
}

/** Our environment without what is of this machine's user. */
export function environment(home: string, extra: Record<string, string> = {}): NodeJS.ProcessEnv {
  const kept = Object.entries(process.env).filter(([name]) =>
    /^(PATH|LANG|LC_|TZ|SSL_|PIP_|UV_|REQUESTS_|HTTPS?_PROXY|NO_PROXY)/.test(name),
  );
  return {
    ...Object.fromEntries(kept),
    HOME: home,
    EXTENSIONS_GALLERY: '{"serviceUrl":""}',
    ...extra,
  };
}

function write(path: string, text: string): void {
  mkdirSync(resolve(path, ".."), { recursive: true });
  writeFileSync(path, text);
}

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((done) => server.listen(0, "127.0.0.1", done));
  const address = server.address();
  await new Promise((done) => server.close(done));
  if (typeof address !== "object" || !address) throw new Error("no port");
  return address.port;
}
