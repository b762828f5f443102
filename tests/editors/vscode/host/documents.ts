import assert from "node:assert/strict";
import { rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, it } from "mocha";
import * as vscode from "vscode";

import { documentUri, fileUri } from "../../../../extension/src/documents";
import type { Change } from "../../../../extension/src/protocol";
import { FOLDER, loop } from "./loop";

const text = async (uri: vscode.Uri) => (await vscode.workspace.openTextDocument(uri)).getText();

export function define(): void {
  describe("documents", () => {
    it("show history, output, prompts and both sides of a file, read-only", async () => {
      const { runId, iteration } = await loop("Write it all down");
      assert.ok(iteration > 1);
      const history = documentUri("History.md", { kind: "history", runId });
      assert.match(await text(history), /^# Write it all down/);
      for (let n = 1; n <= iteration; n++) assert.match(await text(history), new RegExp(`Iteration ${n}\\b`));
      assert.equal(vscode.workspace.fs.isWritableFileSystem(history.scheme), undefined, "nothing can be written there");

      const output = await text(documentUri("Output.txt", { kind: "output", runId, after: 0 }));
      assert.match(output, /Iteration 1 [\s\S]*Iteration 2 [\s\S]*<promise>COMPLETE<\/promise>/);
      const second = documentUri("Output.txt", { kind: "output", runId, iteration: 2, after: 0 });
      assert.doesNotMatch(await text(second), /Iteration 1 /);
      assert.match(await text(documentUri("Prompt.md", { kind: "prompt", runId, iteration: 1 })), /Write it all down/);
    });

    it("of a file have the side that an iteration found and the side it left", async () => {
      const { runId } = await loop("Change something");
      const side = (iteration: number, side: "before" | "after") =>
        text(fileUri({ runId, iteration, path: "work.txt", side }));
      assert.equal(await side(1, "after"), await side(2, "before"));
      assert.equal(await side(2, "after"), `${await side(2, "before")}work 2\n`);
    });

    it("of a file whose name is no text are of that file", async () => {
      const also = join(FOLDER, "also");
      writeFileSync(also, `printf "%s\\n" "$1" >> "$(printf 'caf\\351.txt')"\n`);
      try {
        const { runId, iteration } = await loop("Write what has a strange name");
        const record = { path: "caf\ufffd.txt", pathBytes: Buffer.from("caf\xe9.txt", "latin1").toString("base64") };
        const change: Change = { ...record, kind: "modify", added: 1, removed: 0, binary: false };
        await vscode.commands.executeCommand("ralphLoop.showDiff", { runId, iteration: 2, change });
        const { input } = vscode.window.tabGroups.activeTabGroup.activeTab ?? {};
        assert.ok(input instanceof vscode.TabInputTextDiff);
        assert.deepEqual([await text(input.original), await text(input.modified)], ["1\n", "1\n2\n"]);
        assert.ok(iteration >= 2);
      } finally {
        rmSync(also);
      }
    });

    it("of a loop that is not there say so", async () => {
      await assert.rejects(
        async () => text(documentUri("None.md", { kind: "history", runId: "run_none" })),
        /run_none|no loop|No loop/,
      );
    });
  });
}
