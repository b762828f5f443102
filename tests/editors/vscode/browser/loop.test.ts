/** The packaged extension in a real VS Code, with a helper that is there already. */

import assert from "node:assert/strict";
import { rmSync } from "node:fs";
import { after, before, describe, test } from "node:test";
import type { BrowserContext } from "playwright-core";

import { Agent, agentCommand, printed } from "../lib/agent";
import { CodeServer, HELPER, repository } from "../lib/server";
import { closeBrowser, launchBrowser, Window } from "../lib/window";

let server: CodeServer;
let browser: BrowserContext;

before(async () => {
  server = await CodeServer.start({
    settings: { "ralphLoop.agent": "custom" },
    machine: (home) => ({ "ralphLoop.helper.path": HELPER, "ralphLoop.command": agentCommand(home) }),
    env: { RALPH_DEMO_DELAY_MS: "20" },
  });
  browser = await launchBrowser();
});

after(async () => {
  await closeBrowser(browser);
  await server.stop();
});

async function open(name: string, files: Record<string, string> = {}): Promise<{ window: Window; agent: Agent }> {
  const folder = await repository(server, name, files);
  return { window: await Window.open(browser, server, folder), agent: new Agent(folder) };
}

/** Starts a loop from the palette. */
async function start(window: Window, prompt: string): Promise<void> {
  await window.command("Ralph Loop: Start Loop");
  await window.answer(prompt);
}

/** The pauses that the client made before it connected again, in milliseconds. */
function waits(log: string): number[] {
  return [...log.matchAll(/Connecting again in (\d+) ms/g)].map(([, ms]) => Number(ms));
}

describe("a loop in the window", () => {
  test("starts from the palette, is counted in the status bar, and its output is complete and in order", async () => {
    const { window, agent } = await open("palette");
    await window.waitForStatus(/^\$\(sync\) Ralph$/);
    agent.hold();
    await start(window, "Do the work");
    await window.waitForStatus(/^\$\((sync|loading)~spin\) Ralph 1\/50$/);
    await window.shot("running");
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
    assert.equal(await window.notification("palette").count(), 0, "nothing is told to a person who looks");
    await window.close();
  });

  test("starts, pauses and resumes by clicks on the status bar, and is cancelled", async () => {
    const { window, agent } = await open("clicks");
    agent.hold();
    await window.waitForStatus(/Ralph$/);
    await window.item.click();
    await window.answer("Click by click");
    await window.waitForStatus(/1\/50$/);
    await window.item.click();
    await window.waitForStatus(/1\/50 · pausing$/);
    agent.release();
    assert.equal(await window.waitForStatus(/paused/), "$(debug-pause) Ralph 1/50 · paused");
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
    await window.close();
  });

  test("gives added context to the next iteration, once", async () => {
    const { window, agent } = await open("context");
    agent.hold();
    await start(window, "Listen to me");
    await window.waitForStatus(/1\/50$/);
    await window.command("Ralph Loop: Add Context");
    await window.answer("Mind HINT-abc7 please");
    await window.until(
      "the hint",
      () => window.page.locator(".statusbar").textContent(),
      (text) => (text ?? "").includes("Hint kept"),
    );
    agent.release();
    await window.waitForStatus(/done/);
    const output = await window.outputText();
    assert.match(output, /^begin 2\nsaw HINT-abc7$/m);
    assert.equal(output.split("saw HINT").length - 1, 1, "one iteration got it");
    await window.close();
  });

  test("keeps its history, with a diff of what each iteration changed", async () => {
    const { window } = await open("history");
    await start(window, "Leave traces");
    await window.waitForStatus(/done/);
    await window.command("Ralph Loop: Show History");
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
        seen.some((line) => line.includes("# Leave traces")) && seen.some((line) => /A work\.txt\s+\+1/.test(line)),
    );
    await window.shot("history");
    await window.close();
  });

  test("is there at once after a reload in the middle: stored output first, then live, without a gap", async () => {
    const { window, agent } = await open("reload");
    agent.hold();
    await start(window, "Survive");
    await window.waitForStatus(/1\/50$/);
    await window.until(
      "output",
      () => window.output(),
      (lines) => lines.some((line) => line.startsWith("warning 1")),
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
    await window.close();
  });

  test("is shown as interrupted when its helper is killed, by a new connection, and is resumed", async () => {
    const { window, agent } = await open("killed");
    agent.hold();
    await start(window, "Outlive the helper");
    await window.waitForStatus(/1\/50$/);
    const helpers = server.processes(/ralph_loop serve/);
    assert.equal(helpers.length, 1);
    const before = waits(server.clientLog());
    for (const { pid } of helpers) process.kill(pid, "SIGKILL");
    await window.waitForStatus(/interrupted/, 60_000);
    // what the machine takes to start a helper is not ours, but our own waiting is: under 3 s, the window's alone
    const waited = waits(server.clientLog()).slice(before.length);
    assert.ok(waited.length > 0);
    assert.ok(waited.reduce((sum, ms) => sum + ms, 0) < 3_000, `waited ${waited.join(" + ")} ms`);
    await window.notification("interrupted at iteration 1").waitFor();
    await window.shot("interrupted");
    assert.deepEqual(server.processes(/agent\.sh/), [], "the agent ended with its helper");
    agent.release();
    await window.item.click();
    await window.waitForStatus(/done/);
    const output = await window.outputText();
    assert.match(output, /^end \d+$/m);
    await window.close();
  });

  test("is the same in two windows", async () => {
    const { window, agent } = await open("twins");
    const twin = await Window.open(browser, server, agent.folder);
    agent.hold();
    await start(window, "One loop, two windows");
    await Promise.all([window, twin].map((one) => one.waitForStatus(/1\/50$/)));
    await twin.command("Ralph Loop: Pause After This Iteration");
    await window.waitForStatus(/pausing/);
    agent.release();
    await Promise.all([window, twin].map((one) => one.waitForStatus(/paused/)));
    await window.item.click();
    await Promise.all([window, twin].map((one) => one.waitForStatus(/done/)));
    await twin.command("Ralph Loop: Show Output");
    const texts = await Promise.all([window, twin].map((one) => one.outputText()));
    assert.match(texts[0] ?? "", /^end 3$/m);
    assert.equal(texts[1], texts[0]);
    await twin.close();
    await window.close();
  });

  test("does not start without its agent, and says what to install", async () => {
    const { window } = await open("nobody", { ".vscode/settings.json": '{"ralphLoop.agent": "claude"}' });
    await start(window, "Anybody there?");
    const told = window.notification(/claude.*npm install/i);
    await told.waitFor();
    await window.shot("no-agent");
    await told.getByText("Select Agent").click();
    await window.page.locator(".quick-input-list", { hasText: "not installed" }).waitFor();
    await window.shot("select-agent");
    await window.choose("Demo");
    await window.page.waitForTimeout(300);
    await start(window, "Then you");
    await window.waitForStatus(/Ralph \d\/50/);
    await window.waitForStatus(/done/);
    await window.close();
  });

  test("offers only what makes sense", async () => {
    const { window, agent } = await open("offers");
    const idle = await window.offered("Ralph Loop: ");
    assert.ok(idle.includes("Ralph Loop: Start Loop"));
    for (const title of ["Resume", "Cancel", "Pause Now", "Add Context…", "Show History"]) {
      assert.ok(!idle.includes(`Ralph Loop: ${title}`), title);
    }
    agent.hold();
    await start(window, "Busy now");
    await window.waitForStatus(/1\/50$/);
    const running = await window.offered("Ralph Loop: ");
    for (const title of [
      "Pause After This Iteration",
      "Pause Now",
      "Cancel",
      "Add Context…",
      "Show Output",
      "Show History",
    ]) {
      assert.ok(running.includes(`Ralph Loop: ${title}`), title);
    }
    assert.ok(!running.includes("Ralph Loop: Start Loop") && !running.includes("Ralph Loop: Resume"));
    await window.command("Ralph Loop: Cancel");
    await window.waitForStatus(/Ralph$/);
    rmSync(agent.folder, { recursive: true });
    await window.close();
  });
});
