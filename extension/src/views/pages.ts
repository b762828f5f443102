/** Serves the documents about loops: history (kept up to date), output in parts of some megabytes, prompts. */

import * as vscode from "vscode";

import type { Ctx } from "../ctx";
import { details } from "../asks/render";
import { DOCUMENTS, documentTarget, type DocumentTarget, documentUri } from "../documents";
import { historyPage, type Link } from "../history/render";
import { Writer } from "../output/render";
import type { IterationRecord, Snapshot } from "../protocol";
import { FailedError, RefusedError } from "../refusal";
import { count, words } from "../text";

/** Editors stay quick up to about this size. */
const PART = 8 * 1024 * 1024;
const REDRAW_MS = 300;
/** A document that must be read in full: more iterations than these are told, not shown. */
const MAX_ITERATIONS = 1_000;

interface Next {
  line: number;
  target: DocumentTarget;
}

export class Pages implements vscode.TextDocumentContentProvider, vscode.DocumentLinkProvider, vscode.Disposable {
  readonly #changed = new vscode.EventEmitter<vscode.Uri>();
  readonly onDidChange = this.#changed.event;
  readonly #links = new Map<string, Link[]>();
  readonly #next = new Map<string, Next>();
  readonly #redraws = new Map<string, NodeJS.Timeout>();
  readonly #disposable: vscode.Disposable;

  constructor(private readonly ctx: Ctx) {
    this.#disposable = vscode.Disposable.from(
      vscode.workspace.registerTextDocumentContentProvider(DOCUMENTS, this),
      vscode.languages.registerDocumentLinkProvider({ scheme: DOCUMENTS }, this),
      ctx.onDidIterate(({ runId }) => {
        this.#redraw(runId);
      }),
      ctx.onDidChangeLoop(({ loop, before }) => {
        if (before?.status !== loop.status) this.#redraw(loop.runId);
      }),
      vscode.workspace.onDidCloseTextDocument(({ uri }) => {
        this.#links.delete(uri.toString());
        this.#next.delete(uri.toString());
      }),
    );
  }

  async provideTextDocumentContent(uri: vscode.Uri): Promise<string> {
    const target = documentTarget(uri);
    switch (target.kind) {
      case "history":
        return this.#history(uri, target.runId);
      case "output":
        return this.#output(uri, target);
      case "prompt":
        return (await this.ctx.connection.request("ralph/prompt", { runId: target.runId, iteration: target.iteration }))
          .prompt;
      case "request": {
        const ask = this.ctx.asks.get(target.id);
        return ask ? details(ask) : "This request was answered.\n";
      }
    }
  }

  provideDocumentLinks(document: vscode.TextDocument): vscode.DocumentLink[] {
    const key = document.uri.toString();
    const target = documentTarget(document.uri);
    const runId = "runId" in target ? target.runId : "";
    const found = (this.#links.get(key) ?? []).map(({ line, start, end, iteration, change }) => {
      const [command, argument, tooltip] = change
        ? ["ralphLoop.showDiff", { runId, iteration, change }, "Show what this iteration changed"]
        : ["ralphLoop.openFullOutput", { runId, iteration }, "Open the output of this iteration"];
      return commandLink(new vscode.Range(line, start, line, end), command, argument, tooltip);
    });
    const next = this.#next.get(key);
    if (next) {
      const range = document.lineAt(Math.min(next.line, document.lineCount - 1)).range;
      found.push(commandLink(range, "ralphLoop.openDocument", next.target, "Open the next part"));
    }
    return found;
  }

  dispose(): void {
    for (const timer of this.#redraws.values()) clearTimeout(timer);
    this.#disposable.dispose();
    this.#changed.dispose();
  }

  async #history(uri: vscode.Uri, runId: string): Promise<string> {
    const loop = await loopOf(this.ctx, runId);
    const iterations = await allIterations(this.ctx, runId);
    const { text, links } = historyPage(loop, iterations, new Date());
    this.#links.set(uri.toString(), links);
    return text;
  }

  async #output(uri: vscode.Uri, target: DocumentTarget & { kind: "output" }): Promise<string> {
    const { runId, iteration } = target;
    const writer = new Writer();
    const parts: string[] = [];
    let length = 0;
    let after = target.after;
    for (;;) {
      const params = { runId, after, limit: 1_000, ...(iteration === undefined ? {} : { iteration }) };
      const { chunks, more } = await this.ctx.connection.request("ralph/output", params);
      for (const chunk of chunks) {
        const { header, body } = writer.write(chunk);
        parts.push(header, body);
        length += header.length + body.length;
        after = chunk.seq;
      }
      if (!more || chunks.length === 0) break;
      if (length >= PART) {
        const line = parts.join("").split("\n").length;
        this.#next.set(uri.toString(), { line, target: { ...target, after } });
        parts.push(`${writer.lineStart()}\n⋯ The output goes on: open the next part ⋯\n`);
        break;
      }
    }
    return parts.join("") || "(no output)\n";
  }

  /** Open history documents follow their loop. */
  #redraw(runId: string): void {
    if (this.#redraws.has(runId)) return;
    const timer = setTimeout(() => {
      this.#redraws.delete(runId);
      for (const { uri } of vscode.workspace.textDocuments) {
        if (uri.scheme !== DOCUMENTS) continue;
        const target = documentTarget(uri);
        if (target.kind === "history" && target.runId === runId) this.#changed.fire(uri);
      }
    }, REDRAW_MS);
    this.#redraws.set(runId, timer);
  }
}

function commandLink(range: vscode.Range, command: string, argument: unknown, tooltip: string): vscode.DocumentLink {
  const uri = vscode.Uri.from({ scheme: "command", path: command, query: JSON.stringify([argument]) });
  const link = new vscode.DocumentLink(range, uri);
  link.tooltip = tooltip;
  return link;
}

export async function loopOf(ctx: Ctx, runId: string): Promise<Snapshot> {
  const known = ctx.loops.get(runId)?.loop ?? (await ctx.connection.request("ralph/status", { runId }));
  if (!known) throw new RefusedError("This loop is not known any more: it may have been deleted.");
  return known;
}

/** Oldest first. */
export async function allIterations(ctx: Ctx, runId: string): Promise<IterationRecord[]> {
  const pages: IterationRecord[][] = [];
  let before: number | undefined;
  let total = 0;
  for (;;) {
    const params = { runId, limit: 50, ...(before === undefined ? {} : { before }) };
    const { iterations, more } = await ctx.connection.request("ralph/history", params);
    pages.unshift(iterations);
    total += iterations.length;
    before = iterations[0]?.iteration;
    if (!more || before === undefined || total >= MAX_ITERATIONS) return pages.flat();
  }
}

/** Opens one of the documents, in the language that fits it. */
export async function openDocument(target: DocumentTarget): Promise<void> {
  const document = await opened(documentUri(title(target), target));
  await vscode.window.showTextDocument(document, { preview: true });
}

async function opened(uri: vscode.Uri): Promise<vscode.TextDocument> {
  try {
    return await vscode.workspace.openTextDocument(uri);
  } catch (error) {
    // VS Code puts the URI before what the helper says, that of a loop that was deleted for one
    throw new FailedError(words(error).replace(/^cannot open .*? Detail: /s, ""));
  }
}

function title(target: DocumentTarget): string {
  switch (target.kind) {
    case "history":
      return "Ralph Loop History.md";
    case "prompt":
      return `Prompt of Iteration ${target.iteration}.md`;
    case "request":
      return "Request of the Agent.md";
    case "output": {
      const what = target.iteration === undefined ? "Output" : `Output of Iteration ${target.iteration}`;
      return `${what}${target.after > 0 ? `, after ${count(target.after, "piece")}` : ""}.ralph-output`;
    }
  }
}
