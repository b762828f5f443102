/** A VS Code window in a browser, driven as a person would. */

import { join } from "node:path";
import type { BrowserContext, Locator, Page } from "playwright-core";

import { LIMIT_MS, SCREENSHOTS, VIEWPORT } from "./browser";
import type { CodeServer } from "./server";

const STATUS = '.statusbar-item[id="ralph-loop.ralph-loop.ralphLoop.status"]';
const PALETTE_ROW = ".quick-input-widget .monaco-list-row";
const PALETTE_MS = 10_000;

export class Window {
  constructor(readonly page: Page) {}

  static async open(browser: BrowserContext, server: CodeServer, folder?: string): Promise<Window> {
    const page = await browser.newPage();
    const window = new Window(page);
    await page.goto(server.url(folder));
    await window.ready();
    return window;
  }

  async ready(): Promise<void> {
    await this.page.locator(".monaco-workbench .part.statusbar").waitFor({ timeout: 2 * LIMIT_MS });
    await this.item.waitFor({ timeout: 2 * LIMIT_MS });
  }

  async reload(): Promise<void> {
    await this.page.reload();
    await this.ready();
  }

  async close(): Promise<void> {
    await this.page.close();
  }

  get item(): Locator {
    return this.page.locator(STATUS);
  }

  /** The status bar item's text, icons as `$(name)`. */
  async status(): Promise<string> {
    return this.item.evaluate((element) => {
      const icon = element.querySelector(".codicon");
      const name = icon
        ? [...icon.classList].find((c) => c.startsWith("codicon-") && !c.startsWith("codicon-modifier"))
        : undefined;
      const spin = icon?.classList.contains("codicon-modifier-spin") ? "~spin" : "";
      const text = (element.textContent || "").trim();
      return name ? `$(${name.slice("codicon-".length)}${spin}) ${text}` : text;
    });
  }

  /** Waits until the status bar item says so. Fails with all that it said meanwhile. */
  async waitForStatus(pattern: RegExp, timeout = LIMIT_MS): Promise<string> {
    const seen: string[] = [];
    const end = Date.now() + timeout;
    for (;;) {
      const text = await this.status();
      if (pattern.test(text)) return text;
      if (seen.at(-1) !== text) seen.push(text);
      if (Date.now() > end) {
        throw new Error(`The status bar never said ${pattern}; it said: ${seen.join(" | ")}\n${await this.#told()}`);
      }
      await this.page.waitForTimeout(30);
    }
  }

  /** Runs a command from the palette, as a person: only what is offered can be run. */
  async command(title: string): Promise<void> {
    // the whole title: what was used last comes first, and may only begin so
    const whole = new RegExp(`^${title.replace(/[.*+?^${}()|[\]\\]/g, "\\$&")}…?$`);
    const label = this.page.locator(".label-name", { hasText: whole });
    const row = this.page.locator(PALETTE_ROW, { has: label }).first();
    const run = async () => {
      await this.openPalette(title);
      return isDone(row.click({ timeout: PALETTE_MS }));
    };
    await this.until(`${title} in the palette`, run, (done) => done, 2 * LIMIT_MS);
  }

  /** Titles of our commands that the palette offers. */
  async offered(): Promise<string[]> {
    // a list draws what fits: the window is made so tall that all of it does
    await this.page.setViewportSize({ ...VIEWPORT, height: 2_400 });
    await this.openPalette("Ralph Loop: ");
    const list = this.page.locator(".quick-input-list .monaco-list");
    const look = () =>
      list.evaluate((element) => ({
        isWhole: (element.querySelector<HTMLElement>(".monaco-list-rows")?.offsetHeight ?? 0) <= element.clientHeight,
        titles: [...element.querySelectorAll(".label-name")].map((label) => label.textContent),
      }));
    const { titles } = await this.until(
      "the whole list of our commands",
      look,
      (seen) => seen.isWhole && seen.titles.some((title) => title.startsWith("Ralph Loop: ")),
    );
    await this.page.keyboard.press("Escape");
    await this.page.setViewportSize(VIEWPORT);
    return titles;
  }

  /** The palette closes when anything else takes the focus, an editor that is still opening for one: then it is opened
   * again. */
  private async openPalette(text: string): Promise<void> {
    const input = this.page.locator(".quick-input-widget:visible .quick-input-box input");
    const open = async () => {
      await this.page.keyboard.press("F1");
      return (
        (await isDone(input.waitFor({ timeout: PALETTE_MS }))) && isDone(input.fill(`>${text}`, { timeout: 3000 }))
      );
    };
    await this.until("the palette", open, (done) => done);
  }

  /** Answers the input box or quick pick that is open. */
  async answer(text: string): Promise<void> {
    await this.type(text);
    await this.page.keyboard.press("Enter");
  }

  async type(text: string): Promise<void> {
    const input = this.page.locator(".quick-input-widget:visible .quick-input-box input");
    await input.waitFor();
    await input.fill(text);
  }

  /** Chooses a row of the quick pick that is open. */
  async choose(text: string | RegExp): Promise<void> {
    await this.page.locator(PALETTE_ROW, { hasText: text }).first().click();
  }

  rows(): Locator {
    return this.page.locator(PALETTE_ROW);
  }

  /** Visible lines of the output panel. */
  async output(): Promise<string[]> {
    return readable(await this.page.locator(".part.panel .view-lines .view-line").allTextContents());
  }

  /** What the output channel has of its last loop, also what is not on the screen. */
  async outputOfLastLoop(): Promise<string> {
    const text = await this.outputText();
    return text.slice(Math.max(0, text.lastIndexOf("▶ ")));
  }

  /** All of the output channel, also what is not on the screen. */
  async outputText(): Promise<string> {
    await this.page
      .locator(".part.panel .monaco-editor")
      .first()
      .click({ position: { x: 200, y: 10 } });
    await this.page.keyboard.press("Control+a");
    await this.page.evaluate(() => {
      sessionStorage.removeItem("copied");
    });
    await this.page.keyboard.press("Control+c");
    const copied = () => this.page.evaluate(() => sessionStorage.getItem("copied") ?? "");
    return this.until("a copy of the output", copied, (text) => text !== "");
  }

  async openFile(name: string): Promise<void> {
    await this.page.keyboard.press("Control+p");
    const input = this.page.locator(".quick-input-widget:visible .quick-input-box input");
    await input.fill(name);
    await this.choose(name);
    await this.page.locator(".tab.active", { hasText: name }).waitFor();
  }

  async closeEditors(): Promise<void> {
    await this.command("View: Close All Editors");
    await this.page.locator(".part.editor .tab").first().waitFor({ state: "detached" });
  }

  /** Opens our views in the side bar. */
  async openViews(): Promise<void> {
    await this.page.locator(".part.activitybar .action-item", { has: this.page.getByLabel(/^Ralph Loop/) }).click();
    await this.page.locator(".part.sidebar .title", { hasText: "Ralph Loop" }).waitFor();
  }

  /** A row of the views in the side bar. */
  row(text: string | RegExp): Locator {
    return this.page.locator(".part.sidebar .pane-body .monaco-list-row", { hasText: text });
  }

  /** A row of the view Repositories. */
  repositoryRow(name: string | RegExp): Locator {
    return this.pane("Repositories").locator(".monaco-list-row", { hasText: name });
  }

  /** One of the views in the side bar. */
  pane(title: string): Locator {
    const header = this.page.locator(".pane-header .title", { hasText: title });
    return this.page.locator(".part.sidebar .pane", { has: header });
  }

  /** Chooses the action of that title in the menu of a view's title. */
  async viewAction(view: string, title: string): Promise<void> {
    const header = this.pane(view).locator(".pane-header");
    await this.#choose(title, async () => {
      await header.hover();
      await header.locator('.action-label[aria-label*="More Actions"]').click();
    });
  }

  /** Answers the dialog that asks for a folder. It writes where it begins when it has read that folder: not before. */
  async chooseFolder(path: string, button: string): Promise<void> {
    const dialog = this.page.locator(".quick-input-widget:visible");
    const accept = dialog.getByRole("button", { name: button });
    await accept.waitFor();
    await dialog.locator(".monaco-list-row", { hasText: ".." }).first().waitFor();
    // while it still reads a folder, the dialog takes no answer, and may write the folder's name over what was typed
    const choose = async () => {
      if (!(await accept.isVisible())) return true;
      await this.type(path);
      const typed = await dialog.locator("input:not([type=checkbox])").first().inputValue();
      if (typed !== path && typed !== `${path}/`) return false;
      await accept.click();
      return isDone(accept.waitFor({ state: "hidden", timeout: 3000 }));
    };
    await this.until(`${path} chosen`, choose, (chosen) => chosen);
  }

  /** A click is lost when the view draws its rows anew at that moment: then it is made again. */
  async expand(text: string): Promise<void> {
    const row = this.row(text);
    const expanded = row.and(this.page.locator('[aria-expanded="true"]'));
    const expand = async () => {
      if ((await row.getAttribute("aria-expanded")) === "true") return true;
      await row.locator(".monaco-tl-twistie").click();
      return isDone(expanded.waitFor({ timeout: 3000 }));
    };
    await this.until(`${text} expanded`, expand, (done) => done);
  }

  /** The action of that title in the menu of a row. */
  async menu(row: string | Locator, title: string): Promise<Locator> {
    const place = typeof row === "string" ? this.row(row) : row;
    return this.#open(title, () => place.click({ button: "right" }));
  }

  /** Chooses an action in the menu of a row. */
  async act(row: string | Locator, title: string): Promise<void> {
    const place = typeof row === "string" ? this.row(row) : row;
    await this.#choose(title, () => place.click({ button: "right" }));
  }

  /** The action of that title in a menu. The menu closes when anything else takes the focus, an editor that is still
   * opening for one: then it is opened again. */
  async #open(title: string, open: () => Promise<void>): Promise<Locator> {
    const action = this.page.locator(".context-view .action-label").getByText(title, { exact: true });
    const show = async () => {
      await this.page.keyboard.press("Escape");
      await open();
      return isDone(action.waitFor({ timeout: 3000 }));
    };
    await this.until(`${title} in a menu`, show, (shown) => shown);
    return action;
  }

  async #choose(title: string, open: () => Promise<void>): Promise<void> {
    const choose = async () => {
      const action = await this.#open(title, open);
      // a menu takes no click in its first 100 ms: then it is still there after it
      while (await isDone(action.click({ timeout: 3000 })))
        if (await isDone(action.waitFor({ state: "hidden", timeout: 3000 }))) return true;
      return false; // it closed before the click
    };
    await this.until(`${title} chosen`, choose, (chosen) => chosen);
  }

  /** What the status bar item tells when the mouse rests on it. */
  async tooltip(): Promise<string> {
    await this.item.hover();
    const hover = this.page.locator(".monaco-hover:visible", { hasText: "Ralph Loop" });
    await hover.waitFor();
    return (await hover.innerText()).replaceAll("\u00a0", " ");
  }

  /** From now on, notes how long the page does nothing else at most. */
  async watchForFreezes(): Promise<void> {
    await this.page.evaluate(() => {
      let last = performance.now();
      setInterval(() => {
        const now = performance.now();
        document.body.dataset.freeze = String(Math.max(Number(document.body.dataset.freeze ?? 0), now - last));
        last = now;
      }, 50);
    });
  }

  /** Milliseconds. */
  async longestFreeze(): Promise<number> {
    return this.page.evaluate(() => Number(document.body.dataset.freeze));
  }

  /** Visible lines of the active editor. */
  async editor(): Promise<string[]> {
    return readable(await this.page.locator(".part.editor .editor-instance .view-lines .view-line").allTextContents());
  }

  /** What is on the screen, for a test that fails. */
  async #told(): Promise<string> {
    await this.page.screenshot({ path: join(SCREENSHOTS, "when-a-test-failed.png") });
    const told = await this.page.locator(".notifications-toasts .notification-list-item").allTextContents();
    return `Notifications: ${told.join(" | ") || "none"}. See screenshots/when-a-test-failed.png.`;
  }

  notification(text: string | RegExp): Locator {
    return this.page.locator(".notifications-toasts .notification-list-item", {
      hasText: text,
    });
  }

  /** Clears the notifications. VS Code drops what would be the fourth toast within 0.8 s (no person is as fast), and a
   * progress that can be cancelled stays at least that long: it is let go by itself first. */
  async noToasts(): Promise<void> {
    await this.notification("Cancel").first().waitFor({ state: "detached" });
    await this.command("Notifications: Clear All Notifications");
    await this.notification("").first().waitFor({ state: "detached" });
  }

  /** A picture in the dark theme and one in the light one. */
  async shot(name: string): Promise<void> {
    for (const [colorScheme, theme] of [
      ["light", ".vs"],
      ["dark", ".vs-dark"],
    ] as const) {
      await this.page.emulateMedia({ colorScheme });
      await this.page.locator(`.monaco-workbench${theme}`).waitFor();
      // colours change over time: the picture shows what they change to
      await this.page.screenshot({ path: join(SCREENSHOTS, `${name}-${colorScheme}.png`), animations: "disabled" });
    }
  }

  /** Waits for a condition on the page; fails with what was last seen. */
  async until<T>(what: string, look: () => Promise<T>, fits: (seen: T) => boolean, timeout = LIMIT_MS): Promise<T> {
    const end = Date.now() + timeout;
    for (;;) {
      const seen = await look();
      if (fits(seen)) return seen;
      if (Date.now() > end)
        throw new Error(`${what} did not come; last seen: ${JSON.stringify(seen)}\n${await this.#told()}`);
      await this.page.waitForTimeout(50);
    }
  }
}

/** Whether a step was done within its time; else it is tried again. */
function isDone(step: Promise<void>): Promise<boolean> {
  return step.then(
    () => true,
    () => false,
  );
}

function readable(lines: string[]): string[] {
  return lines.map((line) => line.replaceAll("\u00a0", " ").replaceAll("\u200c", ""));
}
