/** Windows that are not as usual: not trusted, of several folders, or with far too much output. */

import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import type { BrowserContext } from "playwright-core";

import { Agent, agentCommand } from "../lib/agent";
import { closeBrowser, launchBrowser } from "../lib/browser";
import { CodeServer, HELPER, type Options, repository } from "../lib/server";
import { Window } from "../lib/window";

const OPTIONS: Options = {
  settings: { "ralphLoop.agent": "custom" },
  machine: (home) => ({ "ralphLoop.helper.path": HELPER, "ralphLoop.command": agentCommand(home) }),
};

let browser: BrowserContext;

before(async () => {
  browser = await launchBrowser();
});

after(async () => {
  await closeBrowser(browser);
});

describe("a workspace that is not trusted", () => {
  test("has no loop, and says why and what to do", async () => {
    const server = await CodeServer.start({ ...OPTIONS, workspaceTrust: true });
    try {
      const window = await Window.open(browser, server, await repository(server, "stranger"));
      await window.waitForStatus(/^\$\(shield\) Ralph$/);
      await window.item.click();
      const told = window.notification(/No loop can be started or changed in Restricted Mode/);
      await told.waitFor();
      await told.getByText("Manage Workspace Trust").waitFor();
      await window.shot("untrusted");
      const offered = await window.offered();
      assert.ok(!offered.includes("Ralph Loop: Start Loop") && !offered.includes("Ralph Loop: Toggle Loop"));
      assert.deepEqual(server.processes(/agent\.sh/), []);
      await window.close();
    } finally {
      await server.stop();
    }
  });
});

describe("in a trusted window", () => {
  let server: CodeServer;

  before(async () => {
    server = await CodeServer.start(OPTIONS);
  });

  after(async () => {
    await server.stop();
  });

  test("of several folders, the loop of the active editor's folder is shown, others in the tooltip", async () => {
    const folders = [
      await repository(server, "one", { "first.txt": "1\n" }),
      await repository(server, "two", { "second.txt": "2\n" }),
    ];
    const [one, two] = folders.map((folder) => new Agent(folder));
    const workspace = join(server.home, "both.code-workspace");
    writeFileSync(workspace, JSON.stringify({ folders: folders.map((path) => ({ path })) }));
    const window = await Window.open(browser, server, workspace);
    one?.hold();
    two?.hold();
    await window.waitForStatus(/^\$\(sync\) Ralph$/);
    await window.item.click();
    await window.choose("one");
    await window.answer("Work on one");
    await window.waitForStatus(/1\/50$/);

    await window.openFile("second.txt");
    await window.waitForStatus(/^\$\(sync\) Ralph$/);
    const tooltip = await window.tooltip();
    assert.match(tooltip, /Ralph Loop — two/);
    assert.match(tooltip, /one running iteration 1 of 50/);
    await window.shot("folders");
    await window.item.click();
    await window.answer("Work on two");
    await window.waitForStatus(/1\/50$/);
    two?.release();
    await window.waitForStatus(/3\/50 · done$/);

    await window.openFile("first.txt");
    await window.waitForStatus(/1\/50$/);
    one?.release();
    await window.waitForStatus(/3\/50 · done$/);
    await window.close();
  });

  test("a flood of output does not freeze it; what is left out is told, and opens in an editor", async () => {
    const folder = await repository(server, "flood", { flood: "600000" });
    const window = await Window.open(browser, server, folder);
    await window.waitForStatus(/^\$\(sync\) Ralph$/);
    await window.watchForFreezes();
    await window.command("Ralph Loop: Start Loop");
    await window.answer("Say it all");
    await window.waitForStatus(/done$/, 120_000);
    const frozen = await window.longestFreeze();
    assert.ok(frozen < 5_000, `the window did not answer for ${frozen} ms`);
    const text = await window.outputText();
    assert.ok(text.length < 4 * 1024 * 1024, `${text.length} characters are drawn`);
    assert.match(text, /^⋯ .* left out here, Open Full Output shows all ⋯$/m);
    assert.match(text, /^end 3$/m, "the end is always there");
    await window.shot("flood");
    await window.command("Ralph Loop: Open Full Output");
    const has = (n: number) => (seen: string[]) => seen.includes(`flood ${n}`);
    await window.until("all of the output", () => window.editor(), has(1));
    await window.shot("flood-editor");
    await window.close();
  });
});
