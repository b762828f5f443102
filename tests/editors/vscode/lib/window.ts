/** A VS Code window in a browser, driven as a person would. */

import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { type BrowserContext, chromium, type Locator, type Page } from "playwright-core";

import { type CodeServer, ROOT } from "./server";

const STATUS = '.statusbar-item[id="ralph-loop.ralph-loop.ralphLoop.status"]';
const PALETTE_ROW = ".quick-input-widget .monaco-list-row";
const LIMIT_MS = 60_000;
const SCREENSHOTS = join(ROOT, "screenshots");

/** One profile for all windows of a test file: what the first one loads, the others have at once. */
export async function launchBrowser(): Promise<BrowserContext> {
  mkdirSync(SCREENSHOTS, { recursive: true });
  const browser = await chromium.launch({
    executablePath: "/usr/bin/chromium",
    args: [
      "--no-sandbox",
      "--disable-gpu",
      "--disable-quic",
      "--no-first-run",
      "--disable-background-networking",
      "--disable-component-update",
      "--disable-sync",
    ],
  });
  const context = await browser.newContext({ viewport: { width: 1280, height: 800 }, colorScheme: "dark" });
  // generous: these end a test that hangs; on a quiet machine nothing takes a tenth of it
  context.setDefaultTimeout(LIMIT_MS);
  await context.addInitScript(watchClipboard);
  return context;
}

/** Also ends the browser. */
export async function closeBrowser(context: BrowserContext): Promise<void> {
  await context.browser()?.close();
}

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
      if (Date.now() > end) throw new Error(`The status bar never said ${pattern}; it said: ${seen.join(" | ")}`);
      await this.page.waitForTimeout(30);
    }
  }

  /** Runs a command from the palette, as a person: only what is offered can be run. */
  async command(title: string): Promise<void> {
    await this.openPalette(title);
    const row = this.page.locator(PALETTE_ROW, { hasText: title }).first();
    await row.click();
  }

  /** Titles that the palette offers for a text. */
  async offered(text: string): Promise<string[]> {
    await this.openPalette(text);
    await this.page.locator(PALETTE_ROW).first().waitFor();
    const titles = await this.page.locator(`${PALETTE_ROW} .label-name`).allTextContents();
    await this.page.keyboard.press("Escape");
    return titles;
  }

  private async openPalette(text: string): Promise<void> {
    await this.page.keyboard.press("F1");
    const input = this.page.locator(".quick-input-widget:visible .quick-input-box input");
    await input.waitFor();
    await input.fill(`>${text}`);
  }

  /** Answers the input box or quick pick that is open. */
  async answer(text: string): Promise<void> {
    const input = this.page.locator(".quick-input-widget:visible .quick-input-box input");
    await input.waitFor();
    await input.fill(text);
    await this.page.keyboard.press("Enter");
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

  notification(text: string | RegExp): Locator {
    return this.page.locator(".notifications-toasts .notification-list-item", {
      hasText: text,
    });
  }

  /** A picture in the dark theme and one in the light one. */
  async shot(name: string): Promise<void> {
    for (const [colorScheme, theme] of [
      ["light", ".vs"],
      ["dark", ".vs-dark"],
    ] as const) {
      await this.page.emulateMedia({ colorScheme });
      await this.page.locator(`.monaco-workbench${theme}`).waitFor();
      await this.page.screenshot({ path: join(SCREENSHOTS, `${name}-${colorScheme}.png`) });
    }
  }

  /** Waits for a condition on the page; fails with what was last seen. */
  async until<T>(what: string, look: () => Promise<T>, fits: (seen: T) => boolean, timeout = LIMIT_MS): Promise<T> {
    const end = Date.now() + timeout;
    for (;;) {
      const seen = await look();
      if (fits(seen)) return seen;
      if (Date.now() > end) throw new Error(`${what} did not come; last seen: ${JSON.stringify(seen)}`);
      await this.page.waitForTimeout(50);
    }
  }
}

/** Runs in the page. A browser without a person does not give its clipboard: what is put there is kept beside it. */
function watchClipboard(): void {
  const keep = (text: string) => {
    sessionStorage.setItem("copied", text);
  };
  window.addEventListener("copy", (event) => {
    keep(event.clipboardData?.getData("text/plain") ?? "");
  });
  navigator.clipboard.writeText = (text) => {
    keep(text);
    return Promise.resolve();
  };
}

function readable(lines: string[]): string[] {
  return lines.map((line) => line.replaceAll("\u00a0", " ").replaceAll("\u200c", ""));
}
