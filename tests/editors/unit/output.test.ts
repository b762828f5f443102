import assert from "node:assert/strict";
import { test } from "node:test";

import { Flow } from "../../../extension/src/output/flow";
import { Writer } from "../../../extension/src/output/render";
import { TerminalText } from "../../../extension/src/output/terminal";
import type { Chunk } from "../../../extension/src/protocol";

function chunk(text: string, changes: Partial<Chunk> = {}): Chunk {
  return {
    seq: 1,
    iteration: 1,
    stream: "stdout",
    text,
    at: "2026-11-21T09:00:00.000Z",
    ...changes,
  };
}

function written(writer: Writer, ...chunks: Chunk[]): string {
  return chunks.map((one) => Object.values(writer.write(one)).join("")).join("");
}

const RAW =
  "\u001b[1;31mred\u001b[0m \u001b]0;title\u0007x\u001b]8;;http://e\u001b\\link\u001b]8;;\u001b\\ \u001b(Bq\u001b7 a\u0000b\u0008\tc\r\nd\re\u009b\n";
const CLEAN = "red xlink q ab\tc\nd\ne\n";

test("only text is left of what a terminal understands", () => {
  assert.equal(new TerminalText().write(RAW), CLEAN);
  assert.equal(new TerminalText().write("ünïcödé 🙂 ␛[0m"), "ünïcödé 🙂 ␛[0m");
});

test("where the text is cut makes no difference", () => {
  for (let i = 0; i <= RAW.length; i++) {
    for (const step of [1, 2, 3, 7]) {
      const cleaner = new TerminalText();
      let out = cleaner.write(RAW.slice(0, i));
      for (let j = i; j < RAW.length; j += step) out += cleaner.write(RAW.slice(j, Math.min(j + step, RAW.length)));
      assert.equal(out, CLEAN, `cut at ${i}, then every ${step}`);
    }
  }
});

test("an endless sequence does not hold the text back for ever", () => {
  const cleaner = new TerminalText();
  cleaner.write("\u001b]0;");
  let out = "";
  for (let i = 0; i < 10; i++) out += cleaner.write("x".repeat(1_000));
  assert.ok(out.length > 4_000);
});

test("iterations get a header on a line of its own", () => {
  const writer = new Writer();
  const text = written(
    writer,
    chunk("one"),
    chunk(" more", { stream: "stderr" }),
    chunk("two\n", { iteration: 2 }),
    chunk("end", { iteration: 2 }),
  );
  assert.match(text, /^━━━ Iteration 1 ━━━ \d\d:\d\d:\d\d ━━━\none more\n━━━ Iteration 2 ━━━ .* ━━━\ntwo\nend$/);
  assert.equal(writer.lineStart(), "\n");
});

test("what the helper says starts a line; iteration 0 has no header", () => {
  const writer = new Writer();
  assert.equal(written(writer, chunk("starting\n", { iteration: 0, stream: "system" })), "starting\n");
  assert.match(written(writer, chunk("a"), chunk("paused\n", { stream: "system" })), /━\na\npaused\n$/);
});

const LIMITS = { burst: 100, rate: 10, tail: 20 };

test("what is within the limits is drawn at once and in full", () => {
  const flow = new Flow(LIMITS, 0);
  for (let i = 0; i < 10; i++)
    assert.deepEqual(flow.feed("0123456789", 0), {
      left: 0,
      text: "0123456789",
    });
  assert.equal(flow.feed("x", 0), undefined, "the burst is used up");
  assert.equal(flow.isHolding, true);
  assert.equal(flow.drain(50), undefined);
  assert.deepEqual(flow.drain(100), { left: 0, text: "x" });
  assert.equal(flow.isHolding, false);
});

test("of a flood the newest part is drawn, the rest is counted, and nothing else is lost", () => {
  const flow = new Flow(LIMITS, 0);
  let drawn = 0;
  let left = 0;
  let last = "";
  let fed = 0;
  for (let now = 0; now < 60_000; now += 100) {
    const text = `${now.toString().padStart(9, "0")}\n`;
    fed += text.length;
    for (const portion of [flow.feed(text, now), flow.isHolding ? flow.drain(now) : undefined]) {
      if (!portion) continue;
      drawn += portion.text.length;
      left += portion.left;
      last = portion.text || last;
    }
  }
  const rest = flow.release();
  assert.equal(drawn + left + rest.left + rest.text.length, fed);
  assert.ok(drawn <= LIMITS.burst + 60 * LIMITS.rate);
  assert.ok(left > fed / 2);
  assert.match(rest.text || last, /000059900\n$/);
});

test("one huge piece is cut to its newest lines", () => {
  const flow = new Flow(LIMITS, 0);
  flow.feed(`${"x".repeat(5_000)}\nlast line\n`, 0);
  assert.deepEqual(flow.release(), { left: 5_001, text: "last line\n" });
  flow.feed("y".repeat(5_000), 0);
  assert.deepEqual(flow.release(), { left: 4_980, text: "y".repeat(20) });
});

test("stored output is held until it has been read, then its newest part is drawn", () => {
  const flow = new Flow(LIMITS, 0);
  flow.hold(50);
  for (let i = 0; i < 10; i++) assert.equal(flow.feed("0123456789", 0), undefined);
  assert.deepEqual(flow.release(), { left: 50, text: "0123456789".repeat(5) });
  assert.equal(flow.isHolding, false);
  assert.deepEqual(flow.feed("live", 0), { left: 0, text: "live" });
});
