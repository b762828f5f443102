/** A loop's history as a document to read. Pure. */

import { loopSummary } from "../status";
import type { Change, IterationRecord, Snapshot } from "../protocol";
import { changed, count, duration, firstLine, lines, moment, sentence } from "../text";

/** The output has all of them. */
const MAX_ERRORS = 8;
const MAX_MESSAGE_LINES = 12;

/** A place in the document that opens something. Lines and characters count from 0. */
export interface Link {
  line: number;
  start: number;
  end: number;
  iteration: number;
  /** The file whose diff is opened; none: the iteration's output. */
  change?: Change;
}

export interface Page {
  text: string;
  links: Link[];
}

export const STATUS_WORDS: Record<IterationRecord["status"], string> = {
  running: "running",
  completed: "completed",
  interrupted: "interrupted",
  failed: "failed",
  timedOut: "timed out",
};

export const KIND_MARKS: Record<Change["kind"], string> = {
  create: "A",
  modify: "M",
  delete: "D",
  rename: "R",
  typeChange: "T",
};

const PROMISE_WORDS: Record<IterationRecord["promise"], string> = {
  none: "",
  nearMiss: "a near miss: the promise was printed, but not as the last line",
  task: "says this task is done",
  completion: "says all is done",
  abort: "gives up",
};

export function historyPage(loop: Snapshot, iterations: IterationRecord[], now: Date): Page {
  const out: string[] = [];
  const links: Link[] = [];
  const summary = loopSummary(loop).says;
  out.push(`# ${firstLine(loop.prompt, 100)}`, "");
  out.push(`- Status: ${summary}`);
  out.push(`- Agent: ${loop.agent}${loop.model ? ` · ${loop.model}` : ""}`);
  out.push(
    `- Started: ${moment(loop.startedAt, now)}${loop.endedAt ? `, ended ${moment(loop.endedAt, now)}` : ""}, ${duration(loop.elapsedMs)} of work`,
  );
  out.push(`- ${sentence(changed(loop.filesChanged))}`);
  if (loop.tokens) out.push(`- Tokens: ${usage(loop)}`);
  if (loop.struggle.detected) out.push(`- Struggle: ${loop.struggle.reasons.join(" ")}`);
  if (loop.error) out.push(`- Error: ${oneLine([loop.error.message, loop.error.hint].filter(Boolean).join(" "))}`);
  out.push(`- Folder: ${loop.workspace}`, "");
  if (loop.prompt.trim() !== firstLine(loop.prompt, 100)) {
    out.push("## Prompt", "", ...quote(loop.prompt), "");
  }
  for (const record of iterations) {
    const time = record.status === "running" ? "" : ` · ${duration(record.durationMs)}`;
    const heading = `## Iteration ${record.iteration} · ${STATUS_WORDS[record.status]} · ${moment(record.startedAt, now)}${time}`;
    links.push({
      line: out.length,
      start: 3,
      end: `## Iteration ${record.iteration}`.length,
      iteration: record.iteration,
    });
    out.push(heading, "");
    for (const fact of facts(record, loop)) out.push(`- ${fact}`);
    const files = record.files ?? [];
    if (files.length > 0) {
      out.push(`- ${count(record.filesTotal, "file")} changed:`, "");
      for (const change of files) {
        const { text, start } = fileLine(change);
        links.push({
          line: out.length,
          start,
          end: start + oneLine(change.path).length,
          iteration: record.iteration,
          change,
        });
        out.push(text);
      }
      if (record.filesTotal > files.length)
        out.push(`      … and ${count(record.filesTotal - files.length, "more file", "more files")}`);
    }
    out.push("");
    if (record.message?.trim()) out.push(...quote(ending(record.message)), "");
  }
  if (iterations.length === 0) out.push("No iteration has started yet.", "");
  return { text: out.join("\n"), links };
}

function facts(record: IterationRecord, loop: Snapshot): string[] {
  const found: string[] = [];
  if (record.agent !== loop.agent || record.model !== loop.model)
    found.push(`Agent: ${record.agent}${record.model ? ` · ${record.model}` : ""}`);
  if (record.exitCode !== undefined && record.exitCode !== 0) found.push(`Exit code ${record.exitCode}`);
  const tools = Object.entries(record.tools).map(([name, n]) => (n > 1 ? `${name} ×${n}` : name));
  if (tools.length > 0) found.push(`Tools: ${oneLine(tools.join(", "))}`);
  if (record.tokens) found.push(`Tokens: ${usage(record)}`);
  if (record.contextIds.length > 0) found.push(`${count(record.contextIds.length, "hint")} of yours given`);
  if (record.promise !== "none") found.push(`Promise: ${PROMISE_WORDS[record.promise]}`);
  for (const error of record.errors.slice(0, MAX_ERRORS)) found.push(`Error: ${oneLine(error)}`);
  if (record.errors.length > MAX_ERRORS)
    found.push(`… and ${count(record.errors.length - MAX_ERRORS, "more error", "more errors")}`);
  if (record.tracking) found.push(`No record of changed files: ${oneLine(record.tracking)}`);
  else if (record.filesTotal === 0 && record.status !== "running") found.push("No file changed");
  return found;
}

function fileLine(change: Change): { text: string; start: number } {
  const mark = `    ${KIND_MARKS[change.kind]} `;
  const from = change.oldPath === undefined ? "" : ` ← ${oneLine(change.oldPath)}`;
  const numbers = change.binary ? "binary" : lines(change);
  return { text: `${mark}${oneLine(change.path)}${from}${numbers ? `  ${numbers}` : ""}`, start: mark.length };
}

function usage({ tokens, costUsd }: Pick<Snapshot, "tokens" | "costUsd">): string {
  const n = (value: number) => value.toLocaleString("en-US");
  const cost = costUsd === undefined ? "" : ` · $${costUsd.toFixed(2)}`;
  return tokens ? `${n(tokens.input)} in, ${n(tokens.output)} out${cost}` : cost;
}

/** The end of a long message: that is where agents say what they did. */
function ending(text: string): string {
  const rows = text.trim().split(/\r?\n/);
  return rows.length > MAX_MESSAGE_LINES ? ["…", ...rows.slice(-MAX_MESSAGE_LINES)].join("\n") : text;
}

function quote(text: string): string[] {
  return text
    .trim()
    .split(/\r?\n/)
    .map((line) => `> ${line}`.trimEnd());
}

function oneLine(text: string): string {
  return text.trim().replace(/[\r\n\u2028\u2029]+/g, " ⏎ ");
}
