/** First use: the packaged extension brings its helper, and nothing else is there. */

import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { execFileSync } from "node:child_process";
import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { basename, join } from "node:path";
import { after, before, describe, test } from "node:test";
import type { BrowserContext } from "playwright-core";

import { closeBrowser, launchBrowser } from "../lib/browser";
import { CodeServer, repository, ROOT } from "../lib/server";
import { Window } from "../lib/window";

let browser: BrowserContext;

before(async () => {
  browser = await launchBrowser();
});

after(async () => {
  await closeBrowser(browser);
});

function helperFolder(server: CodeServer): string {
  return join(server.home, "ud/User/globalStorage/ralph-loop.ralph-loop/helper");
}

/** The name of the folder that the extension installs its helper into. */
function bundleId(): string {
  const folder = join(ROOT, "extension/helper");
  const wheel = readdirSync(folder).find((name) => name.endsWith(".whl")) ?? "";
  const hash = createHash("sha256");
  for (const name of [wheel, "requirements.txt"]) hash.update(readFileSync(join(folder, name)));
  return `${wheel.split("-")[1] ?? ""}-${hash.digest("hex").slice(0, 8)}`;
}

/** The wheel of a newer version: the helper of the checkout with another number. */
function newerWheel(folder: string, version: string): string {
  for (const name of ["server", "pyproject.toml", "README.md", "LICENSE"])
    cpSync(join(ROOT, name), join(folder, name), { recursive: true });
  for (const name of ["pyproject.toml", "server/ralph_loop/__init__.py"]) {
    const text = readFileSync(join(folder, name), "utf8");
    writeFileSync(join(folder, name), text.replace(/^((__)?version(__)? = ").*"$/m, `$1${version}"`));
  }
  execFileSync(join(ROOT, ".venv/bin/python"), ["-m", "hatchling", "build", "-t", "wheel", "-d", "dist"], {
    cwd: folder,
    stdio: ["ignore", "ignore", "inherit"],
  });
  return join(folder, "dist", `ralph_loop-${version}-py3-none-any.whl`);
}

describe("the helper that the extension brings", () => {
  test("is installed at first use, over a half-finished install, runs a loop, and is replaced by a newer one", async () => {
    const server = await CodeServer.start({
      settings: { "ralphLoop.agent": "demo" },
      env: { RALPH_DEMO_DELAY_MS: "20" },
    });
    try {
      const ours = join(helperFolder(server), bundleId());
      const old = join(helperFolder(server), "0.0.1-deadbeef");
      for (const folder of [ours, old]) {
        mkdirSync(join(folder, "bin"), { recursive: true });
        writeFileSync(join(folder, "bin/ralph-loop"), "half");
      }
      const window = await Window.open(browser, server, await repository(server, "fresh"));
      await window.waitForStatus(/^\$\(sync\) Ralph$/);
      assert.deepEqual(server.processes(/venv|pip/), [], "nothing is installed before it is needed");

      await window.item.click();
      await window.answer("First");
      const progress = window.notification("installing the helper");
      await progress.waitFor();
      await window.shot("installing");
      await progress.hover();
      await progress.getByText("Cancel").click();
      await window.waitForStatus(/^\$\(sync\) Ralph$/);
      assert.ok(!existsSync(join(ours, "ready.json")));

      await window.item.click();
      await window.answer("");
      await window.waitForStatus(/^\$\(sync~spin\) Ralph \d\/50$/, 180_000);
      await window.waitForStatus(/done/);
      assert.ok(existsSync(join(ours, "ready.json")));
      assert.ok(!existsSync(old), "an older install is gone");
      assert.match(await window.outputText(), /^▶ First — demo/, "the prompt was not lost");

      await window.reload();
      await window.waitForStatus(/done/);
      const helpers = server.processes(/ralph_loop serve/);
      assert.deepEqual(
        helpers.map(({ command }) => command.includes(`/${bundleId()}/`)),
        [true],
      );

      // a newer extension: its window connects by itself, and the helper that rests makes room
      const brought = join(server.extension(), "helper");
      const wheel = newerWheel(join(server.home, "newer"), "0.9.0");
      rmSync(join(brought, readdirSync(brought).find((name) => name.endsWith(".whl")) ?? ""));
      cpSync(wheel, join(brought, basename(wheel)));
      await window.reload();
      await window.notification("installing the helper").waitFor();
      await window.waitForStatus(/done/, 180_000);
      await window.until(
        "the older install gone",
        () => Promise.resolve(existsSync(ours)),
        (isThere) => !isThere,
      );
      const [newer] = server.processes(/ralph_loop serve/);
      assert.match(newer?.command ?? "", /\/helper\/0\.9\.0-/);
      await window.command("Ralph Loop: Show Output");
      assert.match(await window.outputText(), /^▶ First — demo/, "what the older one recorded is there");
      await window.item.click();
      await window.answer("Second");
      await window.waitForStatus(/^\$\(sync~spin\) Ralph \d\/50$/);
      await window.waitForStatus(/done/);
      await window.close();
    } catch (error) {
      server.keepLogs("install");
      throw error;
    } finally {
      await server.stop();
    }
  });

  test("says what to do when there is no network, and when there is no Python", async () => {
    const server = await CodeServer.start({
      settings: { "ralphLoop.agent": "demo" },
      env: { PIP_CONFIG_FILE: "/dev/null", PIP_INDEX_URL: "http://127.0.0.1:9/simple", PIP_RETRIES: "0" },
    });
    try {
      const window = await Window.open(browser, server, await repository(server, "offline"));
      await window.item.click();
      await window.answer("Try");
      await window.notification(/package index cannot be reached/).waitFor({ timeout: 180_000 });
      assert.equal(await window.waitForStatus(/Ralph/), "$(error) Ralph");
      await window.shot("no-network");
      assert.ok(!existsSync(join(helperFolder(server), bundleId(), "ready.json")));

      writeFileSync(join(server.home, "ud/Machine/settings.json"), '{"ralphLoop.helper.python": "/nowhere/python3"}');
      await window.waitForStatus(/^\$\(sync\) Ralph$/);
      await window.item.click();
      await window.answer("Try");
      await window.notification(/ralphLoop.helper.python.*cannot be used/).waitFor();
      await window.close();
    } catch (error) {
      server.keepLogs("install");
      throw error;
    } finally {
      await server.stop();
    }
  });
});
