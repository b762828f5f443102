/** An output channel that shows the loops of one folder: stored output first, then live, in order, without a gap. */

import * as vscode from "vscode";

import type { Connection } from "../client";
import type { Chunk, Snapshot } from "../protocol";
import { words } from "../text";
import { Flow, type Portion } from "./flow";
import { earlierLeftOut, leftOut, loopHeader, Writer } from "./render";

export const OUTPUT_LANGUAGE = "ralph-loop-output";

const KB = 1024;
const LIMITS = { burst: 512 * KB, rate: 64 * KB, tail: 16 * KB };
/** Of stored output, so much is drawn when a window opens: chunks that are read, characters of each iteration. */
const STORED_CHUNKS = 500;
const STORED_TAIL = 64 * KB;
/** The channel never holds more than this. */
const CHANNEL_MAX = 4 * KB * KB;
const CHANNEL_KEEP = 256 * KB;
/** No chunk for so long means that the stored output has been read. */
const QUIET_MS = 250;
const DRAIN_MS = 1_000;

/** One loop on its way into the channel. */
class Feed {
  readonly writer = new Writer();
  readonly flow = new Flow(LIMITS, Date.now());
  /** Everything up to this `seq` is drawn or left out on purpose. */
  cursor = 0;
  /** Chunks of a subscription that is being replaced are not heard. */
  isDeaf = false;
  /** Stored output is being read up to this `seq`; 0 when what comes is live. */
  storedUntil = 0;

  constructor(readonly runId: string) {}
}

export class OutputPanel implements vscode.Disposable {
  readonly #channel: vscode.OutputChannel;
  #feed: Feed | undefined;
  #timer: NodeJS.Timeout | undefined;
  #length = 0;
  #recent: string[] = [];
  #recentLength = 0;

  constructor(
    name: string,
    private readonly connection: Connection,
    private readonly log: vscode.LogOutputChannel,
  ) {
    this.#channel = vscode.window.createOutputChannel(name, OUTPUT_LANGUAGE);
  }

  get runId(): string | undefined {
    return this.#feed?.runId;
  }

  show(): void {
    this.#channel.show(true);
  }

  /** Shows this loop; called again after a reconnect, it goes on where it was. */
  async follow(loop: Snapshot): Promise<void> {
    if (this.#feed?.runId !== loop.runId) this.#begin(loop);
    const feed = this.#feed;
    if (!feed) return;
    try {
      await this.#subscribe(feed);
    } catch (error) {
      this.log.error(`The output of ${loop.runId} cannot be shown: ${words(error)}`);
    }
  }

  /** Chunks that came for a loop. */
  take(runId: string, chunks: Chunk[]): void {
    const feed = this.#feed;
    if (feed?.runId !== runId || feed.isDeaf) return;
    for (const chunk of chunks) {
      if (chunk.seq <= feed.cursor) continue;
      feed.cursor = chunk.seq;
      const { header, body } = feed.writer.write(chunk);
      if (header) {
        this.#flush(feed);
        this.#append(header);
      }
      const portion = body && feed.flow.feed(body, Date.now());
      if (portion) this.#append(portion.text);
    }
    if (feed.storedUntil === 0) {
      if (feed.flow.isHolding) this.#timer ??= this.#later(feed, DRAIN_MS);
    } else if (feed.cursor >= feed.storedUntil) this.#endOfStored(feed);
    else this.#waitForStored(feed);
  }

  dispose(): void {
    clearTimeout(this.#timer);
    this.#channel.dispose();
  }

  #begin(loop: Snapshot): void {
    const previous = this.#feed;
    if (previous) {
      clearTimeout(this.#timer);
      this.#timer = undefined;
      this.#flush(previous);
      this.#append(`${previous.writer.lineStart()}\n`);
      void this.connection.request("ralph/unsubscribe", { runId: previous.runId }).catch((error: unknown) => {
        this.log.debug(`unsubscribe: ${words(error)}`);
      });
    }
    this.#feed = new Feed(loop.runId);
    this.#append(loopHeader(loop, new Date()));
  }

  async #subscribe(feed: Feed): Promise<void> {
    const { runId } = feed;
    const { lastSeq } = await this.connection.request("ralph/subscribe", { runId, after: feed.cursor });
    if (lastSeq <= feed.cursor) return;
    feed.storedUntil = lastSeq;
    feed.flow.hold(STORED_TAIL);
    this.#waitForStored(feed);
    if (lastSeq - feed.cursor <= STORED_CHUNKS) return;
    // too much to read it all: begin again nearer to the end
    feed.isDeaf = true;
    await this.connection.request("ralph/unsubscribe", { runId });
    feed.cursor = lastSeq - STORED_CHUNKS;
    feed.isDeaf = false;
    this.#append(earlierLeftOut());
    await this.connection.request("ralph/subscribe", { runId, after: feed.cursor });
  }

  /** The last chunks may not be for this view: then quiet tells that all of them came. */
  #waitForStored(feed: Feed): void {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => {
      this.#endOfStored(feed);
    }, QUIET_MS);
  }

  #endOfStored(feed: Feed): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    feed.storedUntil = 0;
    this.#draw(feed.flow.release());
  }

  /** Draws what is due of held text, until nothing is held. */
  #later(feed: Feed, ms: number): NodeJS.Timeout {
    return setTimeout(() => {
      this.#timer = undefined;
      const portion = feed.flow.drain(Date.now());
      if (portion) this.#draw(portion);
      else if (feed.flow.isHolding) this.#timer = this.#later(feed, ms);
    }, ms);
  }

  /** Draws what is held, now. While stored output is read, what comes next is held again. */
  #flush(feed: Feed): void {
    if (!feed.flow.isHolding) return;
    this.#draw(feed.flow.release());
    if (feed.storedUntil > 0) feed.flow.hold(STORED_TAIL);
  }

  #draw({ left, text }: Portion): void {
    if (left > 0) this.#append((this.#recent.at(-1)?.endsWith("\n") === false ? "\n" : "") + leftOut(left));
    this.#append(text);
  }

  #append(text: string): void {
    if (!text) return;
    this.#length += text.length;
    this.#remember(text);
    if (this.#length <= CHANNEL_MAX) {
      this.#channel.append(text);
      return;
    }
    const kept = this.#recent.join("");
    this.#channel.replace(earlierLeftOut() + kept);
    this.#length = kept.length;
  }

  #remember(text: string): void {
    this.#recent.push(text);
    this.#recentLength += text.length;
    while (this.#recentLength > CHANNEL_KEEP && this.#recent.length > 1) {
      this.#recentLength -= this.#recent.shift()?.length ?? 0;
    }
  }
}
