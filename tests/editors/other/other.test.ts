/** A real Neovim and a real Emacs without a plugin, with the configurations that the README gives. */

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { delimiter, dirname, join } from "node:path";
import { after, before, describe, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { promisify } from "node:util";

import { Agent, agentCommand } from "../vscode/lib/agent";
import { endProcesses, environment, HELPER, processesOf, repository, ROOT } from "../vscode/lib/server";

const run = promisify(execFile);

/** Where the README has its configuration, and how it is started with it and the script that drives it. */
const EDITORS = {
  Neovim: {
    language: "lua",
    command: ["nvim", "--headless", "-u", "NONE", "-S", "neovim.lua"],
  },
  Emacs: {
    language: "elisp",
    command: ["emacs", "--batch", "--quick", "--load", "emacs.el"],
  },
};

for (const [editor, { language, command }] of Object.entries(EDITORS))
  describe(editor, () => {
    let home: string;

    before(() => {
      home = mkdtempSync(join(tmpdir(), "rl-"));
      writeFileSync(join(home, ".gitconfig"), "[user]\n\tname = Test\n\temail = test@example.org\n");
    });

    after(() => {
      endProcesses(home);
      rmSync(home, { recursive: true, force: true, maxRetries: 5 });
    });

    test("starts a loop, pauses it, resumes it and watches it", async () => {
      const agent = new Agent(await repository({ home }, "work"));
      agent.hold();
      const env = {
        ...environment(home),
        PATH: [dirname(HELPER), process.env.PATH].join(delimiter),
        RALPH_CONFIGURATION: configuration(language, home),
      };
      const options = { cwd: agent.folder, env };
      await run(HELPER, ["config", "set", "agent", "custom"], options);
      await run(HELPER, ["config", "set", "command", JSON.stringify(agentCommand(home))], options);
      const [program = "", ...rest] = command;
      const script = join(ROOT, "tests/editors/other", rest.pop() ?? "");
      await run(program, [...rest, script], { ...options, timeout: 180_000 });
      assert.equal(agent.work, "work 1\nwork 2\nwork 3\n");
      const left = () => processesOf(home, /nvim|emacs|ralph-loop lsp|agent\.sh/);
      for (const end = Date.now() + 20_000; left().length > 0 && Date.now() < end;) await sleep(20);
      assert.deepEqual(left(), [], "nothing is left");
    });
  });

/** The first block of a language in the README, as a file. */
function configuration(language: string, folder: string): string {
  const block = new RegExp(`\`\`\`${language}\n([\\s\\S]*?)\`\`\``);
  const [, text] = block.exec(readFileSync(join(ROOT, "README.md"), "utf8")) ?? [];
  assert.ok(text, `the README has no ${language}`);
  const file = join(folder, `configuration.${language}`);
  writeFileSync(file, text);
  return file;
}
