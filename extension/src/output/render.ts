/** Chunks of a loop's output as lines to read, with a header where an iteration starts. Pure. */

import type { Chunk, Snapshot } from "../protocol";
import { clock, firstLine, moment, size } from "../text";
import { TerminalText } from "./terminal";

/** Where the output of a loop begins. */
export function loopHeader(loop: Snapshot, now: Date): string {
  const agent = loop.model ? `${loop.agent} (${loop.model})` : loop.agent;
  return `▶ ${firstLine(loop.prompt, 100)} — ${agent}, ${moment(loop.startedAt, now)}\n`;
}

export function iterationHeader(iteration: number, at: string): string {
  return `━━━ Iteration ${iteration} ━━━ ${clock(at)} ━━━\n`;
}

/** Names the command that shows everything; `links.ts` makes it one. */
export const FULL_OUTPUT = "Open Full Output";

export function leftOut(characters: number): string {
  return `⋯ ${size(characters)} left out here, ${FULL_OUTPUT} shows all ⋯\n`;
}

export function earlierLeftOut(): string {
  return `⋯ Earlier output is not drawn here, ${FULL_OUTPUT} shows all ⋯\n`;
}

/** Writes one loop's chunks. */
export class Writer {
  #iteration = 0;
  #atLineStart = true;
  readonly #streams = new Map<Chunk["stream"], TerminalText>();

  /** The header if an iteration starts with this chunk, and the text of the chunk. */
  write(chunk: Chunk): { header: string; body: string } {
    let header = "";
    if (chunk.iteration > 0 && chunk.iteration !== this.#iteration) {
      this.#iteration = chunk.iteration;
      this.#streams.clear();
      header = this.lineStart() + iterationHeader(chunk.iteration, chunk.at);
      this.#atLineStart = true;
    }
    let stream = this.#streams.get(chunk.stream);
    if (!stream) this.#streams.set(chunk.stream, (stream = new TerminalText()));
    let body = stream.write(chunk.text);
    if (body && chunk.stream === "system") body = this.lineStart() + body;
    if (body) this.#atLineStart = body.endsWith("\n");
    return { header, body };
  }

  /** What is missing to stand at the start of a line. */
  lineStart(): string {
    return this.#atLineStart ? "" : "\n";
  }
}
