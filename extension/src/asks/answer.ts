/** Answering what an agent asks: by links of a notification, and by a list of all open requests. */

import { basename } from "node:path";
import * as vscode from "vscode";

import type { Ctx } from "../ctx";
import { loopOf, openDocument } from "../views/pages";
import { ERRORS, type Permission, type Question, type Reply } from "../protocol";
import { codeOf, RefusedError, untrusted } from "../refusal";
import { clock, firstLine, iconless } from "../text";
import { type Ask, askedAt, headline, idOf, REPLIES, runOf } from "./render";

const ICONS: Record<Reply, string> = { once: "check", always: "check-all", reject: "close" };

/** What the links of a notification pass along. */
export interface Target {
  id: string;
  reply?: Reply;
}

/** The list of all open requests, or of one loop; the only one is opened at once. */
export async function showRequests(ctx: Ctx, runId?: string): Promise<void> {
  await ctx.connection.ensure();
  await ctx.asks.refresh();
  const asks = ctx.asks.all.filter((ask) => runId === undefined || runOf(ask) === runId);
  if (asks.length === 0) throw new RefusedError("No agent waits for an answer.");
  const [only] = asks;
  const ask = asks.length === 1 ? only : await pick(ctx, asks);
  if (ask) await answerOne(ctx, ask);
}

export async function answerRequest(ctx: Ctx, { id }: Target): Promise<void> {
  await answerOne(ctx, find(ctx, id));
}

export async function replyToRequest(ctx: Ctx, { id, reply }: Target): Promise<void> {
  const ask = find(ctx, id);
  if (ask.kind === "question" || !reply) await answerOne(ctx, ask);
  else await replyWith(ctx, ask.permission, reply);
}

export async function showRequest(ctx: Ctx, { id }: Target): Promise<void> {
  await openDocument({ kind: "request", id: idOf(find(ctx, id)) });
}

function find(ctx: Ctx, id: string): Ask {
  const ask = ctx.asks.get(id);
  if (!ask) throw new RefusedError("This request was answered already.");
  return ask;
}

async function pick(ctx: Ctx, asks: Ask[]): Promise<Ask | undefined> {
  const items = asks.map(async (ask) => ({
    label: `$(${ask.kind === "permission" ? "shield" : "question"}) ${headline(ask)}`,
    description: `${basename((await loopOf(ctx, runOf(ask))).workspace)} · ${clock(askedAt(ask)).slice(0, 5)}`,
    ask,
  }));
  const options = {
    title: "Ralph Loop: Open Requests",
    placeHolder: "What an agent waits for",
    matchOnDescription: true,
  };
  return (await vscode.window.showQuickPick(Promise.all(items), options))?.ask;
}

async function answerOne(ctx: Ctx, ask: Ask): Promise<void> {
  if (!vscode.workspace.isTrusted) throw untrusted();
  // a pick or box that is open goes when the answer comes from elsewhere
  const elsewhere = new vscode.CancellationTokenSource();
  const listener = ctx.asks.onDidChange(() => {
    if (!ctx.asks.get(idOf(ask))) elsewhere.cancel();
  });
  try {
    if (ask.kind === "permission") await answerPermission(ctx, ask.permission, elsewhere.token);
    else await answerQuestion(ctx, ask.question, elsewhere.token);
  } finally {
    listener.dispose();
    elsewhere.dispose();
  }
}

async function answerPermission(ctx: Ctx, permission: Permission, token: vscode.CancellationToken): Promise<void> {
  const details: Record<Reply, string> = {
    once: "this time only",
    always: "this and the like, in this repository",
    reject: "and say what to do instead",
  };
  const items: (vscode.QuickPickItem & { reply?: Reply })[] = permission.options.map((reply) => ({
    label: `$(${ICONS[reply]}) ${REPLIES[reply]}`,
    description: details[reply],
    reply,
  }));
  items.push({
    label: "$(open-preview) Show Details",
    description: permission.diff ? "arguments and diff" : "arguments",
  });
  const options = {
    title: `Ralph Loop: ${firstLine(headline({ kind: "permission", permission }), 120)}`,
    placeHolder: "May the agent do this?",
  };
  const chosen = await vscode.window.showQuickPick(items, options, token);
  if (!chosen) return;
  if (chosen.reply) await replyWith(ctx, permission, chosen.reply, token);
  else await openDocument({ kind: "request", id: permission.requestId });
}

async function replyWith(
  ctx: Ctx,
  { requestId }: Permission,
  reply: Reply,
  token?: vscode.CancellationToken,
): Promise<void> {
  if (!vscode.workspace.isTrusted) throw untrusted();
  let message: string | undefined;
  if (reply === "reject") {
    const options = {
      title: "Ralph Loop: Reject",
      prompt: "What shall the agent do instead? Empty: it is only told no.",
      ignoreFocusOut: true,
    };
    message = await vscode.window.showInputBox(options, token);
    if (message === undefined) return;
  }
  const params = { requestId, reply, ...(message?.trim() ? { message: message.trim() } : {}) };
  await settle(ctx, requestId, ctx.connection.request("ralph/permission/reply", params));
}

async function answerQuestion(ctx: Ctx, question: Question, token: vscode.CancellationToken): Promise<void> {
  const answer = await askFor(question, token);
  if (answer === undefined) return;
  const { questionId } = question;
  await settle(ctx, questionId, ctx.connection.request("ralph/question/answer", { questionId, answer }));
}

async function askFor(question: Question, token: vscode.CancellationToken): Promise<string | undefined> {
  const title = "Ralph Loop: the Agent Asks";
  const text = question.text.replace(/\s+/g, " ").trim();
  if (question.options.length > 0) {
    const own = { label: "$(edit) Another answer…", answer: undefined };
    const items = [...question.options.map((answer) => ({ label: iconless(answer), answer })), own];
    const chosen = await vscode.window.showQuickPick(items, { title, placeHolder: text, ignoreFocusOut: true }, token);
    if (chosen !== own) return chosen?.answer;
  }
  return vscode.window.showInputBox({ title, prompt: text, ignoreFocusOut: true }, token);
}

/** A late answer is not an error: somebody else was quicker. */
async function settle(ctx: Ctx, id: string, answer: Promise<unknown>): Promise<void> {
  try {
    await answer;
  } catch (error) {
    if (codeOf(error) !== ERRORS.invalidState) throw error;
    ctx.asks.forget(id);
    throw new RefusedError("This request was answered elsewhere already.");
  }
  ctx.asks.forget(id);
}
