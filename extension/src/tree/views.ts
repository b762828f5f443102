/** The views beside the editor, and the commands of their rows. */

import * as vscode from "vscode";

import type { Ctx } from "../ctx";
import { StagedChanges, type StagedTarget } from "../plan/staged";
import type { Repo } from "../protocol";
import { RefusedError } from "../refusal";
import type { Starter } from "../start";
import { openDocument } from "../views/pages";
import { addRepository, cloneRepository, scanForRepositories } from "./adding";
import { checkout, commit, pull, push, removeRepository, requireUsable, reset } from "./git";
import { type LoopNode, LoopsView } from "./loops";
import { RepositoriesView, type RepoNode } from "./repositories";
import { search } from "./search";

type Command = (argument: never) => Promise<unknown>;

export class Views implements vscode.Disposable {
  readonly staged: StagedChanges;
  readonly #loops: LoopsView;
  readonly #repositories: RepositoriesView;

  constructor(private readonly ctx: Ctx) {
    this.staged = new StagedChanges(ctx);
    this.#loops = new LoopsView(ctx);
    this.#repositories = new RepositoriesView(ctx);
  }

  dispose(): void {
    vscode.Disposable.from(this.staged, this.#loops, this.#repositories).dispose();
  }

  commands(starter: Starter): Record<string, Command> {
    const { ctx, staged } = this;
    const passOn = (command: string) => (node: LoopNode) =>
      Promise.resolve(vscode.commands.executeCommand(`ralphLoop.${command}`, node));
    return {
      showOperation: (node: StagedTarget) => staged.open(node),
      approve: (node: StagedTarget) => staged.approve(node),
      reject: (node: StagedTarget) => staged.reject(node),
      approveAll: (node: StagedTarget) => staged.approve(node),
      rejectAll: (node: StagedTarget) => staged.reject(node),
      showStaged: () => staged.show(),
      refreshLoops: () => done(() => this.#loops.refresh()),
      moreLoops: (node: LoopNode) => done(() => this.#loops.showMore(node)),
      search: () => search(ctx),
      // of a row: those of the palette are about the folder that is looked at, and disabled by it
      "loop.pause": passOn("pause"),
      "loop.resume": passOn("resume"),
      "loop.cancel": passOn("cancel"),
      "loop.output": passOn("openFullOutput"),
      "loop.history": passOn("openHistory"),
      "iteration.prompt": (node: LoopNode) =>
        "iteration" in node
          ? openDocument({ kind: "prompt", runId: node.runId, iteration: node.iteration })
          : Promise.resolve(),
      addRepository: () => this.#after(addRepository(ctx)),
      cloneRepository: () => this.#after(cloneRepository(ctx)),
      scanForRepositories: () => this.#after(scanForRepositories(ctx)),
      refreshRepositories: () => done(() => this.#repositories.refresh()),
      "repository.start": (node: RepoNode) => starter.startIn(node.repo.path),
      "repository.open": ({ repo }: RepoNode) =>
        Promise.resolve(
          vscode.commands.executeCommand("vscode.openFolder", vscode.Uri.file(repo.path), { forceNewWindow: true }),
        ),
      "repository.pull": this.#git(pull),
      "repository.push": this.#git(push),
      "repository.commit": this.#git(commit),
      "repository.checkout": this.#git(checkout),
      "repository.reset": this.#git(reset),
      "repository.remove": this.#row(removeRepository),
    };
  }

  #git(run: (ctx: Ctx, repo: Repo) => Promise<void>): Command {
    return this.#row(async (ctx, repo) => {
      await requireUsable(ctx, repo);
      await run(ctx, repo);
    });
  }

  #row(run: (ctx: Ctx, repo: Repo) => Promise<void>): Command {
    return (node: RepoNode | undefined) => {
      if (!node) throw new RefusedError("Choose a repository in the view Repositories.");
      return this.#after(run(this.ctx, node.repo));
    };
  }

  /** Draws the repositories again, also after a failure: a pull that conflicts has changed files. */
  async #after(work: Promise<void>): Promise<void> {
    try {
      await work;
    } finally {
      this.#repositories.refresh();
    }
  }
}

function done(work: () => void): Promise<void> {
  work();
  return Promise.resolve();
}
