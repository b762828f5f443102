import assert from "node:assert/strict";
import { test } from "node:test";

import { notice, type Occasion, stillRunning } from "../../../extension/src/notice";
import { ERRORS } from "../../../extension/src/protocol";
import { refusal, RefusedError } from "../../../extension/src/refusal";
import { loop } from "./sample";

function due(changes: Partial<Occasion>) {
  return notice({
    place: "shop",
    before: loop(),
    loop: loop(),
    wasRunning: true,
    isLookedAt: false,
    level: "important",
    ...changes,
  });
}

const DONE = loop({
  status: "completed",
  stopReason: "completed",
  iteration: 4,
});

test("an end is told when nobody looked", () => {
  const told = due({ loop: DONE });
  assert.equal(told?.message, "shop: the loop is done after 4 iterations, 1 min 05 s, 4 files changed.");
  assert.deepEqual(
    told.buttons.map(({ title }) => title),
    ["Show History", "Show Output"],
  );
  assert.equal(due({ loop: DONE, isLookedAt: true }), undefined);
  assert.ok(due({ loop: DONE, isLookedAt: true, level: "all" }));
  assert.equal(due({ loop: DONE, level: "needed" }), undefined);
  assert.equal(due({ loop: DONE, level: "off" }), undefined);
});

test("an end is told once, and never of a loop that had ended before", () => {
  assert.equal(due({ before: DONE, loop: { ...DONE, revision: 9 }, wasRunning: false }), undefined);
  assert.equal(due({ before: undefined, loop: DONE, wasRunning: false }), undefined);
  assert.ok(due({ before: undefined, loop: DONE, wasRunning: true }), "it ended while the window was closed");
});

test("what is no success is not called one", () => {
  assert.match(
    due({ loop: loop({ status: "completed", stopReason: "maxIterations" }) })?.message ?? "",
    /limit of 50 iterations.*not done/,
  );
  assert.match(
    due({ loop: loop({ status: "completed", stopReason: "maxDuration" }) })?.message ?? "",
    /time limit.*not done/,
  );
  assert.match(due({ loop: loop({ status: "completed", stopReason: "aborted" }) })?.message ?? "", /gave up/);
  const failed = due({
    loop: loop({
      status: "error",
      error: { kind: "auth", message: "No key.", hint: "Log in." },
    }),
  });
  assert.equal(failed?.severity, "error");
  assert.match(failed.message, /No key\. Log in\./);
});

test("a person who is needed is told once, whether looking or not", () => {
  const stuck = loop({
    status: "paused",
    stopReason: "struggle",
    struggle: { detected: true, reasons: ["no change"] },
  });
  assert.match(due({ loop: stuck, isLookedAt: true, level: "needed" })?.message ?? "", /no change/);
  assert.equal(due({ before: stuck, loop: { ...stuck, revision: 9 } }), undefined);
  assert.match(
    due({ loop: loop({ status: "awaiting_approval", stagedOperations: 2 }) })?.message ?? "",
    /2 staged changes/,
  );
  assert.match(
    due({
      loop: loop({ status: "interrupted" }),
      isLookedAt: true,
      level: "needed",
    })?.message ?? "",
    /interrupted at iteration 3/,
  );
  assert.match(
    due({
      loop: loop({
        status: "paused",
        error: { kind: "diskFull", message: "" },
      }),
    })?.message ?? "",
    /disk is full/,
  );
});

test("what a person did is not told", () => {
  assert.equal(due({ loop: loop({ status: "cancelled" }) }), undefined);
  assert.equal(due({ loop: loop({ status: "paused" }) }), undefined);
});

test("refusals say what to do", () => {
  const error = (code: number, message: string, data: object = {}) => Object.assign(new Error(message), { code, data });
  const missing = refusal(
    error(ERRORS.agentNotFound, "claude was not found.", {
      installHint: "npm install -g claude",
    }),
  );
  assert.equal(missing.message, "claude was not found. npm install -g claude");
  assert.equal(missing.buttons[0]?.command, "ralphLoop.selectAgent");
  assert.deepEqual(
    refusal(error(ERRORS.repoBusy, "Busy.")).buttons.map(({ title }) => title),
    ["Show Status"],
  );
  assert.match(refusal(error(ERRORS.notAvailable, "x")).message, /Update it/);
  assert.equal(refusal(error(-32602, "prompt: must not be blank")).message, "prompt: must not be blank");
  for (const key of ["operationIds", "directory", "paths[0]", "workspace", "name", "branch"])
    assert.equal(refusal(error(-32602, `${key}: It cannot be.`)).message, "It cannot be.", "a key that nobody typed");
  const helper = Object.assign(new Error("No Python."), {
    name: "HelperError",
  });
  assert.deepEqual(
    refusal(helper).buttons.map(({ title }) => title),
    ["Try Again", "Show Log", "Settings"],
  );
  assert.deepEqual(refusal(new RefusedError("No.")), {
    message: "No.",
    buttons: [],
  });
  assert.equal(refusal("odd").message, "odd");
});

test("the loops of several folders are remembered beside each other until each has ended", () => {
  const [one, two] = [loop({ runId: "run_1" }), loop({ runId: "run_2" })];
  const both = stillRunning(stillRunning([], one), two);
  assert.deepEqual(both, ["run_1", "run_2"]);
  assert.deepEqual(stillRunning(both, { ...one, status: "completed" }), ["run_2"]);
  assert.deepEqual(stillRunning(["run_2"], { ...one, status: "completed" }), ["run_2"]);
  let many: string[] = [];
  for (let n = 0; n < 60; n++) many = stillRunning(many, { ...one, runId: `run_${n}` });
  assert.deepEqual([many.length, many.at(-1)], [50, "run_59"]);
});
