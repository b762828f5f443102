/** What an agent asks for, in words: for notifications, lists and a document with the details. Pure. */

import type { Permission, Question, Reply } from "../protocol";
import { count, firstLine } from "../text";

export type Ask = { kind: "permission"; permission: Permission } | { kind: "question"; question: Question };

export interface Link {
  title: string;
  command: string;
  argument: unknown;
}

export const REPLIES: Record<Reply, string> = { once: "Allow Once", always: "Allow Always", reject: "Reject…" };

const MAX_SAID = 300;

export function idOf(ask: Ask): string {
  return ask.kind === "permission" ? ask.permission.requestId : ask.question.questionId;
}

export function runOf(ask: Ask): string {
  return ask.kind === "permission" ? ask.permission.runId : ask.question.runId;
}

export function askedAt(ask: Ask): string {
  return ask.kind === "permission" ? ask.permission.askedAt : ask.question.askedAt;
}

/** One line: what the agent wants. */
export function headline(ask: Ask): string {
  if (ask.kind === "question") return firstLine(ask.question.text, MAX_SAID);
  const { tool, title } = ask.permission;
  const said = argument(ask.permission);
  const named = title && title !== tool ? `${tool} (${firstLine(title, 120)})` : tool;
  const what = title.startsWith(tool) ? firstLine(title, MAX_SAID) : named;
  return said && !what.includes(said) ? `${what}: ${said}` : what;
}

/** The argument that says most, on one line. */
export function argument({ arguments: given, diff }: Permission): string {
  for (const key of ["command", "cmd", "path", "file_path", "filePath", "url", "pattern", "query"]) {
    const value = given[key];
    if (typeof value === "string" && value.trim()) return firstLine(value, MAX_SAID);
    if (Array.isArray(value) && value.length > 0) return firstLine(value.map(String).join(" "), MAX_SAID);
  }
  if (diff) return diffSummary(diff);
  return Object.keys(given).length > 0 ? firstLine(JSON.stringify(given), MAX_SAID) : "";
}

/** The text of a notification, with links: buttons cannot be taken away again when the answer comes from elsewhere. */
export function notification(place: string, ask: Ask): string {
  const id = idOf(ask);
  const link = (title: string, command: string, more: object = {}): Link => ({
    title,
    command,
    argument: { id, ...more },
  });
  const links =
    ask.kind === "permission"
      ? [
          ...ask.permission.options.map((reply) => link(REPLIES[reply], "replyToRequest", { reply })),
          link("Details", "showRequest"),
        ]
      : [link("Answer…", "answerRequest")];
  const says =
    ask.kind === "permission"
      ? `${place}: the agent wants to use ${headline(ask)}`
      : `${place}: the agent asks: ${headline(ask)}`;
  // "Cancel" is VS Code's word on a notification that can be taken away
  return `${inert(says)} — ${links.map(markdown).join(" · ")}. Cancel only hides this.`;
}

/** Text that a notification does not take for a link: an agent must not put a button of its own there. */
export function inert(text: string): string {
  return text.replaceAll("](", "]\u200b(");
}

function markdown({ title, command, argument }: Link): string {
  const query = encodeURIComponent(JSON.stringify([argument])).replace(/[()]/g, (mark) =>
    mark === "(" ? "%28" : "%29",
  );
  return `[${title}](command:ralphLoop.${command}?${query})`;
}

/** Everything about a request, to read before it is answered. What the agent wrote stands in blocks: no link there is its own. */
export function details(ask: Ask): string {
  if (ask.kind === "question") {
    const { text, options, iteration } = ask.question;
    const choices = options.map((option) => `- ${option}`);
    return [
      `# The agent asks (iteration ${iteration})`,
      "",
      ...fenced([text, ...(choices.length > 0 ? ["", ...choices] : [])].join("\n"), "text"),
      "",
    ].join("\n");
  }
  const { tool, title, arguments: given, diff, iteration } = ask.permission;
  const out = [`# The agent wants to use ${inert(firstLine(tool, 100))} (iteration ${iteration})`, ""];
  const says = title && title !== tool ? [title] : [];
  for (const [name, value] of Object.entries(given)) {
    const text = typeof value === "string" ? value : JSON.stringify(value, null, 2);
    says.push(text.includes("\n") ? `${name}:\n${text.trimEnd()}` : `${name}: ${text}`);
  }
  if (says.length > 0) out.push(...fenced(says.join("\n"), "text"), "");
  if (diff) out.push(...fenced(diff, "diff"), "");
  return out.join("\n");
}

/** A block that its own text cannot end. */
function fenced(text: string, language: string): string[] {
  const longest = Math.max(2, ...[...text.matchAll(/`+/g)].map(([ticks]) => ticks.length));
  const fence = "`".repeat(longest + 1);
  return [`${fence}${language}`, text.trimEnd(), fence];
}

function diffSummary(diff: string): string {
  const rows = diff.split("\n");
  const path = rows.find((row) => row.startsWith("+++ "))?.slice(4) ?? "";
  const added = rows.filter((row) => row.startsWith("+") && !row.startsWith("+++")).length;
  const removed = rows.filter((row) => row.startsWith("-") && !row.startsWith("---")).length;
  const where = path.replace(/^b\//, "").trim();
  return `${where ? `${where} ` : ""}${count(added, "line")} added, ${removed} removed`;
}
