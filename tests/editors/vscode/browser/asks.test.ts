/** What an agent asks, in a real VS Code: an agent that speaks ACP asks for permission, and then a question. */

import assert from "node:assert/strict";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import type { BrowserContext } from "playwright-core";

import { closeBrowser, launchBrowser } from "../lib/browser";
import { CodeServer, HELPER, repository, ROOT } from "../lib/server";
import { Window } from "../lib/window";

let server: CodeServer;
let browser: BrowserContext;

before(async () => {
  server = await CodeServer.start({
    settings: { "ralphLoop.agent": "acp" },
    machine: () => ({
      "ralphLoop.helper.path": HELPER,
      "ralphLoop.command": ["python3", join(ROOT, "tests/editors/vscode/lib/acp_agent.py")],
    }),
  });
  browser = await launchBrowser();
});

after(async () => {
  await closeBrowser(browser);
  await server.stop();
});

describe("what an agent asks", () => {
  test("is told with its answers, answered in a notification and a list, and gone when answered elsewhere", async () => {
    const folder = await repository(server, "asks");
    const window = await Window.open(browser, server, folder);
    const twin = await Window.open(browser, server, folder);
    await window.command("Ralph Loop: Start Loop");
    await window.answer("Ask me");
    assert.match(await window.waitForStatus(/permission/), /^\$\(bell-dot\) Ralph 1\/50 · permission$/);
    const asked = window.notification("rm -rf build");
    await asked.waitFor();
    assert.equal(await asked.locator(".notification-list-item-message a").count(), 4, "no link is the agent's own");
    await window.shot("permission");
    await asked.getByText("Details").click();
    const seen = await window.until(
      "the details",
      () => window.editor(),
      (lines) => lines.some((line) => line.startsWith("+two")),
    );
    assert.ok(seen.some((line) => line.includes("command: rm -rf build")));
    await window.shot("permission-details");

    const same = twin.notification("rm -rf build");
    await same.waitFor();
    await asked.getByText("Allow Once").click();
    await Promise.all([asked, same].map((one) => one.waitFor({ state: "detached" })));

    await window.waitForStatus(/question/);
    const question = window.notification("Which colour");
    await question.waitFor();
    await window.shot("question");
    await window.item.click();
    await window.rows().filter({ hasText: "Blue" }).waitFor();
    await window.shot("question-options");
    // the other window is quicker: the list goes
    await twin.command("Ralph Loop: Show Open Requests");
    await twin.choose("Red");
    await window.page.locator(".quick-input-widget").waitFor({ state: "hidden" });
    await question.waitFor({ state: "detached" });
    await window.waitForStatus(/done/);
    await twin.close();
    await window.command("Ralph Loop: Show Output");
    const output = await window.outputText();
    assert.match(output, /^may: once$/m);
    assert.match(output, /^colour: Red$/m);
    await window.close();
  });

  test("is rejected with words that the agent hears", async () => {
    const window = await Window.open(browser, server, await repository(server, "rejects"));
    await window.command("Ralph Loop: Start Loop");
    await window.answer("Ask me too");
    await window.waitForStatus(/permission/);
    await window.item.click();
    await window.rows().filter({ hasText: "Reject" }).waitFor();
    await window.shot("permission-answers");
    await window.choose("Reject");
    await window.page.locator(".quick-input-widget:visible", { hasText: "instead" }).waitFor();
    await window.answer("HINT-keep the build");
    await window.waitForStatus(/question/);
    await window.command("Ralph Loop: Show Open Requests");
    await window.choose("Another answer");
    await window.answer("Red");
    await window.waitForStatus(/2\/50 · permission|done/);
    await window.command("Ralph Loop: Show Output");
    assert.match(await window.outputText(), /^may: no$/m);
    await window.close();
  });
});
