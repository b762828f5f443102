/** Where a loop stands in the view of loops: at the top while it is active, else under its repository. Pure. */

import { isActive } from "../loops";
import type { Snapshot } from "../protocol";

export interface PlacedLoop {
  kind: "loop";
  runId: string;
  /** The newest that is known of it. */
  loop: Snapshot;
}

/**
 * The top and the repositories are asked for one after the other, and a loop may end in between. So the top decides,
 * as it was drawn last: a loop that stood in both places would be refused by VS Code ("already registered"), which then
 * shows no loop of that repository and forgets what was selected there.
 */
export class Placing {
  readonly #nodes = new Map<string, PlacedLoop>();
  #top = new Set<string>();

  get(runId: string): PlacedLoop | undefined {
    return this.#nodes.get(runId);
  }

  /** The node of a loop, with its newest snapshot: VS Code knows nodes by identity. */
  take(loop: Snapshot): PlacedLoop {
    const known = this.#nodes.get(loop.runId);
    if (known) {
      if (loop.revision > known.loop.revision) known.loop = loop;
      return known;
    }
    const node: PlacedLoop = { kind: "loop", runId: loop.runId, loop };
    this.#nodes.set(loop.runId, node);
    return node;
  }

  /** Those of all loops that stand at the top from now on. */
  top(loops: Snapshot[]): PlacedLoop[] {
    const active = loops.map((loop) => this.take(loop)).filter(({ loop }) => isActive(loop));
    this.#top = new Set(active.map(({ runId }) => runId));
    return active;
  }

  /** Those of a repository's loops that stand under it. */
  past(loops: Snapshot[]): PlacedLoop[] {
    return loops.map((loop) => this.take(loop)).filter(({ runId, loop }) => !isActive(loop) && !this.#top.has(runId));
  }

  /** What has to be drawn anew for a snapshot that came: its node, everything (it moves), or nothing. */
  heard(loop: Snapshot): PlacedLoop | "all" | undefined {
    const known = this.#nodes.get(loop.runId);
    const isNews = known !== undefined && loop.revision > known.loop.revision;
    if (isNews) known.loop = loop;
    if (isActive(known?.loop ?? loop) !== this.#top.has(loop.runId)) return "all";
    return isNews ? known : undefined;
  }
}
