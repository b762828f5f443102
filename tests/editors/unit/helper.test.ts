import assert from "node:assert/strict";
import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import { after, test } from "node:test";

import { advice, bundle, installed } from "../../../extension/src/install";
import { atLeast311, findPython } from "../../../extension/src/python";
import { cleanEnvironment, configuredHelper, helperOnPath } from "../../../extension/src/server";
import { helperSettings, loopSetting, modelFor } from "../../../extension/src/settings";

const folder = mkdtempSync(join(tmpdir(), "rl-unit-"));
after(() => {
  rmSync(folder, { recursive: true, force: true });
});

function program(name: string, script: string): string {
  const path = join(folder, name);
  mkdirSync(join(path, ".."), { recursive: true });
  writeFileSync(path, `#!/bin/sh\n${script}\n`);
  chmodSync(path, 0o755);
  return path;
}

const log: string[] = [];
const say = (line: string) => log.push(line);

test("the helper on PATH is the first of the right protocol, and never the repository's", async () => {
  program("old/ralph-loop", "echo 'ralph-loop 9.9.9 (protocol 2)'");
  program("broken/ralph-loop", "exit 3");
  program("repo/bin/ralph-loop", "echo 'ralph-loop 6.6.6 (protocol 1)'");
  const good = program("good/ralph-loop", "echo 'ralph-loop 0.1.0 (protocol 1)'");
  const path = ["relative", "", "missing", "old", "broken", "repo/bin", "good"].map((p) =>
    p && p !== "relative" ? join(folder, p) : p,
  );
  const found = await helperOnPath(path.join(delimiter), [join(folder, "repo")], say);
  assert.deepEqual(found, { command: good, version: "0.1.0", origin: "path" });
  assert.match(log.join("\n"), /old\/ralph-loop speaks protocol 2/);
  assert.match(log.join("\n"), /broken\/ralph-loop cannot be run/);
  assert.equal(await helperOnPath(join(folder, "missing"), [], say), undefined);
});

test("a configured helper that cannot be used is an error that says so, not a reason to take another", async () => {
  await assert.rejects(configuredHelper("bin/ralph-loop"), /must be an absolute path/);
  await assert.rejects(configuredHelper(join(folder, "none")), /cannot be run/);
  await assert.rejects(configuredHelper(program("other", "echo hello")), /not a Ralph Loop helper \(it says "hello"\)/);
  await assert.rejects(
    configuredHelper(program("old2", "echo 'ralph-loop 2.0 (protocol 7)'")),
    /speaks protocol 7.*needs 1/,
  );
});

test("Python must be new enough", async () => {
  assert.ok(atLeast311("3.11.0") && atLeast311("3.20.1") && atLeast311("4.0.0"));
  assert.ok(!atLeast311("3.10.14") && !atLeast311("2.7.18") && !atLeast311(""));
  await assert.rejects(findPython("", program("py310", "echo 3.10.1"), say), /3\.11 or newer/);
  const mine = program("py312", "echo 3.12.1");
  assert.deepEqual(await findPython("", mine, say), {
    kind: "python",
    command: mine,
    version: "3.12.1",
  });
  program("first/python3", "echo 3.9.2");
  const second = program("second/python3", "echo 3.13.0");
  const found = await findPython([join(folder, "first"), join(folder, "second")].join(delimiter), "", say);
  assert.equal(found.command, second);
});

test("without a Python, uv is used; without that, what to install is told", async () => {
  program("bare/python3", "echo 3.9.2");
  const nowhere = findPython(join(folder, "bare"), "", say, [join(folder, "nowhere")]);
  await assert.rejects(nowhere, /needs Python 3\.11 or newer.*none was found.*apt install python3 python3-venv/);
  assert.match(log.join("\n"), /bare\/python3 is Python 3\.9\.2, older than 3\.11: not used/);
  const uv = program("bare/uv", "echo 'uv 0.9.1'");
  const found = await findPython(join(folder, "bare"), "", say, []);
  assert.deepEqual(found, { kind: "uv", command: uv, version: "uv 0.9.1" });
});

test("a half-finished install is none", async () => {
  const extension = join(folder, "extension");
  const ours = async () => bundle(extension);
  await assert.rejects(ours(), /no helper inside/);
  mkdirSync(join(extension, "helper"), { recursive: true });
  writeFileSync(join(extension, "helper/ralph_loop-1.2.3-py3-none-any.whl"), "wheel");
  writeFileSync(join(extension, "helper/requirements.txt"), "");
  const first = await ours();
  assert.equal(first.version, "1.2.3");
  const storage = join(folder, "storage");
  program(`storage/helper/${first.id}/bin/ralph-loop`, "echo 'ralph-loop 1.2.3 (protocol 1)'");
  assert.equal(await installed(storage, first), undefined, "ready.json is written last");
  writeFileSync(join(storage, "helper", first.id, "ready.json"), "{}");
  assert.equal((await installed(storage, first))?.version, "1.2.3");
  writeFileSync(join(extension, "helper/requirements.txt"), "other==1");
  assert.notEqual((await ours()).id, first.id, "another content is another install");
});

test("what pip says becomes what to do", () => {
  const cases: [string, RegExp][] = [
    ["WARNING: Retrying ... NewConnectionError: Failed to establish a new connection", /cannot be reached/],
    ["error: Failed to fetch: `https://pypi.org`\n dns error", /cannot be reached/],
    ["SSLError(SSLCertVerificationError(1, 'CERTIFICATE_VERIFY_FAILED'))", /PIP_CERT/],
    ["OSError: [Errno 28] No space left on device", /disk is full/],
    ["ensurepip is not available.  apt install python3.11-venv", /python3-venv/],
    ["ERROR: THESE PACKAGES DO NOT MATCH THE HASHES", /nothing was installed/],
    [
      "ERROR: Could not find a version of x (from versions: none)\nERROR: No matching distribution",
      /cannot be reached/,
    ],
    [
      "ERROR: Could not find a version of x (from versions: 1.2)\nERROR: No matching distribution",
      /no package for this machine/,
    ],
    ["something\nelse went wrong", /^else went wrong$/],
  ];
  for (const [said, expected] of cases) assert.match(advice(said), expected);
});

test("the editor's own variables do not reach the helper", () => {
  process.env.VSCODE_PID = "1";
  process.env.ELECTRON_RUN_AS_NODE = "1";
  const env = cleanEnvironment({ MINE: "yes" });
  assert.equal(env.VSCODE_PID, undefined);
  assert.equal(env.ELECTRON_RUN_AS_NODE, undefined);
  assert.equal(env.MINE, "yes");
  assert.equal(env.PATH, process.env.PATH);
});

test("only settings that somebody made are sent, and wrong ones are left out with a word", () => {
  const values: Record<string, unknown> = {
    agent: "codex",
    maxIterations: 7,
    model: "",
    planMode: "yes",
    minIterations: 1.5,
    rotation: ["a:b"],
    binaries: { codex: "/opt/codex", odd: 3 },
  };
  const warnings: string[] = [];
  const configuration = {
    get: (key: string) => values[key] ?? "default",
    inspect: (key: string) => (key in values ? { globalValue: values[key] } : {}),
  };
  const settings = helperSettings(configuration, (line) => warnings.push(line));
  assert.deepEqual(settings, {
    config: { agent: "codex", maxIterations: 7, rotation: ["a:b"] },
    binaries: { codex: "/opt/codex" },
  });
  assert.deepEqual(warnings.sort(), [
    "The setting ralphLoop.minIterations is not a whole number: it is left out.",
    "The setting ralphLoop.planMode is not true or false: it is left out.",
  ]);
});

test("a setting of a wrong type counts for no loop: its default does", () => {
  const configuration = {
    get: (key: string) => ({ agent: 5, maxIterations: "many", planMode: true })[key],
    inspect: (key: string) => (key === "maxIterations" ? { defaultValue: 50 } : undefined),
  };
  assert.equal(loopSetting(configuration, "agent"), undefined);
  assert.equal(loopSetting(configuration, "maxIterations"), 50);
  assert.equal(loopSetting(configuration, "planMode"), true);
});

test("the model of the settings is for the agent of the settings, as the helper has it", () => {
  const of = (values: Record<string, unknown>) => ({ get: (key: string) => values[key], inspect: () => undefined });
  const both = of({ agent: "claude", model: " opus " });
  assert.equal(modelFor(both, undefined), "opus");
  assert.equal(modelFor(both, "claude"), "opus");
  assert.equal(modelFor(both, "codex"), "");
  assert.equal(modelFor(of({ agent: "", model: "opus" }), "codex"), "opus");
  assert.equal(modelFor(of({ agent: "claude" }), "claude"), "");
});
