import assert from "node:assert/strict";
import { test } from "node:test";

import { cloneFailure, gitFailure } from "../../../extension/src/tree/failure";

test("a failed clone is told in git's words, without progress", () => {
  const cases: [string, string][] = [
    ["Cloning into '/tmp/x'...\nfatal: repository '/nowhere' does not exist\n", "repository '/nowhere' does not exist"],
    [
      "Cloning into '/tmp/x'...\nremote: Counting objects: 50% (1/2)\rremote: Counting objects: 100% (2/2), done.\n" +
        "error: RPC failed\nfatal: early EOF\n",
      "RPC failed · early EOF",
    ],
    [
      "Cloning into '/tmp/x'...\nme@host: Permission denied (publickey).\nfatal: Could not read from remote repository.",
      "me@host: Permission denied (publickey). · Could not read from remote repository.",
    ],
    ["Cloning into '/tmp/x'...\nTerminated\n", "Terminated"],
    ["", "git does not say why."],
  ];
  for (const [stderr, text] of cases) assert.equal(cloneFailure(stderr), text);
});

test("another failure of git is told in its words, without advice for a terminal", () => {
  const cases: [string, string, string][] = [
    [
      "",
      "To /work/shop.git\n ! [rejected]  main -> main (fetch first)\nerror: failed to push some refs\nhint: Updates were",
      "! [rejected]  main -> main (fetch first) · error: failed to push some refs",
    ],
    ["", "hint: You have divergent branches\nfatal: Need to specify how", "fatal: Need to specify how"],
    ["nothing to commit\n", "", "nothing to commit"],
    ["", "hint: only advice\n", "hint: only advice"],
    [
      "Auto-merging a.txt\nCONFLICT (content): Merge conflict in a.txt\nAutomatic merge failed; fix conflicts.\n",
      "From /work/shop\n   62bb575..bcc9cae  main       -> origin/main\n * [new branch]      b          -> origin/b\n",
      "CONFLICT (content): Merge conflict in a.txt · Automatic merge failed; fix conflicts.",
    ],
    [
      "Auto-merging a.txt\nCONFLICT (content): Merge conflict in a.txt\n",
      "From /work/shop\n * branch            main       -> FETCH_HEAD\nRebasing (1/1)\rerror: could not apply 14e20a5... mine\n",
      "CONFLICT (content): Merge conflict in a.txt · error: could not apply 14e20a5... mine",
    ],
    [
      "",
      "fatal: You are not currently on a branch.\nTo push the history leading to the current (detached HEAD)\nstate now, use\n",
      "fatal: You are not currently on a branch. · To push the history leading to the current (detached HEAD) · state now, use",
    ],
  ];
  for (const [stdout, stderr, text] of cases) assert.equal(gitFailure({ stdout, stderr }), text);
});
