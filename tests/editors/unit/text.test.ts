import assert from "node:assert/strict";
import { test } from "node:test";

import { changed, count, duration, firstLine, iconless, lines, moment, plain, size } from "../../../extension/src/text";

test("durations", () => {
  const cases: [number, string][] = [
    [0, "0 ms"],
    [-5, "0 ms"],
    [820, "820 ms"],
    [1_000, "1.0 s"],
    [59_949, "59.9 s"],
    [59_950, "1 min 00 s"],
    [185_000, "3 min 05 s"],
    [3_599_600, "1 h 00 min"],
    [7_380_000, "2 h 03 min"],
  ];
  for (const [ms, text] of cases) assert.equal(duration(ms), text);
});

test("sizes", () => {
  const cases: [number, string][] = [
    [812, "812 B"],
    [1_000, "1.0 KB"],
    [12_345, "12 KB"],
    [999_600, "1.0 MB"],
    [3_400_000_000, "3.4 GB"],
  ];
  for (const [bytes, text] of cases) assert.equal(size(bytes), text);
});

test("counts and lines", () => {
  assert.equal(count(1, "file"), "1 file");
  assert.equal(count(1_200, "file"), "1,200 files");
  assert.equal(lines({ added: 12, removed: 1 }), "+12 −1");
  assert.equal(lines({ added: 0, removed: 0 }), "");
});

test("the first line is cut between characters, and says that there is more", () => {
  assert.equal(firstLine("  Fix it\nand more", 20), "Fix it…");
  assert.equal(firstLine("Fix it", 20), "Fix it");
  assert.equal(firstLine("🙂🙂🙂", 2), "🙂…");
  assert.equal(firstLine("", 5), "");
});

test("text in a list never becomes an icon, and reads the same", () => {
  const shown = iconless("$(bell) of $(x).txt costs $5");
  assert.doesNotMatch(shown, /\$\(/);
  assert.equal(shown.replaceAll("\u200b", ""), "$(bell) of $(x).txt costs $5");
});

test("plain text never becomes Markdown", () => {
  assert.doesNotMatch(plain("[x](command:ralphLoop.cancel) $(sync) **b** <img> `c` \n# h"), /[[\]()*<>`$#\n](?!\d+;)/);
  assert.equal(plain("a  b\nc"), "a b c");
});

test("a moment names the day when it is another one", () => {
  const now = new Date(2026, 10, 21, 18, 0);
  assert.equal(moment(new Date(2026, 10, 21, 14, 3, 22).toISOString(), now), "14:03:22");
  assert.equal(moment(new Date(2026, 10, 20, 14, 3).toISOString(), now), "20 Nov 14:03");
  assert.equal(moment(new Date(2025, 10, 20, 14, 3).toISOString(), now), "20 Nov 2025 14:03");
  assert.equal(moment("nonsense", now), "?");
});

test("what is not known is not told as nothing", () => {
  assert.equal(changed(1), "1 file changed");
  assert.equal(changed(1200), "1,200 files changed");
  assert.equal(changed(0), "no change recorded");
});
