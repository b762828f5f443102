/** The views: changes that wait for approval, loops with what they changed, repositories with their git. */

import assert from "node:assert/strict";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import type { BrowserContext } from "playwright-core";

import { Agent, agentCommand } from "../lib/agent";
import { closeBrowser, launchBrowser } from "../lib/browser";
import { CodeServer, HELPER, repository, terminal } from "../lib/server";
import { Window } from "../lib/window";

let server: CodeServer;
let browser: BrowserContext;
let window: Window;
let agent: Agent;

before(async () => {
  server = await CodeServer.start({
    settings: { "ralphLoop.agent": "custom", "ralphLoop.planMode": true },
    machine: (home) => ({ "ralphLoop.helper.path": HELPER, "ralphLoop.command": agentCommand(home) }),
  });
  browser = await launchBrowser();
  agent = new Agent(await repository(server, "shop", { finish: "2" }));
  window = await Window.open(browser, server, agent.folder);
});

after(async () => {
  await closeBrowser(browser);
  await server.stop();
});

const read = (name: string) => readFileSync(join(agent.folder, name), "utf8");

describe("the views", () => {
  test("say what they are for while they are empty", async () => {
    await window.waitForStatus(/^\$\(sync\) Ralph$/);
    await window.openViews();
    const welcome = (text: string) => window.page.locator(".part.sidebar .welcome-view", { hasText: text }).waitFor();
    await welcome("No change waits for your approval");
    await welcome("No loop has run yet");
    await window.row("shop").waitFor(); // the folder that is open is a repository already
    await window.shot("views-empty");
  });

  test("show staged changes: each with its diff; approved ones reach the files, rejected ones with words do not", async () => {
    await window.command("Ralph Loop: Start Loop");
    await window.answer("Plan it first");
    assert.equal(await window.waitForStatus(/review/), "$(bell-dot) Ralph 1/50 · review");
    assert.ok(!existsSync(join(agent.folder, "work.txt")), "nothing is in the user's files before it is approved");
    await window.notification("1 staged change for you to approve").waitFor();
    await window.row("work.txt").click();
    await window.until(
      "the diff",
      () => window.editor(),
      (lines) => lines.includes("work 1"),
    );
    await window.shot("staged");
    await window.act("work.txt", "Reject…");
    await window.page.locator(".quick-input-widget:visible", { hasText: "What is wrong with it?" }).waitFor();
    await window.answer("HINT-other1: not like this");
    await window.waitForStatus(/2\/50 · review/);
    assert.ok(!existsSync(join(agent.folder, "work.txt")));
    // the row may still be the rejected one's for a moment: approving that is refused, and changes nothing
    const approve = async () => {
      await window.act("work.txt", "Approve");
      return window.waitForStatus(/2\/50 · done/, 5000).then(
        () => true,
        () => false,
      );
    };
    await window.until("its approval", approve, (done) => done);
    assert.equal(read("work.txt"), "work 2\n");
    await window.command("Ralph Loop: Show Output");
    assert.match(await window.outputOfLastLoop(), /^begin 2\nsaw HINT-other1$/m);
  });

  test("refuse to approve over what the user changed meanwhile, by its name; nothing of it is lost", async () => {
    await window.command("Ralph Loop: Start Loop");
    await window.answer("Plan it again");
    await window.waitForStatus(/1\/50 · review/);
    writeFileSync(join(agent.folder, "work.txt"), "mine\n");
    await window.command("Ralph Loop: Approve All");
    await window.notification(/Nothing was applied, because work\.txt was changed/).waitFor();
    assert.equal(read("work.txt"), "mine\n");
    await window.waitForStatus(/1\/50 · review/);
    await window.shot("staged-refused");
    await window.command("Ralph Loop: Cancel");
    await window.waitForStatus(/Ralph$/);
    assert.equal(read("work.txt"), "mine\n");
  });

  test("refuse to approve a half of what belongs together, with the other half's name", async () => {
    const files = { thing: "a file\n", also: "rm thing; mkdir thing; echo inside > thing/inside.txt\n", idle: "" };
    const other = new Agent(await repository(server, "halves", files));
    const there = await Window.open(browser, server, other.folder);
    await there.openViews();
    await there.command("Ralph Loop: Start Loop");
    await there.answer("Make it a folder");
    await there.waitForStatus(/1\/50 · review/);
    await there.act(there.pane("Staged Changes").locator(".monaco-list-row", { hasText: "inside.txt" }), "Approve");
    await there.notification("These belong to what was approved and must be approved with it: thing.").waitFor();
    assert.equal(readFileSync(join(other.folder, "thing"), "utf8"), "a file\n");
    await there.shot("staged-half");
    other.hold(); // the loop goes on, and would be done before it is cancelled
    await there.command("Ralph Loop: Approve All");
    await there.waitForStatus(/2\/50/);
    assert.equal(readFileSync(join(other.folder, "thing/inside.txt"), "utf8"), "inside\n");
    await there.command("Ralph Loop: Cancel");
    await there.waitForStatus(/Ralph$/);
    await there.close();
  });

  test("show also the staged changes of a repository that is not open here", async () => {
    const other = new Agent(await repository(server, "elsewhere", { finish: "1" }));
    const loop = ["--repo", other.folder, "--plan", "Plan elsewhere", "--", ...agentCommand(server.home)];
    await terminal(server, "run", "--detach", ...loop);
    const staged = window.pane("Staged Changes");
    await staged.locator(".monaco-list-row", { hasText: "Plan elsewhere" }).waitFor();
    await window.shot("staged-elsewhere");
    await window.act(staged.locator(".monaco-list-row", { hasText: "work.txt" }), "Approve");
    await staged.locator(".monaco-list-row").first().waitFor({ state: "detached" });
    assert.equal(other.work, "work 1\n");
  });

  test("keep what is selected while a loop goes on", async () => {
    const loops = window.pane("Loops");
    await loops.locator(".monaco-list-row", { hasText: "Plan it first" }).click();
    const selected = () => loops.locator(".monaco-list-row.selected").allTextContents();
    assert.match((await selected()).join(), /Plan it first/);
    await window.command("Ralph Loop: Start Loop");
    await window.answer("Plan it a third time");
    await window.waitForStatus(/1\/50 · review/);
    await loops.locator(".monaco-list-row", { hasText: "Plan it a third time" }).waitFor();
    assert.match((await selected()).join(), /Plan it first/);
    await window.command("Ralph Loop: Cancel");
    await window.waitForStatus(/Ralph$/);
    assert.match((await selected()).join(), /Plan it first/);
    assert.equal((await selected()).length, 1);
  });

  test("show past loops with iterations and changed files, whose diff opens", async () => {
    await window.row("Plan it first").waitFor();
    await window.expand("Plan it first");
    await window.expand("Iteration 2");
    await window.shot("views");
    await window.row("work.txt").click();
    await window.page.locator(".tab.active", { hasText: "work.txt (iteration 2)" }).waitFor();
    await window.act("Iteration 2", "Open Prompt of This Iteration");
    await window.until(
      "the prompt",
      () => window.editor(),
      (lines) => lines.some((line) => line.includes("Plan it first")),
    );
    await window.command("Ralph Loop: Search History");
    await window.answer("again"); // Enter at once: it waits for what is found
    await window.rows().filter({ hasText: "Plan it again" }).first().waitFor();
    await window.shot("search");
    await window.page.keyboard.press("Escape");
  });

  test("search tells when there is more, and when what it found was deleted meanwhile", async () => {
    const loop = ["--repo", agent.folder, "--max-iterations", "55", "--delay", "0s", "Look for it"];
    await terminal(server, "run", "--detach", ...loop, "--", "echo", "needle", "{iteration}");
    await window.row(/Look for it.*stopped at the limit/).waitFor();
    await window.command("Ralph Loop: Search History");
    await window.answer("needle");
    await window.rows().filter({ hasText: "needle" }).first().waitFor();
    assert.match((await window.rows().first().textContent()) ?? "", /needle 55/, "the newest comes first");
    await window.page.keyboard.press("ArrowUp"); // from the first to the last
    await window.rows().filter({ hasText: "Only the first 50 are shown" }).waitFor();
    await window.page.keyboard.press("ArrowDown");
    const { sessions } = JSON.parse(await terminal(server, "sessions", "--json")) as {
      sessions: Record<string, string>[];
    };
    const found = sessions.find(({ title }) => title === "Look for it");
    await terminal(server, "sessions", "delete", found?.sessionId ?? "");
    await window.page.keyboard.press("Enter");
    await window.notification(/^.*There is no loop 'run_\w+'\.$/).waitFor();
  });

  test("show a repository's branch and changes, commit them, and reset only after a warning", async () => {
    const row = window.row(/^shop/).last();
    await row.filter({ hasText: /main.*changed/ }).waitFor();
    await window.act(row, "Commit…");
    await window.page.locator(".quick-input-widget:visible", { hasText: "will be committed" }).waitFor();
    await window.answer("What the agent did");
    await row.filter({ hasNotText: "changed" }).waitFor();
    writeFileSync(join(agent.folder, "README.md"), "spoilt\n");
    const reset = await window.menu(row, "Reset…");
    await window.shot("repository-menu");
    await reset.click();
    const warning = window.page.locator(".monaco-dialog-box", { hasText: "1 file" });
    await warning.waitFor();
    await window.shot("reset");
    await warning.getByRole("button", { name: "Reset" }).click();
    // git takes a file away before it writes the other one
    await window.until(
      "the file as it was",
      () => Promise.resolve(existsSync(join(agent.folder, "README.md")) && read("README.md")),
      (text) => text === "# shop\n",
    );
  });
});
