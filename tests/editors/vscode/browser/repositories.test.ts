/** The list of repositories: cloned, found by a scan, and used with a remote; all of them real ones on disk. */

import assert from "node:assert/strict";
import { once } from "node:events";
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { type AddressInfo, createServer } from "node:net";
import { basename, join } from "node:path";
import { after, before, describe, test } from "node:test";
import type { BrowserContext, Locator } from "playwright-core";

import { Agent, agentCommand } from "../lib/agent";
import { closeBrowser, launchBrowser } from "../lib/browser";
import { CodeServer, git, HELPER, repository } from "../lib/server";
import { Window } from "../lib/window";

let server: CodeServer;
let browser: BrowserContext;
let window: Window;
let agent: Agent;
let remote: string;

before(async () => {
  server = await CodeServer.start({
    settings: { "ralphLoop.agent": "custom" },
    machine: (home) => ({ "ralphLoop.helper.path": HELPER, "ralphLoop.command": agentCommand(home) }),
  });
  agent = new Agent(await repository(server, "shop", { finish: "1" }));
  remote = join(server.home, "remotes/shop.git");
  await git(server, server.home, "clone", "-q", "--bare", agent.folder, remote);
  await git(server, agent.folder, "remote", "add", "origin", remote);
  await git(server, agent.folder, "fetch", "-q");
  await git(server, agent.folder, "branch", "-q", "-u", "origin/main");
  browser = await launchBrowser();
  window = await Window.open(browser, server, agent.folder);
  await window.openViews();
});

after(async () => {
  await closeBrowser(browser);
  await server.stop();
});

const place = (...names: string[]) => {
  const path = join(server.home, ...names);
  mkdirSync(path, { recursive: true });
  return path;
};

const box = (text: string): Locator => window.page.locator(".quick-input-widget:visible", { hasText: text });

async function clone(url: string, parent: string): Promise<void> {
  await window.command("Ralph Loop: Clone Repository");
  await box("Where to clone from").waitFor();
  await window.answer(url);
  await window.chooseFolder(parent, "Clone Here");
}

/** Commits a file and pushes it, as somebody else does. */
async function pushedByOthers(name: string): Promise<void> {
  const other = join(server.home, "other");
  if (!existsSync(other)) await git(server, server.home, "clone", "-q", remote, other);
  writeFileSync(join(other, name), "theirs\n");
  await git(server, other, "add", name);
  await git(server, other, "commit", "-q", "-m", name);
  await git(server, other, "push", "-q");
}

describe("a repository with a remote", () => {
  test("pulls what others pushed", async () => {
    await pushedByOthers("first.txt");
    await window.act(window.repositoryRow("shop"), "Pull");
    await window.until("what was pulled", () => Promise.resolve(existsSync(join(agent.folder, "first.txt"))), Boolean);
  });

  test("commits what is staged and nothing else", async () => {
    writeFileSync(join(agent.folder, "mine.txt"), "mine\n");
    writeFileSync(join(agent.folder, "loose.txt"), "loose\n");
    await git(server, agent.folder, "add", "mine.txt");
    await window.act(window.repositoryRow("shop"), "Commit…");
    await box("1 staged file will be committed").waitFor();
    await window.answer("Mine, not what is loose");
    await window.repositoryRow(/shop.*main.*↑1.*1 changed/).waitFor();
    assert.equal(
      await git(server, agent.folder, "log", "-1", "--format=%s", "--name-only"),
      "Mine, not what is loose\n\nmine.txt",
    );
    assert.equal(await git(server, agent.folder, "status", "--porcelain"), "?? loose.txt");
  });

  test("says why a push is rejected, and pushes when that is mended", async () => {
    await pushedByOthers("second.txt");
    await window.act(window.repositoryRow("shop"), "Push");
    const rejected = window.notification(/Push in shop failed: .*\[rejected\].*fetch first/);
    await rejected.waitFor();
    await window.shot("push-rejected");
    await rejected.getByText("Pull", { exact: true }).click();
    await window.notification(/Pull in shop failed: .*divergent branches/).waitFor();
    await git(server, agent.folder, "pull", "-q", "--rebase");
    await window.act(window.repositoryRow("shop"), "Push");
    const head = await git(server, agent.folder, "rev-parse", "HEAD");
    await window.until(
      "the push",
      () => git(server, remote, "rev-parse", "main"),
      (sha) => sha === head,
    );
    await window.repositoryRow("↑").waitFor({ state: "detached" });
  });

  test("checks out a branch, and a new one", async () => {
    await git(server, agent.folder, "branch", "feature");
    await window.act(window.repositoryRow("shop"), "Checkout…");
    await window.rows().filter({ hasText: "feature" }).waitFor();
    await window.shot("checkout");
    await window.choose("feature");
    await window.repositoryRow(/shop.*feature/).waitFor();
    await window.act(window.repositoryRow("shop"), "Checkout…");
    await window.choose("Create new branch");
    await box("Name of the new branch").waitFor();
    await window.answer("topic");
    await window.repositoryRow(/shop.*topic/).waitFor();
    assert.equal(await git(server, agent.folder, "branch", "--show-current"), "topic");
  });

  test("does nothing while a loop works there, unless it shall all the same", async () => {
    agent.hold();
    await window.command("Ralph Loop: Start Loop");
    await window.answer("Hold on");
    await window.waitForStatus(/1\/50$/);
    const dialog = window.page.locator(".monaco-dialog-box", { hasText: "Checkout in shop while a loop works there?" });
    const create = async () => {
      await window.act(window.repositoryRow("shop"), "Checkout…");
      await window.choose("Create new branch");
      await window.answer("meanwhile");
      await dialog.waitFor();
    };
    await create();
    await window.shot("while-a-loop-works");
    await dialog.getByRole("button", { name: "Cancel" }).click();
    await dialog.waitFor({ state: "detached" });
    await create(); // nothing was made, and nothing else is asked
    assert.equal(await git(server, agent.folder, "branch", "--list", "meanwhile"), "");
    await dialog.getByRole("button", { name: "Checkout Anyway" }).click();
    await window.repositoryRow(/shop.*meanwhile/).waitFor();
    assert.equal(await dialog.count(), 0, "one question for both");
    await git(server, agent.folder, "checkout", "-q", "topic");
    await window.command("Ralph Loop: Cancel");
    await window.waitForStatus(/Ralph$/);
    agent.release();
    rmSync(join(agent.folder, "work.txt"));
  });

  test("says what conflicts in a pull", async () => {
    await git(server, agent.folder, "checkout", "-q", "main");
    await git(server, join(server.home, "other"), "pull", "-q");
    await pushedByOthers("both.txt");
    writeFileSync(join(agent.folder, "both.txt"), "ours\n");
    await git(server, agent.folder, "add", "both.txt");
    await git(server, agent.folder, "commit", "-q", "-m", "Ours");
    await git(server, agent.folder, "config", "pull.rebase", "false");
    await window.act(window.repositoryRow("shop"), "Pull");
    await window.notification(/Pull in shop failed: CONFLICT \(add\/add\): Merge conflict in both\.txt/).waitFor();
    await window.shot("pull-conflict");
    await git(server, agent.folder, "merge", "--abort");
    await git(server, agent.folder, "reset", "-q", "--hard", "HEAD~");
    await git(server, agent.folder, "checkout", "-q", "topic");
    await window.noToasts();
  });

  test("commits no file with conflicts in it", async () => {
    await git(server, agent.folder, "checkout", "-q", "-b", "theirs", "main");
    writeFileSync(join(agent.folder, "README.md"), "theirs\n");
    await git(server, agent.folder, "commit", "-q", "-a", "-m", "theirs");
    await git(server, agent.folder, "checkout", "-q", "-b", "ours", "main");
    writeFileSync(join(agent.folder, "README.md"), "ours\n");
    await git(server, agent.folder, "commit", "-q", "-a", "-m", "ours");
    await assert.rejects(git(server, agent.folder, "merge", "-q", "theirs"));
    await window.act(window.repositoryRow("shop"), "Commit…");
    await window.notification("1 file in shop has conflicts (README.md). Resolve and stage").waitFor();
    await window.shot("commit-conflicts");
    assert.equal(await git(server, agent.folder, "diff", "--name-only", "--diff-filter=U"), "README.md");
    await git(server, agent.folder, "merge", "--abort");
    await git(server, agent.folder, "checkout", "-q", "topic");
  });
});

describe("cloning a repository", () => {
  test("is in the view's menu; the clone is listed, and a loop can be started in it at once", async () => {
    const parent = place("clones");
    await window.viewAction("Repositories", "Clone Repository…");
    await box("Where to clone from").waitFor();
    await window.shot("clone-url");
    await window.answer(remote);
    await window.chooseFolder(parent, "Clone Here");
    const told = window.notification(`shop was cloned into ${join(parent, "shop")}`);
    await told.waitFor();
    await window.shot("cloned");
    assert.equal(readFileSync(join(parent, "shop/README.md"), "utf8"), "# shop\n");
    for (const place of ["clones", basename(server.home)])
      await window.repositoryRow(new RegExp(`shop${place} `)).waitFor();
    await told.getByText("Start Loop", { exact: true }).click();
    await window.answer("Work in the clone");
    await window.until(
      "what the agent did in the clone",
      () => Promise.resolve(existsSync(join(parent, "shop/work.txt"))),
      Boolean,
    );
    assert.ok(!existsSync(join(agent.folder, "work.txt")));
  });

  test("does not take its past loops along when its folder goes", async () => {
    const [folder, away] = [join(server.home, "clones/shop"), join(server.home, "clones/moved")];
    renameSync(folder, away);
    await window.command("Ralph Loop: Refresh Loops");
    await window.expand("the folder is gone");
    await window.row("Work in the clone").waitFor();
    await window.shot("loops-folder-gone");
    renameSync(away, folder);
    await window.command("Ralph Loop: Refresh Loops");
    await window.row("the folder is gone").waitFor({ state: "detached" });
  });

  test("that fails says why in git's words, and what is there already stays", async () => {
    const parent = place("clones");
    await clone(join(server.home, "nowhere.git"), parent);
    await window.notification(/could not be cloned: repository '.*nowhere\.git' does not exist/).waitFor();
    await window.shot("clone-failed");
    await window.noToasts();
    await clone(remote, parent);
    await window.notification(/shop exists already\. Choose another directory/).waitFor();
    await window.noToasts();
    await clone("ext::sh -c date", parent);
    await window.notification(/^.*cannot be cloned; use one of https, http, ssh, git, file/).waitFor();
    assert.deepEqual(readdirSync(parent), ["shop"]);
  });

  test("is cancelled from its notification, and leaves nothing", async (t) => {
    const parent = place("cancelled");
    const silent = createServer(); // takes the connection and never answers
    t.after(() => silent.close());
    silent.listen(0, "127.0.0.1");
    await once(silent, "listening");
    const { port } = silent.address() as AddressInfo;
    const connected = once(silent, "connection");
    await clone(`git://127.0.0.1:${port}/slow.git`, parent);
    const [socket] = (await connected) as [NodeJS.Socket];
    const closed = once(socket.resume(), "close");
    const told = window.notification("Cloning into cancelled");
    await told.waitFor();
    assert.equal(readdirSync(parent).length, 1, "git has begun");
    await window.shot("cloning");
    await told.getByText("Cancel", { exact: true }).click();
    await closed;
    await told.waitFor({ state: "detached" });
    await window.until(
      "nothing left of it",
      () => Promise.resolve(readdirSync(parent)),
      (names) => names.length === 0,
    );
  });
});

describe("scanning for repositories", () => {
  test("tells how many were found, and lists those that are chosen", async () => {
    await repository(server, "work/api");
    await repository(server, "work/group/web");
    await repository(server, "work/node_modules/not-mine");
    await window.viewAction("Repositories", "Scan for Repositories…");
    await window.chooseFolder(place("work"), "Scan");
    const found = window.page.locator('.quick-input-widget input[placeholder^="2 repositories found in work."]');
    await found.waitFor();
    assert.equal(await window.rows().count(), 2);
    await window.shot("scan");
    await window.choose("api"); // it was chosen, and no longer is
    await window.page.locator(".quick-input-widget:visible").getByRole("button", { name: "OK" }).click();
    await window.notification("1 repository added to the list").waitFor();
    await window.repositoryRow("web").waitFor();
    assert.equal(await window.repositoryRow("api").count(), 0);
  });

  test("lists no repository as trusted: git works in one after it was opened, and says so before it asks", async () => {
    await window.act(window.repositoryRow("web"), "Commit…");
    const told = window.notification("web is not trusted, and git would run what it contains.");
    await told.getByText("Open in New Window", { exact: true }).waitFor();
    await window.shot("repository-untrusted");
    await window.noToasts();
    const [folder, away] = [place("work/group/web"), join(server.home, "away")];
    renameSync(folder, away);
    await window.act(window.repositoryRow("web"), "Pull"); // the row does not know yet
    await window.notification(`The folder of web is gone (${folder}). Put it back, or remove it`).waitFor();
    await window.repositoryRow(/web.*the folder is gone/).waitFor();
    renameSync(away, folder);
    await window.noToasts();
  });

  test("says so when there is none, or none that is new", async () => {
    await window.command("Ralph Loop: Scan for Repositories");
    await window.chooseFolder(place("nothing/here"), "Scan");
    await window.notification("No repository was found in here.").waitFor();
    await window.noToasts();
    await window.command("Ralph Loop: Scan for Repositories");
    await window.chooseFolder(place("work/group"), "Scan");
    await window.notification("1 repository found in group, listed already.").waitFor();
  });
});
