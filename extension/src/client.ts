/** The connection to the helper: made when needed, made again when lost, for ever. Nothing polls. */

import { type ChildProcess, spawn } from "node:child_process";
import { randomUUID } from "node:crypto";
import { homedir } from "node:os";
import * as vscode from "vscode";
import {
  CloseAction,
  ErrorAction,
  LanguageClient,
  type LanguageClientOptions,
  WorkDoneProgress,
} from "vscode-languageclient/node";

import { type HelperFinder, launchOptions } from "./helper";
import { PROTOCOL_VERSION } from "./protocol";
import { type LongRequests, type Notifications, type Requests } from "./requests";
import { cleanEnvironment, type Helper, HelperError } from "./server";
import { type HelperSettings, helperSettings } from "./settings";
import { type HelperState } from "./status";
import { words } from "./text";

/** Pauses before attempts to connect again; the last one stays. The first keeps a reconnect well under 3 s. */
const BACK_OFF_MS = [100, 500, 1_500, 5_000, 15_000, 30_000];
/** After so many failures in a row a person is told; the attempts go on. */
const TELL_AFTER = 3;
const STABLE_AFTER_MS = 10_000;
/** How long a command waits for a lost connection to come back. */
const PATIENCE_MS = 15_000;

type Handler<M extends keyof Notifications> = (params: Notifications[M]) => void;

export class Connection implements vscode.Disposable {
  #state: HelperState = { kind: "idle" };
  #link: Link | undefined;
  #opening: Promise<void> | undefined;
  #failures = 0;
  #retry: NodeJS.Timeout | undefined;
  #closed = false;
  readonly #handlers = new Map<string, (params: unknown) => void>();
  readonly #changed = new vscode.EventEmitter<HelperState>();
  readonly #ready = new vscode.EventEmitter<undefined>();

  readonly onDidChangeState = this.#changed.event;
  /** A connection stands, the first or a new one: what was subscribed to must be asked for again. */
  readonly onReady = this.#ready.event;

  constructor(
    private readonly finder: HelperFinder,
    private readonly log: vscode.LogOutputChannel,
  ) {}

  get state(): HelperState {
    return this.#state;
  }

  /** To be called before the first connection. */
  on<M extends keyof Notifications>(method: M, handler: Handler<M>): void {
    this.#handlers.set(method, (params) => {
      handler(params as Notifications[M]);
    });
  }

  /** Connects if a helper is there; installs one only in place of an older one. Never rejects: the state tells. */
  async connect(): Promise<void> {
    await this.#open(false).catch((error: unknown) => {
      this.log.error(words(error));
    });
  }

  /** Connects, and installs the helper if there is none. Rejects with HelperError or CancellationError. */
  async ensure(): Promise<void> {
    await this.#opening?.catch(() => undefined); // told by its own caller; what counts is the state
    if (this.#state.kind === "ready") return;
    if (this.#state.kind === "lost") await this.#comeback();
    else await this.#open(true);
  }

  /** One request. Rejects with the helper's refusal (ResponseError), HelperError or CancellationError. */
  async request<M extends keyof Requests>(method: M, params: Requests[M][0]): Promise<Requests[M][1]> {
    const client = await this.#client();
    return client.sendRequest(method, params);
  }

  /** A request that takes its time: `report` is told how far it is, and `token` cancels it. Rejects as `request` does. */
  async long<M extends keyof LongRequests>(
    method: M,
    params: LongRequests[M][0],
    token: vscode.CancellationToken,
    report: (message: string | undefined, percentage: number | undefined) => void,
  ): Promise<LongRequests[M][1]> {
    const client = await this.#client();
    const workDoneToken = randomUUID();
    const listener = client.onProgress(WorkDoneProgress.type, workDoneToken, (value) => {
      if (value.kind === "report") report(value.message, value.percentage);
    });
    try {
      return await client.sendRequest(method, { ...params, workDoneToken }, token);
    } finally {
      listener.dispose();
    }
  }

  /** Ends this connection and makes a new one, with the helper looked for again. */
  async restart(mayInstall: boolean): Promise<void> {
    await this.#opening?.catch(() => undefined); // a new attempt follows
    await this.#drop();
    this.#failures = 0;
    await this.#open(mayInstall);
  }

  /** Tells the helper of changed settings. */
  sendSettings(): void {
    void this.#link?.client.sendNotification("workspace/didChangeConfiguration", {
      settings: { ralphLoop: this.#settings() },
    });
  }

  dispose(): void {
    this.#closed = true;
    void this.#drop();
    this.#changed.dispose();
    this.#ready.dispose();
  }

  /** Ends the connection in good order; the loops of the helper go on. */
  async close(): Promise<void> {
    this.#closed = true;
    await this.#drop();
  }

  async #client(): Promise<LanguageClient> {
    await this.ensure();
    if (!this.#link)
      throw new HelperError("The connection to the helper was lost. It comes back by itself; try again.");
    return this.#link.client;
  }

  #open(mayInstall: boolean): Promise<void> {
    this.#opening ??= this.#tryToOpen(mayInstall).finally(() => {
      this.#opening = undefined;
    });
    return this.#opening;
  }

  async #tryToOpen(mayInstall: boolean): Promise<void> {
    clearTimeout(this.#retry);
    try {
      this.#set({ kind: "busy", doing: "looking for the helper" });
      let helper = await this.finder.find();
      if (!helper && (mayInstall || (await this.finder.isUpgrade()))) {
        this.#set({ kind: "busy", doing: "installing the helper" });
        helper = await this.finder.install();
      }
      if (!helper) {
        this.#set({ kind: "idle" });
        return;
      }
      this.#set({ kind: "busy", doing: "starting the helper" });
      await this.#attach(helper);
    } catch (error) {
      if (error instanceof vscode.CancellationError) this.#set({ kind: "idle" });
      else if (error instanceof LostError) this.#again(error.message);
      else this.#set({ kind: "failed", message: words(error) });
      throw error;
    }
  }

  async #attach(helper: Helper): Promise<void> {
    this.log.info(`Starting ${helper.command} (${helper.version}, from ${helper.origin})`);
    const link = new Link(helper, this.log, this.#settings(), () => {
      if (this.#link === link) this.#lost();
    });
    for (const [method, handler] of this.#handlers) link.client.onNotification(method, handler);
    await link.start();
    if (this.#closed) {
      await link.stop();
      return;
    }
    this.#link = link;
    this.#set({ kind: "ready" });
    const stable = setTimeout(() => {
      if (this.#link === link) this.#failures = 0;
    }, STABLE_AFTER_MS);
    stable.unref();
    this.#ready.fire(undefined);
    if (helper.origin === "private") void this.#clean(helper);
  }

  async #clean(helper: Helper): Promise<void> {
    try {
      await this.finder.removeOld(helper, (method, params) => this.request(method, params));
    } catch (error) {
      this.log.warn(`Old helpers could not be removed: ${words(error)}`);
    }
  }

  #lost(): void {
    this.log.warn("The connection to the helper was lost");
    void this.#link?.stop();
    this.#link = undefined;
    this.#again("The helper ended unexpectedly.");
  }

  #again(reason: string): void {
    if (this.#closed) return;
    const wait = BACK_OFF_MS[Math.min(this.#failures, BACK_OFF_MS.length - 1)] ?? 0;
    this.#failures++;
    this.#set(
      this.#failures > TELL_AFTER
        ? { kind: "failed", message: `${reason} It is tried again all the time.` }
        : { kind: "lost" },
    );
    this.log.info(`Connecting again in ${wait} ms`);
    clearTimeout(this.#retry);
    this.#retry = setTimeout(() => void this.#open(false).catch(() => undefined), wait); // the state tells
  }

  /** Waits for a lost connection. */
  async #comeback(): Promise<void> {
    await new Promise<void>((resolve, reject) => {
      const finish = (outcome: () => void) => {
        clearTimeout(timer);
        listener.dispose();
        outcome();
      };
      const timer = setTimeout(() => {
        finish(() => {
          reject(new HelperError("The helper does not answer. It is tried again all the time; its log may tell why."));
        });
      }, PATIENCE_MS);
      const listener = this.onDidChangeState((state) => {
        if (state.kind === "ready") finish(resolve);
        if (state.kind === "failed") {
          finish(() => {
            reject(new HelperError(state.message));
          });
        }
      });
    });
  }

  async #drop(): Promise<void> {
    clearTimeout(this.#retry);
    const link = this.#link;
    this.#link = undefined;
    await link?.stop();
  }

  #set(state: HelperState): void {
    if (this.#closed) return;
    this.#state = state;
    this.#changed.fire(state);
  }

  #settings(): HelperSettings {
    return helperSettings(vscode.workspace.getConfiguration("ralphLoop"), (message) => {
      this.log.warn(message);
    });
  }
}

/** The connection could not be made, or broke while it was made: worth another try. */
class LostError extends HelperError {}

/** One language client with its process. */
class Link {
  readonly client: Client;
  #process: ChildProcess | undefined;
  #complaint = "";

  constructor(helper: Helper, log: vscode.LogOutputChannel, settings: HelperSettings, lost: () => void) {
    const options: LanguageClientOptions = {
      documentSelector: [
        { scheme: "file", pattern: "**/*.loop.md" },
        { scheme: "file", pattern: "**/PROMPT.md" },
      ],
      // we draw loops ourselves: no progress or messages meant for editors that cannot
      initializationOptions: { ...settings, progress: false },
      outputChannel: log,
      traceOutputChannel: log,
      initializationFailedHandler: () => false,
      errorHandler: {
        error: () => ({ action: ErrorAction.Continue }),
        closed: () => {
          lost();
          return { action: CloseAction.DoNotRestart, handled: true };
        },
      },
    };
    this.client = new Client("ralphLoop", "Ralph Loop", () => Promise.resolve(this.#spawn(helper, log)), options);
  }

  async start(): Promise<void> {
    try {
      await this.client.start();
    } catch (error) {
      await this.stop();
      throw new LostError(
        `The helper could not be started: ${this.#complaint.trim().split("\n").at(-1) ?? words(error)}`,
      );
    }
    const theirs = protocolOf(this.client.initializeResult?.capabilities.experimental);
    if (theirs !== PROTOCOL_VERSION) {
      await this.stop();
      throw new HelperError(
        `The helper speaks protocol ${theirs ?? "?"}, this extension needs ${PROTOCOL_VERSION}. Update the older of the two.`,
      );
    }
  }

  async stop(): Promise<void> {
    try {
      if (this.client.isRunning()) await this.client.stop(1_000);
    } catch {
      // it did not answer any more: its process is ended below
    }
    this.#process?.kill();
  }

  #spawn(helper: Helper, log: vscode.LogOutputChannel): ChildProcess {
    const { args, env } = launchOptions();
    // never in the workspace: what a repository contains must not reach the helper's start
    const child = spawn(helper.command, ["lsp", "--stdio", ...args], { cwd: homedir(), env: cleanEnvironment(env) });
    this.#process = child;
    child.on("error", (error) => {
      this.#complaint = error.message;
      log.error(`${helper.command}: ${error.message}`);
    });
    child.stderr.on("data", (data: Buffer) => {
      const text = data.toString();
      this.#complaint = `${this.#complaint}${text}`.slice(-2_000);
      log.info(text.trimEnd());
    });
    return child;
  }
}

class Client extends LanguageClient {
  /** To the log only: what a person must know is told by the status bar, once. */
  override error(message: string, data?: unknown): void {
    super.error(message, data, false);
  }
}

function protocolOf(experimental: unknown): number | undefined {
  const ralph = (experimental as { ralph?: { protocolVersion?: number } } | undefined)?.ralph;
  return ralph?.protocolVersion;
}
