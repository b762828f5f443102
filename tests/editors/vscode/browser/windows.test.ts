/** Windows that are not as usual: not trusted, of several folders, or with far too much output. */

import assert from "node:assert/strict";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import type { BrowserContext } from "playwright-core";

import type { Snapshot } from "../../../../extension/src/protocol";
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

/** A workspace file of these folders. */
function workspaceOf(server: CodeServer, name: string, folders: string[]): string {
  const workspace = join(server.home, `${name}.code-workspace`);
  writeFileSync(workspace, JSON.stringify({ folders: folders.map((path) => ({ path })) }));
  return workspace;
}

async function startInOneOfSeveral(window: Window, folder: string): Promise<void> {
  await window.waitForStatus(/^\$\(sync\) Ralph$/);
  await window.item.click();
  await window.choose(folder);
  await window.answer(`Work on ${folder}`);
  await window.waitForStatus(/1\/50$/);
}

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
    const window = await Window.open(browser, server, workspaceOf(server, "both", folders));
    one?.hold();
    two?.hold();
    await startInOneOfSeveral(window, "one");

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

  test("of several folders, each loop that ended while the window was closed is told when it opens again", async () => {
    const folders = [
      await repository(server, "third", { "third.txt": "3\n" }),
      await repository(server, "fourth", { "fourth.txt": "4\n" }),
    ];
    const agents = folders.map((folder) => new Agent(folder));
    const workspace = workspaceOf(server, "ends", folders);
    const window = await Window.open(browser, server, workspace);
    for (const agent of agents) agent.hold();
    await startInOneOfSeveral(window, "third");
    await window.openFile("fourth.txt");
    await window.waitForStatus(/^\$\(sync\) Ralph$/);
    await window.item.click();
    await window.answer("Work on the fourth");
    await window.waitForStatus(/1\/50$/);
    await window.close();
    for (const agent of agents) agent.release();
    const statuses = () =>
      folders.map((folder) => (JSON.parse(readFileSync(join(folder, ".ralph/state.json"), "utf8")) as Snapshot).status);
    const deadline = Date.now() + 60_000;
    while (statuses().some((status) => status !== "completed") && Date.now() < deadline) await sleep(50);
    assert.deepEqual(statuses(), ["completed", "completed"]);
    const again = await Window.open(browser, server, workspace);
    for (const name of ["third", "fourth"]) await again.notification(`${name}: the loop is done`).waitFor();
    await again.shot("ends");
    await again.close();
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
