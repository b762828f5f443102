/** The browser that shows the windows of a test file. */

import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { type BrowserContext, chromium } from "playwright-core";

import { watchClipboard } from "./clipboard";
import { ROOT } from "./server";

/** Generous: it ends a test that hangs; on a quiet machine nothing takes a tenth of it. */
export const LIMIT_MS = 60_000;
export const VIEWPORT = { width: 1280, height: 800 };
export const SCREENSHOTS = join(ROOT, "screenshots");

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
  // no animations: drawn by software, they take a quarter of all processor time
  const context = await browser.newContext({ viewport: VIEWPORT, colorScheme: "dark", reducedMotion: "reduce" });
  context.setDefaultTimeout(LIMIT_MS);
  await context.addInitScript(watchClipboard);
  return context;
}

/** Also ends the browser. */
export async function closeBrowser(context: BrowserContext): Promise<void> {
  await context.browser()?.close();
}
