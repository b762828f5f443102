import assert from "node:assert/strict";
import { test } from "node:test";

import { type PlacedLoop, Placing } from "../../../extension/src/tree/placing";
import { loop } from "./sample";

const a = (revision: number, status: "running" | "completed") => loop({ runId: "run_a", revision, status });
const ids = (nodes: PlacedLoop[]) => nodes.map(({ runId }) => runId);

test("a loop that ends moves from the top to its repository, as the same node", () => {
  const placing = new Placing();
  const [node] = placing.top([a(1, "running")]);
  assert.deepEqual(placing.past([a(1, "running")]), []);
  assert.equal(placing.heard(a(2, "running")), node);
  assert.equal(placing.heard(a(3, "completed")), "all");
  assert.deepEqual(placing.top([]), []);
  assert.equal(placing.past([a(3, "completed")])[0], node);
  assert.equal(placing.heard(a(3, "completed")), undefined);
});

test("a loop that ends while the view asks stands in one place, and moves when its end is heard", () => {
  const placing = new Placing();
  placing.top([a(1, "running")]);
  assert.deepEqual(placing.past([a(2, "completed")]), [], "it stands at the top still");
  assert.equal(placing.heard(a(2, "completed")), "all", "though the list told of it before");
});

test("a loop that starts while the view asks stands in one place, and moves when it is heard", () => {
  const placing = new Placing();
  placing.top([]);
  assert.deepEqual(placing.past([a(1, "running")]), []);
  assert.equal(placing.heard(a(1, "running")), "all");
  assert.deepEqual(ids(placing.top([a(1, "running")])), ["run_a"]);
});

test("an older answer does not bring back a loop that was heard to have ended", () => {
  const placing = new Placing();
  placing.top([a(1, "running")]);
  placing.heard(a(2, "completed"));
  assert.deepEqual(placing.top([a(1, "running")]), []);
  assert.deepEqual(ids(placing.past([a(1, "running")])), ["run_a"]);
});

test("the end of a loop that is not shown draws nothing", () => {
  const placing = new Placing();
  placing.top([]);
  assert.equal(placing.heard(a(2, "completed")), undefined);
});
