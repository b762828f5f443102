/** A loop that cannot go on by itself, in a real VS Code: a rate limit, a struggle, and decisions that became moot. */

import assert from "node:assert/strict";
import { chmodSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import type { BrowserContext } from "playwright-core";

import { Agent, agentCommand } from "../lib/agent";
import { closeBrowser, launchBrowser } from "../lib/browser";
import { CodeServer, HELPER, repository } from "../lib/server";
import { Window } from "../lib/window";

/** Seconds since 1970; in the middle of a minute, so that what is added to be safe does not change the minute. */
const RESETS_AT = Math.floor((Date.now() + 7_200_000) / 60_000) * 60 + 20;
const LIMIT = [
  {
    type: "rate_limit_event",
    rate_limit_info: { status: "rejected", resetsAt: RESETS_AT, rateLimitType: "five_hour" },
  },
  { type: "result", subtype: "success", is_error: true, api_error_status: 429, result: "You've hit your limit" },
];
const DONE = { type: "result", subtype: "success", is_error: false, result: "<promise>COMPLETE</promise>" };

/** Speaks as Claude Code does: of its limit while there is a file `limited`, else it is done. */
const CLAUDE = `#!/bin/sh
case "$*" in *--version*) echo "2.1.329 (Claude Code)"; exit 0;; esac
cat > /dev/null
if [ -e limited ]; then
  cat <<'END'
${LIMIT.map((line) => JSON.stringify(line)).join("\n")}
END
  exit 1
fi
echo '${JSON.stringify(DONE)}'
`;

let server: CodeServer;
let browser: BrowserContext;

before(async () => {
  server = await CodeServer.start({
    settings: { "ralphLoop.agent": "custom" },
    machine: (home) => {
      writeFileSync(join(home, "claude"), CLAUDE);
      chmodSync(join(home, "claude"), 0o755);
      return {
        "ralphLoop.helper.path": HELPER,
        "ralphLoop.command": agentCommand(home),
        "ralphLoop.binaries": { claude: join(home, "claude") },
      };
    },
  });
  browser = await launchBrowser();
});

after(async () => {
  await closeBrowser(browser);
  await server.stop();
});

/** A repository with settings of its own. */
async function folder(name: string, settings: Record<string, unknown>, files = {}): Promise<string> {
  return repository(server, name, { ".vscode/settings.json": JSON.stringify(settings), ...files });
}

/** The background that the status bar item has. */
async function background(window: Window): Promise<string> {
  return window.item.evaluate(
    (element) => /(warning|error)-kind/.exec(element.getAttribute("class") ?? "")?.[1] ?? "none",
  );
}

describe("a loop that cannot go on by itself", () => {
  test("waits for a rate limit, says until when, and goes on when it is resumed by hand", async () => {
    const place = await folder("limited", { "ralphLoop.agent": "claude" }, { limited: "" });
    const window = await Window.open(browser, server, place);
    await window.command("Ralph Loop: Start Loop");
    await window.answer("Wait your turn");
    const until = new Date(RESETS_AT * 1000).toTimeString().slice(0, 5);
    assert.equal(await window.waitForStatus(/waits/), `$(watch) Ralph 1/50 · waits until ${until}`);
    assert.equal(await background(window), "none", "nobody is needed");
    const tooltip = await window.tooltip();
    assert.match(
      tooltip,
      new RegExp(`Waits for the rate limit until ${until}[\\s\\S]*Resume[\\s\\S]*Pause[\\s\\S]*Cancel`),
    );
    assert.match(tooltip, /hit your limit/, "what the agent said");
    await window.shot("waiting");
    rmSync(join(place, "limited"));
    await window.command("Ralph Loop: Resume");
    assert.match(await window.waitForStatus(/done/), /^\$\(pass\) Ralph \d\/50 · done$/);
    await window.close();
  });

  test("is paused by its struggle, says why, and goes on when it is resumed", async () => {
    const agent = new Agent(await folder("stuck", { "ralphLoop.pauseOnStruggle": true }, { idle: "", finish: "5" }));
    const window = await Window.open(browser, server, agent.folder);
    await window.command("Ralph Loop: Start Loop");
    await window.answer("Try hard");
    assert.equal(await window.waitForStatus(/struggling/), "$(bell-dot) Ralph 3/50 · struggling");
    assert.equal(await background(window), "warning");
    const told = window.notification(
      /stuck: the loop was paused because it struggles\. No file was changed in the last 3 iterations\./,
    );
    await told.waitFor();
    const tooltip = await window.tooltip();
    assert.match(tooltip, /Paused at iteration 3 of 50: it struggles and needs you/);
    assert.match(tooltip, /Struggling: No file was changed in the last 3 iterations/);
    await window.shot("struggle");
    agent.busy();
    await told.getByText("Resume").click();
    assert.equal(await window.waitForStatus(/done/), "$(pass) Ralph 5/50 · done");
    assert.equal(await background(window), "none");
    await window.close();
  });

  test("that ended meanwhile answers a stale button in words", async () => {
    const place = await folder("moot", { "ralphLoop.planMode": true });
    const window = await Window.open(browser, server, place);
    const twin = await Window.open(browser, server, place);
    await window.command("Ralph Loop: Start Loop");
    await window.answer("Plan it");
    await window.waitForStatus(/review/);
    const told = window.notification("1 staged change for you to approve");
    await told.waitFor();
    await twin.command("Ralph Loop: Cancel");
    await window.waitForStatus(/Ralph$/);
    await told.getByText("Review").click();
    await window.notification(/nothing to review.*the loop is cancelled at iteration 1/i).waitFor();
    await window.shot("moot");
    await twin.close();
    await window.close();
  });

  test("that was stuck and is cancelled answers a stale Resume in words", async () => {
    const agent = new Agent(await folder("given-up", { "ralphLoop.pauseOnStruggle": true }, { idle: "", finish: "5" }));
    const window = await Window.open(browser, server, agent.folder);
    await window.command("Ralph Loop: Start Loop");
    await window.answer("Try harder");
    await window.waitForStatus(/struggling/);
    const told = window.notification(/because it struggles/);
    await told.waitFor();
    await window.command("Ralph Loop: Cancel");
    await window.waitForStatus(/Ralph$/);
    await told.getByText("Resume").click();
    await window.notification("There is nothing to resume: the loop is cancelled at iteration 3 of 50.").waitFor();
    await window.close();
  });
});
