import assert from "node:assert/strict";
import { test } from "node:test";

import { historyPage } from "../../../extension/src/history/render";
import { iteration, loop } from "./sample";

const NOW = new Date("2026-11-22T09:00:00.000Z");

test("a page tells what was asked, how it ended, and each iteration", () => {
  const { text, links } = historyPage(
    loop({
      status: "completed",
      stopReason: "completed",
      iteration: 2,
      endedAt: "2026-11-21T09:01:00.000Z",
      prompt: "Fix it\nall of it",
    }),
    [
      iteration({
        status: "failed",
        exitCode: 2,
        tools: { Bash: 3, Read: 1 },
        errors: ["one\ntwo"],
        files: [
          {
            path: "src/a b.py",
            kind: "create",
            added: 12,
            removed: 0,
            binary: false,
          },
          {
            path: "new.png",
            oldPath: "old.png",
            kind: "rename",
            added: 0,
            removed: 0,
            binary: true,
          },
        ],
        filesTotal: 600,
      }),
      iteration({
        iteration: 2,
        promise: "completion",
        contextIds: ["c1"],
        message: "Done.\nReally.",
        tokens: { input: 1, output: 2 },
        costUsd: 0.1,
      }),
    ],
    NOW,
  );
  for (const part of [
    "# Fix it…",
    "- Status: completed after 2 iterations",
    "> all of it",
    "## Iteration 1 · failed",
    "- Exit code 2",
    "- Tools: Bash ×3, Read",
    "- Error: one ⏎ two",
    "    A src/a b.py  +12",
    "    R new.png ← old.png  binary",
    "… and 598 more files",
    "- Promise: says all is done",
    "- 1 hint of yours given",
    "> Really.",
    "1 in, 2 out · $0.10",
  ]) {
    assert.ok(text.includes(part), `${part}\n---\n${text}`);
  }
  const rows = text.split("\n");
  const linked = links.map(({ line, start, end }) => rows[line]?.slice(start, end));
  assert.deepEqual(linked, ["Iteration 1", "src/a b.py", "new.png", "Iteration 2"]);
  assert.equal(links[2]?.change?.oldPath, "old.png");
});

test("an iteration without a record or a change says so", () => {
  const { text } = historyPage(
    loop(),
    [iteration({ tracking: "the index is locked" }), iteration({ iteration: 2 })],
    NOW,
  );
  assert.match(text, /No record of changed files: the index is locked/);
  assert.match(text, /No file changed/);
  assert.match(historyPage(loop(), [], NOW).text, /No iteration has started yet/);
});

test("a name with a line break stays on its line", () => {
  const files = [
    {
      path: "a\nb",
      kind: "modify" as const,
      added: 1,
      removed: 1,
      binary: false,
    },
  ];
  const { text, links } = historyPage(loop(), [iteration({ files, filesTotal: 1 })], NOW);
  const link = links.find(({ change }) => change);
  assert.equal(text.split("\n")[link?.line ?? 0], "    M a ⏎ b  +1 −1");
});
