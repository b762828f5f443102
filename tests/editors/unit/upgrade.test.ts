import assert from "node:assert/strict";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, test } from "node:test";

import { type Bundle, isUpgrade } from "../../../extension/src/install";
import type { Health, ServiceStatus } from "../../../extension/src/protocol";
import { type Ask, removeOld } from "../../../extension/src/upgrade";

const BUNDLE: Bundle = { id: "0.2.0-bbbbbbbb", version: "0.2.0", wheel: "", requirements: "" };

let storage: string;
let unit: string;
let asked: string[];

beforeEach(() => {
  storage = mkdtempSync(join(tmpdir(), "rl-unit-"));
  unit = join(storage, "ralph-loop.service");
  asked = [];
  for (const id of ["0.1.0-aaaaaaaa", BUNDLE.id]) mkdirSync(join(storage, "helper", id, "bin"), { recursive: true });
});

afterEach(() => {
  rmSync(storage, { recursive: true });
});

function serve(id: string): string {
  return `ExecStart="${storage}/helper/${id}/bin/python" -m ralph_loop serve\n`;
}

/** A helper that writes the service's unit with its own Python. */
function helper(version: string, activeLoops: number, its = BUNDLE.id): Ask {
  const service = (): ServiceStatus => ({
    installed: existsSync(unit),
    running: true,
    manager: "systemd",
    ...(existsSync(unit) ? { unitPath: unit } : {}),
  });
  const answers = {
    "ralph/health": () => ({ version, activeLoops }) as Health,
    "ralph/service/status": service,
    "ralph/service/install": () => {
      writeFileSync(unit, serve(its));
      return service();
    },
  };
  return (method) => {
    asked.push(method);
    return Promise.resolve(answers[method]());
  };
}

function left(): boolean {
  assert.ok(existsSync(join(storage, "helper", BUNDLE.id)), "ours is never removed");
  return existsSync(join(storage, "helper/0.1.0-aaaaaaaa"));
}

test("an old install is removed; without one nothing is asked", async () => {
  await removeOld(storage, BUNDLE, "0.2.0", helper("0.2.0", 3));
  assert.ok(!left());
  assert.ok(!asked.includes("ralph/service/install"), "there is no service");
  asked = [];
  await removeOld(storage, BUNDLE, "0.2.0", helper("0.2.0", 0));
  assert.deepEqual(asked, []);
});

test("an old install stays while the helper that answers is the older one", async () => {
  await removeOld(storage, BUNDLE, "0.2.0", helper("0.1.0", 0));
  assert.ok(left());
});

test("a service of the old install is written again first, when no loop would be paused by that", async () => {
  writeFileSync(unit, serve("0.1.0-aaaaaaaa"));
  await removeOld(storage, BUNDLE, "0.2.0", helper("0.2.0", 1));
  assert.ok(left() && !asked.includes("ralph/service/install"));
  await removeOld(storage, BUNDLE, "0.2.0", helper("0.2.0", 0));
  assert.ok(!left());
  assert.equal(readFileSync(unit, "utf8"), serve(BUNDLE.id));
});

test("an old install that the service still starts from stays", async () => {
  writeFileSync(unit, serve("0.1.0-aaaaaaaa"));
  await removeOld(storage, BUNDLE, "0.2.0", helper("0.2.0", 0, "0.1.0-aaaaaaaa"));
  assert.ok(left());
});

test("only a whole install of another version makes it an upgrade", async () => {
  assert.equal(await isUpgrade(storage, BUNDLE), false);
  writeFileSync(join(storage, "helper", BUNDLE.id, "ready.json"), "{}");
  assert.equal(await isUpgrade(storage, BUNDLE), false);
  writeFileSync(join(storage, "helper/0.1.0-aaaaaaaa/ready.json"), "{}");
  assert.equal(await isUpgrade(storage, BUNDLE), true);
  rmSync(join(storage, "helper"), { recursive: true });
  assert.equal(await isUpgrade(storage, BUNDLE), false);
});
