/** The packaged extension in a real VS Code, with a helper that is there already. */

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import type { BrowserContext } from "playwright-core";

import { Agent, agentCommand, printed } from "../lib/agent";
import { closeBrowser, launchBrowser } from "../lib/browser";
import { CodeServer, HELPER, repository } from "../lib/server";
import { Window } from "../lib/window";

let server: CodeServer;
let browser: BrowserContext;
let window: Window;
let agent: Agent;

before(async () => {
  server = await CodeServer.start({
    settings: { "ralphLoop.agent": "custom" },
    machine: (home) => ({ "ralphLoop.helper.path": HELPER, "ralphLoop.command": agentCommand(home) }),
    env: { RALPH_DEMO_DELAY_MS: "20" },
  });
  browser = await launchBrowser();
  agent = new Agent(await repository(server, "work"));
  window = await Window.open(browser, server, agent.folder);
});

after(async () => {
  await closeBrowser(browser);
  await server.stop();
});

/** Starts a loop from the palette, and waits until its agent is at work: it goes on when `agent` is released. */
async function start(prompt: string): Promise<void> {
  agent.hold();
  await window.command("Ralph Loop: Start Loop");
  await window.answer(prompt);
  await window.waitForStatus(/Ralph 1\/50$/);
}

/** The pauses that the client made before it connected again, in milliseconds. */
function waits(log: string): number[] {
  return [...log.matchAll(/Connecting again in (\d+) ms/g)].map(([, ms]) => Number(ms));
}

// one window for all of them, as a person has one: opening it is what takes time
describe("a loop in the window", () => {
  test("offers to start one when there is none", async () => {
    await window.waitForStatus(/^\$\(sync\) Ralph$/);
    const offered = await window.offered();
    assert.ok(offered.includes("Ralph Loop: Start Loop"));
    for (const title of ["Resume", "Cancel", "Pause Now", "Add Context…", "Show History", "Show Output"]) {
      assert.ok(!offered.includes(`Ralph Loop: ${title}`), title);
    }
    await window.shot("idle");
  });

  test("starts from the palette, is counted in the status bar, and its output is complete and in order", async () => {
    await start("Do the work");
    await window.waitForStatus(/^\$\(sync~spin\) Ralph 1\/50$/);
    const tooltip = await window.tooltip();
    assert.match(tooltip, /Running iteration 1 of 50[\s\S]*Do the work[\s\S]*Agent custom[\s\S]*Pause[\s\S]*History/);
    await window.shot("running");
    const offered = await window.offered();
    for (const title of ["Pause After This Iteration", "Pause Now", "Cancel", "Add Context…", "Show Output"]) {
      assert.ok(offered.includes(`Ralph Loop: ${title}`), title);
    }
    assert.ok(!offered.includes("Ralph Loop: Start Loop") && !offered.includes("Ralph Loop: Resume"));
    agent.release();
    await window.waitForStatus(/^\$\(pass\) Ralph 3\/50 · done$/);
    const output = await window.outputText();
    assert.match(output, /^▶ Do the work — custom/);
    const lines = output.split("\n").filter((line) => /^(━|begin|line|end|<promise)/.test(line));
    const expected = [1, 2, 3].flatMap((n) => [`Iteration ${n}`, `begin ${n}`, ...printed(n), `end ${n}`]);
    assert.deepEqual(
      lines.map((line) => line.replace(/^━━━ (Iteration \d+) ━━━ \d\d:\d\d:\d\d ━━━$/, "$1")),
      [...expected, "<promise>COMPLETE</promise>"],
    );
    for (const n of [1, 2, 3]) assert.match(output, new RegExp(`^warning ${n}$`, "m"));
    assert.equal(await window.notification("work").count(), 0, "nothing is told to a person who looks");
    await window.shot("completed");
  });

  test("keeps its history, with a diff of what each iteration changed", async () => {
    await window.command("Ralph Loop: Show History");
    await window.rows().filter({ hasText: "Iteration 2" }).waitFor();
    await window.shot("history-pick");
    await window.choose("Iteration 2");
    await window.choose("work.txt");
    const lines = await window.until(
      "the diff",
      () => window.editor(),
      (seen) => seen.filter((line) => line.startsWith("work")).length === 3,
    );
    assert.deepEqual(lines.filter((line) => line.startsWith("work")).sort(), ["work 1", "work 1", "work 2"]);
    await window.shot("diff");
    await window.command("Ralph Loop: Open History as a Document");
    await window.until(
      "the document",
      () => window.editor(),
      (seen) =>
        seen.some((line) => line.includes("# Do the work")) && seen.some((line) => /A work\.txt\s+\+1/.test(line)),
    );
    await window.shot("history");
    await window.closeEditors();
  });

  test("starts, pauses and resumes by clicks on the status bar, and is cancelled", async () => {
    agent.hold();
    await window.item.click();
    await window.answer("Click by click");
    await window.waitForStatus(/1\/50$/);
    await window.item.click();
    await window.waitForStatus(/1\/50 · pausing$/);
    agent.release();
    assert.equal(await window.waitForStatus(/paused/), "$(debug-pause) Ralph 1/50 · paused");
    await window.shot("paused");
    agent.hold();
    await window.item.click();
    await window.waitForStatus(/Ralph 2\/50$/);
    await window.command("Ralph Loop: Pause Now");
    await window.waitForStatus(/paused/);
    await window.command("Ralph Loop: Resume");
    await window.waitForStatus(/Ralph [23]\/50$/);
    await window.until(
      "the agent",
      () => Promise.resolve(server.processes(/agent\.sh/).length),
      (n) => n > 0,
    );
    await window.command("Ralph Loop: Cancel");
    assert.equal(await window.waitForStatus(/Ralph$/), "$(sync) Ralph");
    assert.deepEqual(server.processes(/agent\.sh/), [], "nothing of the agent is left");
  });

  test("gives added context to the next iteration, once", async () => {
    await start("Listen to me");
    await window.command("Ralph Loop: Add Context");
    await window.answer("Mind HINT-abc7 please");
    await window.until(
      "the hint",
      () => window.page.locator(".statusbar").textContent(),
      (text) => (text ?? "").includes("Hint kept"),
    );
    agent.release();
    await window.waitForStatus(/done/);
    const output = await window.outputOfLastLoop();
    assert.match(output, /^begin 2\nsaw HINT-abc7$/m);
    assert.equal(output.split("saw HINT").length - 1, 1, "one iteration got it");
  });

  test("is there at once after a reload in the middle: stored output first, then live, without a gap", async () => {
    await start("Survive");
    await window.until(
      "output",
      () => window.output(),
      (lines) => lines.includes("line 1.60"), // the last one; only what is in view is there
    );
    await window.reload();
    await window.waitForStatus(/Ralph 1\/50$/);
    agent.release();
    await window.waitForStatus(/done/);
    await window.command("Ralph Loop: Show Output");
    const lines = (await window.outputText()).split("\n").filter((line) => /^(begin|line|end)/.test(line));
    assert.deepEqual(
      lines,
      [1, 2, 3].flatMap((n) => [`begin ${n}`, ...printed(n), `end ${n}`]),
    );
  });

  test("is shown as interrupted when its helper is killed, by a new connection, and is resumed", async (t) => {
    await start("Outlive the helper");
    await window.until(
      "the output",
      () => window.outputOfLastLoop(),
      (text) => text.includes("warning 1\n"),
    );
    const helpers = server.processes(/ralph_loop serve/);
    assert.equal(helpers.length, 1);
    const before = waits(server.clientLog());
    const killed = Date.now();
    for (const { pid } of helpers) process.kill(pid, "SIGKILL");
    await window.waitForStatus(/interrupted/);
    t.diagnostic(`${Date.now() - killed} ms from the kill to the right status`);
    // what the machine takes to start a helper is not ours, but our own waiting is: under 3 s, the window's alone
    const waited = waits(server.clientLog()).slice(before.length);
    assert.ok(waited.length > 0);
    assert.ok(waited.reduce((sum, ms) => sum + ms, 0) < 3_000, `waited ${waited.join(" + ")} ms`);
    await window.notification("interrupted at iteration 1").waitFor();
    await window.shot("interrupted");
    assert.deepEqual(server.processes(/agent\.sh/), [], "the agent ended with its helper");
    const cut = await window.outputOfLastLoop();
    agent.release();
    await window.item.click();
    await window.waitForStatus(/done/);
    const output = await window.outputOfLastLoop();
    assert.ok(output.startsWith(cut), "what was drawn stays, nothing is drawn twice");
    assert.equal(output.split("begin 1\n").length - 1, 1);
    assert.match(output, /^end 3$/m);
  });

  test("is the same in two windows", async () => {
    const twin = await Window.open(browser, server, agent.folder);
    await start("One loop, two windows");
    await twin.waitForStatus(/1\/50$/);
    await twin.command("Ralph Loop: Pause After This Iteration");
    await window.waitForStatus(/pausing/);
    agent.release();
    await Promise.all([window, twin].map((one) => one.waitForStatus(/paused/)));
    await window.item.click();
    await Promise.all([window, twin].map((one) => one.waitForStatus(/done/)));
    await twin.command("Ralph Loop: Show Output");
    const texts = await Promise.all([window, twin].map((one) => one.outputOfLastLoop()));
    assert.match(texts[0] ?? "", /^end 3$/m);
    assert.equal(texts[1], texts[0]);
    await twin.close();
  });

  test("that fails says why, and a click shows it before a new one is started", async () => {
    agent.fail("The model is on strike");
    await window.command("Ralph Loop: Start Loop");
    await window.answer("Fail for me");
    assert.equal(await window.waitForStatus(/failed/), "$(error) Ralph 3/50 · failed");
    agent.recover();
    await window.item.click();
    await window.rows().filter({ hasText: "The model is on strike" }).first().waitFor();
    await window.shot("failed");
    await window.page.keyboard.press("Escape");
    await window.item.click();
    await window.page.locator(".quick-input-widget:visible", { hasText: "until it is really done" }).waitFor();
    await window.page.keyboard.press("Escape");
  });

  test("does not start without its agent, and says what to install", async () => {
    await window.command("Ralph Loop: Start Loop with Options");
    await window.rows().filter({ hasText: "Plan mode" }).waitFor();
    await window.shot("options");
    await window.choose(/Agent.*custom/);
    await window.page.locator(".quick-input-list", { hasText: "not installed" }).waitFor();
    await window.shot("select-agent");
    await window.choose("Claude Code");
    await window.choose("Enter the prompt and start");
    await window.answer("Anybody there?");
    const told = window.notification(/claude.*npm install/i);
    await told.waitFor();
    await window.shot("no-agent");
    await told.getByText("Select Agent").click();
    await window.choose("Demo");
    const current = async () => {
      await window.command("Ralph Loop: Select Agent");
      await window.rows().filter({ hasText: "Demo" }).waitFor();
      const shown = await window.rows().filter({ hasText: "current" }).allTextContents();
      await window.page.keyboard.press("Escape");
      return shown.join();
    };
    await window.until("the chosen agent", current, (shown) => shown.includes("Demo"));
    await window.command("Ralph Loop: Start Loop");
    await window.answer("Then you");
    await window.waitForStatus(/Ralph \d\/50$/);
    await window.waitForStatus(/done/);
  });
});
