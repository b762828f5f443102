/** Opens a window whose extension host runs the Mocha tests of this folder. */

import assert from "node:assert/strict";
import { resolve } from "node:path";
import { test } from "node:test";
import { format } from "node:util";

import { agentCommand } from "../lib/agent";
import { closeBrowser, launchBrowser } from "../lib/browser";
import { CodeServer, HELPER, repository } from "../lib/server";

test("in the extension host", async () => {
  const server = await CodeServer.start({
    vsix: false,
    oldest: true,
    settings: { "ralphLoop.agent": "custom", "ralphLoop.notifications": "off" },
    machine: (home) => ({ "ralphLoop.helper.path": HELPER, "ralphLoop.command": agentCommand(home) }),
  });
  const browser = await launchBrowser();
  try {
    const page = await browser.newPage();
    const log: string[] = [];
    const ended = new Promise<number>((done) => {
      void page.exposeFunction("codeAutomationExit", done);
    });
    await page.exposeFunction("codeAutomationLog", (_type: string, args: unknown[]) => log.push(format(...args)));
    const remote = (path: string) => `vscode-remote://127.0.0.1:${server.port}${resolve(path)}`;
    const url = server.url(await repository(server, "host"), [
      ["extensionDevelopmentPath", remote(".")],
      ["extensionTestsPath", remote("out/host/index.js")],
    ]);
    await page.goto(url);
    const code = await ended;
    assert.equal(code, 0, log.join("\n"));
    assert.match(log.join("\n"), /\d+ passing/);
  } finally {
    await closeBrowser(browser);
    await server.stop();
  }
});
