import assert from "node:assert/strict";
import { test } from "node:test";

import { ERRORS, type GitStatus, type Repo } from "../../../extension/src/protocol";
import { refusal } from "../../../extension/src/refusal";
import {
  changeRow,
  dirtyPaths,
  gitWords,
  iterationRow,
  loopRow,
  pastRow,
  placeOf,
  repoRow,
  resetWords,
} from "../../../extension/src/tree/rows";
import { iteration, loop } from "./sample";

const NOW = new Date("2026-11-22T12:00:00.000Z");
const FILE = { path: "src/a.ts", kind: "modify", added: 2, removed: 1, binary: false } as const;

function status(changes: Partial<GitStatus> = {}): GitStatus {
  return {
    branch: "main",
    detached: false,
    unborn: false,
    head: "0123456789abcdef",
    ahead: 0,
    behind: 0,
    staged: [],
    unstaged: [],
    untracked: [],
    conflicts: [],
    ...changes,
  };
}

const DETACHED: GitStatus = Object.fromEntries(
  Object.entries(status()).filter(([key]) => key !== "branch"),
) as unknown as GitStatus;

const REPO: Repo = {
  repoId: "repo_1",
  path: "/work/shop",
  name: "shop",
  git: true,
  trusted: true,
  missing: false,
  branch: "main",
  createdAt: "2026-11-21T09:00:00.000Z",
};

test("a loop that runs says how it is doing, and what can be done with it", () => {
  const row = loopRow(loop(), NOW);
  assert.equal(row.label, "Make the tests pass");
  assert.equal(row.description, "running iteration 3 of 50");
  assert.equal(row.icon, "sync~spin");
  assert.equal(row.context, "loop pause cancel");
});

test("past loops say when, and how they ended", () => {
  const done = loopRow(loop({ status: "completed", stopReason: "completed" }), NOW);
  assert.match(done.description, /^21 Nov \d\d:00 · completed after 3 iterations$/);
  assert.deepEqual([done.icon, done.color, done.context], ["pass", "testing.iconPassed", "loop"]);
  const failed = loopRow(loop({ status: "error", stopReason: "agentFailed" }), NOW);
  assert.deepEqual([failed.icon, failed.color], ["error", "list.errorForeground"]);
  assert.equal(loopRow(loop({ status: "cancelled", stopReason: "cancelled" }), NOW).icon, "circle-slash");
  assert.equal(loopRow(loop({ status: "interrupted" }), NOW).context, "loop resume cancel");
});

test("a loop that needs a person is marked", () => {
  const row = loopRow(loop({ status: "awaiting_approval", stagedOperations: 2 }), NOW);
  assert.deepEqual([row.icon, row.color], ["bell-dot", "list.warningForeground"]);
  assert.equal(row.description, "2 staged changes for you to approve");
});

test("an iteration says its time and number of files, and its errors when pointed at", () => {
  assert.equal(iterationRow(iteration({ filesTotal: 2 }), NOW).description, "21.0 s · 2 files");
  const failed = iterationRow(iteration({ status: "timedOut", errors: ["boom\nmore"] }), NOW);
  assert.equal(failed.description, "timed out · 21.0 s · 0 files");
  assert.match(failed.tooltip, /boom…$/);
  const unknown = iterationRow(iteration({ tracking: "not a git repository" }), NOW);
  assert.equal(unknown.description, "21.0 s", "how many files changed is not known");
});

test("a file says its kind, lines, folder and old name", () => {
  const row = changeRow(FILE, "operation");
  assert.deepEqual([row.label, row.description, row.context], ["a.ts", "M  +2 −1  src", "operation"]);
  const renamed = changeRow({ ...FILE, path: "b.png", oldPath: "a.png", kind: "rename", binary: true }, "file");
  assert.deepEqual([renamed.label, renamed.description], ["b.png", "R  binary  ← a.png"]);
});

test("a repository says its branch, its distance to the remote, and what is changed", () => {
  assert.equal(gitWords(status()), "main");
  const untracked = ["b", "c"];
  const busy = status({
    ahead: 1,
    behind: 2,
    unstaged: [FILE],
    staged: [FILE],
    untracked,
    operation: "merge",
    conflicts: ["c"],
  });
  assert.equal(gitWords(busy), "main  ↑1 ↓2  merge under way  1 conflict  3 changed");
  assert.deepEqual(dirtyPaths(busy), ["src/a.ts", "b", "c"]);
  assert.equal(gitWords({ ...DETACHED, detached: true }), "01234567");
  const row = repoRow(REPO, "", status(), loop());
  assert.deepEqual([row.label, row.icon, row.context], ["shop", "sync~spin", "repository here git"]);
  assert.equal(pastRow(REPO, "").description, "");
  assert.equal(pastRow({ ...REPO, missing: true }, "old").description, "old  the folder is gone");
  const gone = repoRow({ ...REPO, missing: true }, "old", undefined, undefined);
  assert.deepEqual(
    [gone.description, gone.icon, gone.context],
    ["old  the folder is gone", "warning", "repository missing"],
  );
  assert.equal(repoRow({ ...REPO, git: false }, "", undefined, undefined).context, "repository here");
});

test("repositories of one name are told apart by as few folders as it takes", () => {
  const all = ["/home/me/a/shop", "/home/me/b/shop", "/srv/b/shop", "/shop", "/home/me/api"].map((path, n) => ({
    ...REPO,
    repoId: String(n),
    name: path.slice(path.lastIndexOf("/") + 1),
    path,
  }));
  assert.deepEqual(
    all.map((repo) => placeOf(repo, all)),
    ["a", "me/b", "srv/b", "", ""],
  );
});

test("files that were changed meanwhile are named, with what to do", () => {
  const error = (paths: string[]) =>
    Object.assign(new Error("tree changed"), { code: ERRORS.treeChanged, data: { kind: "treeChanged", paths } });
  assert.match(
    refusal(error(["a.ts"])).message,
    /^Nothing was applied, because a\.ts was changed after the agent saw it\./,
  );
  const many = refusal(error(["a", "b", "c", "d", "e", "f", "g"])).message;
  assert.match(many, /because a, b, c, d, e and 2 more were changed after the agent saw them\./);
});

test("a reset says what is discarded, and what stays because git does not know it", () => {
  const saved = "They are saved first: the output of the reset tells how to get them back.";
  assert.equal(resetWords(status()), "No file that git tracks is changed there now.");
  assert.equal(resetWords(status({ staged: [FILE], unstaged: [FILE] })), `Changes in 1 file are discarded. ${saved}`);
  assert.equal(
    resetWords(status({ unstaged: [FILE], untracked: ["b", "c"], conflicts: ["d"] })),
    `Changes in 2 files are discarded. ${saved} 2 untracked files stay.`,
  );
});
