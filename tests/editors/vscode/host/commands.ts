import assert from "node:assert/strict";
import { describe, it } from "mocha";
import * as vscode from "vscode";

import { Agent } from "../lib/agent";
import { FOLDER, state, told, until } from "./loop";

const run = (name: string, argument?: unknown) => vscode.commands.executeCommand(`ralphLoop.${name}`, argument);

interface Package {
  engines: { vscode: string };
  contributes: { commands: { command: string; category: string }[] };
}

function ours(): vscode.Extension<unknown> {
  const extension = vscode.extensions.getExtension("ralph-loop.ralph-loop");
  assert.ok(extension);
  return extension;
}

export function define(): void {
  describe("commands", () => {
    it("run in the oldest VS Code that is promised", () => {
      const { engines } = ours().packageJSON as Package;
      assert.equal(engines.vscode, `^${vscode.version.replace(/\.\d+$/, ".0")}`);
    });

    it("are all there, each with the category", async () => {
      const extension = ours();
      await extension.activate();
      const { contributes } = extension.packageJSON as Package;
      const known = new Set(await vscode.commands.getCommands(true));
      for (const { command, category } of contributes.commands) {
        assert.ok(known.has(command), command);
        assert.equal(category, "Ralph Loop", command);
      }
    });

    it("that are hidden are refused in words when they are called anyway", async () => {
      assert.equal(state(), undefined, "no loop has run");
      for (const name of ["pause", "pauseNow", "resume", "cancel", "addContext", "showOutput", "showHistory"]) {
        const said = await told(() => run(name));
        assert.match(`${name}: ${said.join()}`, /: No loop has run in .+ yet\.$/);
      }
      assert.match((await told(() => run("openWorkspaceState"))).join(), /has no loop state yet/);
      assert.match((await told(() => run("startWithSelection"))).join(), /Select the text/);
    });

    it("that make no sense for a loop say how the loop is", async () => {
      const agent = new Agent(FOLDER);
      agent.hold();
      await run("start", { prompt: "Take your time" });
      await until((loop) => loop.status === "running");
      assert.match(
        (await told(() => run("resume"))).join(),
        /^There is nothing to resume: the loop is (running|starting)/,
      );
      assert.match((await told(() => run("start", { prompt: "Me too" }))).join(), /already/);
      await run("cancel");
      agent.release();
      assert.equal((await until((loop) => loop.endedAt !== undefined)).status, "cancelled");
      assert.match((await told(() => run("cancel"))).join(), /^There is nothing to cancel/);
      assert.match((await told(() => run("addContext"))).join(), /^There is nothing to add context to/);
    });

    it("say when something given is wrong", async () => {
      const said = await told(() => loopWith({ maxIterations: -1 }));
      assert.match(said.join(), /maxIterations/);
    });
  });
}

function loopWith(config: Record<string, unknown>): Thenable<unknown> {
  return run("start", { prompt: "Wrong", config });
}
