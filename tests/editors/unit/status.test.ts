import assert from "node:assert/strict";
import { test } from "node:test";

import { canPause, canResume, elapsed, Loops, toggleCommand } from "../../../extension/src/loops";
import type { Snapshot } from "../../../extension/src/protocol";
import { face, type View } from "../../../extension/src/status";
import { loop } from "./sample";

const NOW = new Date("2026-11-21T09:02:00.000Z");

function view(snapshot: Snapshot | undefined, changes: Partial<View> = {}): View {
  const known = snapshot && { loop: snapshot, heardAt: NOW.getTime() - 5_000 };
  return {
    now: NOW,
    helper: { kind: "ready" },
    trusted: true,
    folder: "shop",
    known,
    seen: true,
    others: [],
    ...changes,
  };
}

test("every state has its own text, and colour only when a person is needed", () => {
  const cases: [View, string, "warning" | "error" | undefined][] = [
    [view(undefined), "$(sync) Ralph", undefined],
    [view(undefined, { helper: { kind: "idle" } }), "$(sync) Ralph", undefined],
    [
      view(undefined, {
        helper: { kind: "busy", doing: "installing the helper" },
      }),
      "$(loading~spin) Ralph",
      undefined,
    ],
    [view(loop(), { helper: { kind: "lost" } }), "$(loading~spin) Ralph", undefined],
    [view(loop(), { helper: { kind: "failed", message: "no Python" } }), "$(error) Ralph", "error"],
    [view(undefined, { trusted: false }), "$(shield) Ralph", undefined],
    [view(loop(), { trusted: false }), "$(sync~spin) Ralph 3/50", undefined],
    [view(loop()), "$(sync~spin) Ralph 3/50", undefined],
    [view(loop({ maxIterations: 0 })), "$(sync~spin) Ralph 3", undefined],
    [view(loop({ pauseRequested: true })), "$(sync~spin) Ralph 3/50 · pausing", undefined],
    [view(loop({ status: "paused" })), "$(debug-pause) Ralph 3/50 · paused", undefined],
    [view(loop({ status: "paused", stopReason: "struggle" })), "$(bell-dot) Ralph 3/50 · struggling", "warning"],
    [
      view(
        loop({
          status: "paused",
          error: { kind: "diskFull", message: "full" },
        }),
      ),
      "$(error) Ralph 3/50 · disk full",
      "error",
    ],
    [view(loop({ pendingPermissions: 1 })), "$(bell-dot) Ralph 3/50 · permission", "warning"],
    [view(loop({ pendingQuestions: 2 })), "$(bell-dot) Ralph 3/50 · question", "warning"],
    [view(loop({ status: "awaiting_approval", stagedOperations: 2 })), "$(bell-dot) Ralph 3/50 · review", "warning"],
    [view(loop({ status: "waiting" })), "$(watch) Ralph 3/50 · waits", undefined],
    [view(loop({ status: "interrupted" })), "$(debug-disconnect) Ralph 3/50 · interrupted", "warning"],
    [view(loop({ status: "completed", stopReason: "completed" })), "$(pass) Ralph 3/50 · done", undefined],
    [view(loop({ status: "completed", stopReason: "maxIterations" })), "$(stop-circle) Ralph 3/50 · limit", undefined],
    [
      view(loop({ status: "completed", stopReason: "maxDuration" })),
      "$(stop-circle) Ralph 3/50 · time limit",
      undefined,
    ],
    [view(loop({ status: "completed", stopReason: "aborted" })), "$(stop-circle) Ralph 3/50 · aborted", undefined],
    [view(loop({ status: "error", stopReason: "agentFailed" })), "$(error) Ralph 3/50 · failed", undefined],
    [view(loop({ status: "error" }), { seen: false }), "$(error) Ralph 3/50 · failed", "error"],
    [view(loop({ status: "cancelled", stopReason: "cancelled" })), "$(sync) Ralph", undefined],
  ];
  for (const [given, text, background] of cases) {
    const result = face(given);
    assert.equal(result.text, text);
    assert.equal(result.background, background, text);
    assert.match(result.label, /^Ralph Loop: .+/);
  }
});

test("the tooltip tells everything and links to what can be done", () => {
  const { tooltip } = face(
    view(
      loop({
        model: "opus",
        pendingContext: 2,
        struggle: { detected: true, reasons: ["no change in 3 iterations"] },
        tokens: { input: 1_000, output: 234 },
        costUsd: 0.5,
      }),
      {
        others: [
          {
            folder: "docs",
            loop: loop({
              status: "completed",
              stopReason: "completed",
              iteration: 1,
            }),
          },
        ],
      },
    ),
  );
  for (const part of [
    "shop",
    "Make the tests pass",
    "claude",
    "opus",
    "1 min 10 s",
    "21.0 s",
    "4 files changed",
    "2 hints",
    "no change in 3 iterations",
    "1,234",
    "0.50",
  ]) {
    assert.ok(tooltip.includes(part), part);
  }
  assert.deepEqual(links(tooltip), ["pause", "cancel", "addContext", "showOutput", "showHistory"]);
  assert.match(tooltip, /\$\(pass\) \*\*docs\*\* completed after 1 iteration/);
});

test("links fit the state", () => {
  const of = (snapshot: Snapshot | undefined, changes: Partial<View> = {}) =>
    links(face(view(snapshot, changes)).tooltip);
  assert.deepEqual(of(undefined), ["start"]);
  assert.deepEqual(of(loop({ status: "paused" })), ["resume", "cancel", "addContext", "showOutput", "showHistory"]);
  assert.deepEqual(of(loop({ pauseRequested: true })), [
    "pauseNow",
    "cancel",
    "addContext",
    "showOutput",
    "showHistory",
  ]);
  assert.deepEqual(of(loop({ status: "completed" })), ["start", "showOutput", "showHistory"]);
  assert.deepEqual(of(loop({ status: "interrupted" })), [
    "start",
    "resume",
    "cancel",
    "addContext",
    "showOutput",
    "showHistory",
  ]);
  assert.deepEqual(of(undefined, { helper: { kind: "failed", message: "x" } }), ["restartHelper", "showHelperLog"]);
  assert.deepEqual(of(undefined, { folder: undefined as never }), []);
  assert.ok(face(view(undefined, { trusted: false })).tooltip.includes("command:workbench.trust.manage"));
});

test("a prompt cannot put a link into the tooltip", () => {
  const { tooltip } = face(
    view(
      loop({
        prompt: "[click](command:ralphLoop.cancel) $(alert) ![x](http://e)",
      }),
    ),
  );
  assert.equal(links(tooltip).filter((name) => name === "cancel").length, 1);
  assert.ok(!tooltip.includes("$(alert)"));
});

test("a click does what the state means", () => {
  const cases: [Snapshot | undefined, boolean, string][] = [
    [undefined, false, "start"],
    [loop(), false, "pause"],
    [loop({ pauseRequested: true }), false, "showStatus"],
    [loop({ status: "paused" }), false, "resume"],
    [loop({ status: "interrupted" }), false, "resume"],
    [loop({ status: "waiting" }), false, "showStatus"],
    [loop({ status: "awaiting_approval" }), false, "showNeed"],
    [loop({ pendingPermissions: 1 }), false, "showNeed"],
    [loop({ status: "completed" }), false, "start"],
    [loop({ status: "cancelled" }), false, "start"],
    [loop({ status: "error" }), false, "showStatus"],
    [loop({ status: "error" }), true, "start"],
  ];
  for (const [snapshot, isSeen, command] of cases) assert.equal(toggleCommand(snapshot, isSeen), command);
});

test("only a running or waiting clock goes on", () => {
  const known = (status: Snapshot["status"]) => ({
    loop: loop({ status }),
    heardAt: 1_000,
  });
  assert.equal(elapsed(known("running"), 3_000), 67_000);
  assert.equal(elapsed(known("paused"), 3_000), 65_000);
  assert.ok(canPause(loop()) && !canPause(loop({ pauseRequested: true })));
  assert.ok(canResume(loop({ status: "waiting" })) && !canResume(loop()));
});

test("of snapshots, the newest revision counts, whatever order they come in", () => {
  const loops = new Loops();
  loops.assign("file:///shop", "repo_1");
  assert.ok(loops.take(loop({ revision: 5, iteration: 2 }), 0));
  assert.equal(loops.take(loop({ revision: 4, iteration: 1 }), 0), null);
  assert.equal(loops.take(loop({ revision: 6, status: "completed" }), 0)?.before?.iteration, 2);
  assert.equal(loops.of("file:///shop")?.loop.status, "completed");
});

test("of a folder's loops, the active one counts, else the latest", () => {
  const loops = new Loops();
  const at = (hour: string) => `2026-11-21T${hour}:00:00.000Z`;
  loops.assign("file:///shop", "repo_1");
  loops.take(loop({ runId: "run_a", status: "interrupted", startedAt: at("09") }), 0);
  loops.take(loop({ runId: "run_b", status: "paused", startedAt: at("08") }), 0);
  loops.take(loop({ runId: "run_c", repoId: "repo_2" }), 0);
  assert.equal(loops.of("file:///shop")?.loop.runId, "run_b");
  assert.equal(loops.get("run_a"), undefined, "older loops are forgotten");
  loops.take(loop({ runId: "run_b", status: "completed", startedAt: at("08"), revision: 8 }), 0);
  loops.take(loop({ runId: "run_d", status: "cancelled", startedAt: at("10") }), 0);
  assert.equal(loops.of("file:///shop")?.loop.runId, "run_d");
  assert.equal(loops.of("file:///other"), undefined);
});

function links(tooltip: string): string[] {
  return [...tooltip.matchAll(/\(command:ralphLoop\.(\w+)\)/g)].map((match) => match[1] ?? "");
}
