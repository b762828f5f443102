/** The open requests of agents. Nothing polls: the helper tells of each, and of each answer. */

import * as vscode from "vscode";

import type { Connection } from "../client";
import { words } from "../text";
import { type Ask, askedAt, idOf } from "./render";

export class Asks implements vscode.Disposable {
  readonly #open = new Map<string, Ask>();
  readonly #changed = new vscode.EventEmitter<undefined>();
  readonly onDidChange = this.#changed.event;

  constructor(
    private readonly connection: Connection,
    private readonly log: vscode.LogOutputChannel,
  ) {
    connection.on("ralph/permissionAsked", (permission) => {
      this.#add({ kind: "permission", permission });
    });
    connection.on("ralph/questionAsked", (question) => {
      this.#add({ kind: "question", question });
    });
    connection.on("ralph/permissionResolved", ({ requestId }) => {
      this.forget(requestId);
    });
    connection.on("ralph/questionResolved", ({ questionId }) => {
      this.forget(questionId);
    });
    connection.onReady(() => {
      this.refresh().catch((error: unknown) => {
        log.warn(`Open requests could not be read: ${words(error)}`);
      });
    });
  }

  /** Oldest first. */
  get all(): Ask[] {
    return [...this.#open.values()].sort((one, other) => askedAt(one).localeCompare(askedAt(other)));
  }

  get(id: string): Ask | undefined {
    return this.#open.get(id);
  }

  forget(id: string): void {
    if (this.#open.delete(id)) this.#changed.fire(undefined);
  }

  /** Asks the helper what is open: what was answered while there was no connection goes. */
  async refresh(): Promise<void> {
    const [{ requests }, { questions }] = await Promise.all([
      this.connection.request("ralph/permission/list", {}),
      this.connection.request("ralph/question/list", {}),
    ]);
    this.#open.clear();
    for (const permission of requests) this.#open.set(permission.requestId, { kind: "permission", permission });
    for (const question of questions) this.#open.set(question.questionId, { kind: "question", question });
    this.#changed.fire(undefined);
  }

  dispose(): void {
    this.#changed.dispose();
  }

  #add(ask: Ask): void {
    this.#open.set(idOf(ask), ask);
    this.log.info(`The agent asks: ${idOf(ask)}`);
    this.#changed.fire(undefined);
  }
}
