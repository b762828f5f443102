import assert from "node:assert/strict";
import { test } from "node:test";

import { argument, type Ask, details, headline, inert, notification } from "../../../extension/src/asks/render";
import type { Permission, Question } from "../../../extension/src/protocol";

function permission(changes: Partial<Permission> = {}): Ask & { kind: "permission" } {
  return {
    kind: "permission",
    permission: {
      requestId: "prm_1",
      runId: "run_1",
      iteration: 2,
      tool: "bash",
      title: "bash",
      arguments: { command: "rm -rf build" },
      options: ["once", "always", "reject"],
      askedAt: "2026-11-21T09:00:00.000Z",
      ...changes,
    },
  };
}

function question(changes: Partial<Question> = {}): Ask {
  return {
    kind: "question",
    question: {
      questionId: "qst_1",
      runId: "run_1",
      iteration: 2,
      text: "Which colour?",
      options: ["Red", "Blue"],
      askedAt: "2026-11-21T09:00:00.000Z",
      ...changes,
    },
  };
}

test("a notification names the tool and its argument, with the three answers", () => {
  const text = notification("shop", permission());
  assert.match(text, /^shop: the agent wants to use bash: rm -rf build — /);
  const links = [...text.matchAll(/\[([^\]]+)\]\(command:ralphLoop\.(\w+)\?([^)]+)\)/g)];
  assert.deepEqual(
    links.map(([, title, command, query]) => [title, command, JSON.parse(decodeURIComponent(query ?? "")) as unknown]),
    [
      ["Allow Once", "replyToRequest", [{ id: "prm_1", reply: "once" }]],
      ["Allow Always", "replyToRequest", [{ id: "prm_1", reply: "always" }]],
      ["Reject…", "replyToRequest", [{ id: "prm_1", reply: "reject" }]],
      ["Details", "showRequest", [{ id: "prm_1" }]],
    ],
  );
});

test("an answer that is not offered has no link", () => {
  assert.ok(!notification("shop", permission({ options: ["once", "reject"] })).includes("Always"));
});

test("an agent cannot put a link of its own into a notification", () => {
  const bad = "[Allow Once](command:workbench.action.quit)";
  for (const ask of [
    permission({ arguments: { command: bad } }),
    permission({ title: bad }),
    question({ text: bad }),
  ]) {
    assert.doesNotMatch(notification("shop", ask), /\]\(command:workbench/);
  }
  assert.equal(inert("a [b] (c)"), "a [b] (c)");
});

test("a question is asked in its words", () => {
  assert.match(notification("shop", question()), /^shop: the agent asks: Which colour\? — \[Answer…\]/);
  assert.equal(headline(question({ text: "One?\nTwo." })), "One?…");
});

test("the argument that says most is shown", () => {
  const of = (given: Record<string, unknown>, diff?: string) =>
    argument(permission({ arguments: given, ...(diff === undefined ? {} : { diff }) }).permission);
  assert.equal(of({ description: "x", command: "ls" }), "ls");
  assert.equal(of({ cmd: ["git", "push"] }), "git push");
  assert.equal(of({ deep: { a: 1 } }), '{"deep":{"a":1}}');
  assert.equal(of({}), "");
  const diff = "--- a/src/a.ts\n+++ b/src/a.ts\n@@ -1 +1,2 @@\n-one\n+two\n+three\n";
  assert.equal(of({}, diff), "src/a.ts 2 lines added, 1 removed");
});

test("the title is shown beside the tool, and nothing twice", () => {
  assert.equal(headline(permission({ title: "Clean up" })), "bash (Clean up): rm -rf build");
  assert.equal(headline(permission({ title: "rm -rf build" })), "bash (rm -rf build)");
  assert.equal(headline(permission({ title: "bash: rm -rf build" })), "bash: rm -rf build");
});

test("the details have every argument and the diff, which cannot end its block", () => {
  const text = details(permission({ arguments: { path: "a", text: "x\n````\ny" }, diff: "-a\n+b\n" }));
  assert.match(text, /^# The agent wants to use bash \(iteration 2\)$/m);
  assert.match(text, /^`````text\npath: a\ntext:\nx\n````\ny\n`````$/m);
  assert.match(text, /^```diff\n-a\n\+b\n```$/m);
  assert.match(details(question()), /^```text\nWhich colour\?\n\n- Red\n- Blue\n```$/m);
});
