import assert from "node:assert/strict";
import { test } from "node:test";

import { advance, foundWords, progressWords } from "../../../extension/src/tree/found";

test("progress does not name the place that git works in meanwhile", () => {
  assert.equal(progressWords("Cloning into '/work/.shop.1234.clone'..."), "");
  assert.equal(progressWords("Receiving objects: 50%"), "Receiving objects: 50%");
  assert.equal(progressWords(), "");
});

test("a bar never goes back and never beyond its end", () => {
  assert.equal(advance(0, 30), 30);
  assert.equal(advance(30, 45), 15);
  assert.equal(advance(45, 10), 0);
  assert.equal(advance(45, undefined), 0);
  assert.equal(advance(90, 120), 10);
});

test("what a scan found", () => {
  const repo = (registered: boolean) => ({ path: "/work/shop", name: "shop", registered });
  const cases: [boolean[], string][] = [
    [[], "No repository was found in work, play."],
    [[false], "1 repository found in work, play."],
    [[true], "1 repository found in work, play, listed already."],
    [[true, false], "2 repositories found in work, play, 1 of them is listed already."],
    [[true, true, false], "3 repositories found in work, play, 2 of them are listed already."],
  ];
  for (const [found, text] of cases) assert.equal(foundWords(found.map(repo), ["work", "play"]), text);
});
