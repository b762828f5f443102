/** A real Neovim without a plugin, with the configuration that the README gives. */

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { delimiter, dirname, join } from "node:path";
import { after, before, test } from "node:test";
import { promisify } from "node:util";

import { Agent, agentCommand } from "../vscode/lib/agent";
import { endProcesses, environment, HELPER, processesOf, repository, ROOT } from "../vscode/lib/server";

const run = promisify(execFile);

let home: string;

before(() => {
  home = mkdtempSync(join(tmpdir(), "rl-"));
  writeFileSync(join(home, ".gitconfig"), "[user]\n\tname = Test\n\temail = test@example.org\n");
});

after(() => {
  endProcesses(home);
  rmSync(home, { recursive: true, force: true, maxRetries: 5 });
});

test("a loop is started, paused, resumed and watched", async () => {
  const [, configuration = ""] = /```lua\n([\s\S]*?)```/.exec(readFileSync(join(ROOT, "README.md"), "utf8")) ?? [];
  writeFileSync(join(home, "init.lua"), configuration);
  const agent = new Agent(await repository({ home }, "work"));
  agent.hold();
  const env = {
    ...environment(home),
    PATH: [dirname(HELPER), process.env.PATH].join(delimiter),
    RALPH_CONFIGURATION: join(home, "init.lua"),
  };
  const options = { cwd: agent.folder, env };
  await run(HELPER, ["config", "set", "agent", "custom"], options);
  await run(HELPER, ["config", "set", "command", JSON.stringify(agentCommand(home))], options);
  const script = join(ROOT, "tests/editors/neovim/drive.lua");
  await run("nvim", ["--headless", "-u", "NONE", "-S", script], { ...options, timeout: 180_000 });
  assert.equal(agent.work, "work 1\nwork 2\nwork 3\n");
  assert.deepEqual(processesOf(home, /nvim|ralph-loop lsp|agent\.sh/), [], "nothing is left");
});
