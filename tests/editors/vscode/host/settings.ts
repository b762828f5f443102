import assert from "node:assert/strict";
import { afterEach, describe, it } from "mocha";
import * as vscode from "vscode";

import { helperSettings, LOOP_SETTINGS } from "../../../../extension/src/settings";
import { loop } from "./loop";

const settings = () => vscode.workspace.getConfiguration("ralphLoop");

function sent(): { config: Record<string, unknown>; warnings: string[] } {
  const warnings: string[] = [];
  const { config } = helperSettings(settings(), (message) => warnings.push(message));
  return { config, warnings };
}

async function set(key: string, value: unknown): Promise<void> {
  await settings().update(key, value, vscode.ConfigurationTarget.Workspace);
}

export function define(): void {
  describe("settings", () => {
    afterEach(async () => {
      for (const key of ["maxIterations", "planMode", "completionPromise"]) await set(key, undefined);
    });

    it("are declared for every key that is sent, and no default is sent", () => {
      for (const key of Object.keys(LOOP_SETTINGS)) {
        assert.notEqual(settings().inspect(key)?.defaultValue, undefined, key);
      }
      assert.deepEqual(Object.keys(sent().config).sort(), ["agent", "command"]);
    });

    it("are sent as they are set, and one of a wrong type is left out and told", async () => {
      await set("maxIterations", 7);
      await set("completionPromise", "DONE");
      await set("planMode", "yes");
      const { config, warnings } = sent();
      assert.equal(config.maxIterations, 7);
      assert.equal(config.completionPromise, "DONE");
      assert.ok(!("planMode" in config));
      assert.match(warnings.join(), /planMode is not true or false/);
    });

    it("count for the next loop without a restart, and a workspace cannot choose a program", async () => {
      await set("maxIterations", 2);
      const limited = await loop("Only twice");
      assert.equal(limited.maxIterations, 2);
      assert.equal(limited.stopReason, "maxIterations");
      for (const key of ["helper.path", "command", "allowAll", "binaries"]) {
        await assert.rejects(async () => set(key, "/bin/true"), /workspace/i, key);
      }
    });
  });
}
