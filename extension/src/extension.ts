/** Ralph Loop in VS Code: the helper owns the loops, this draws them. */

import type * as vscode from "vscode";

import { AskNotifications } from "./asks/notifications";
import { registerCommands } from "./commands";
import { Ctx } from "./ctx";
import { Notifier } from "./notify";
import { registerOutputLinks } from "./output/links";
import { StatusBar } from "./statusBar";
import { Views } from "./tree/views";
import { FileSides } from "./views/files";
import { Pages } from "./views/pages";

let ctx: Ctx | undefined; // VS Code calls deactivate without what activate made

export function activate(context: vscode.ExtensionContext): void {
  ctx = new Ctx(context);
  const views = new Views(ctx);
  context.subscriptions.push(
    ctx,
    new StatusBar(ctx),
    new Notifier(ctx),
    new AskNotifications(ctx),
    new FileSides(ctx.connection),
    new Pages(ctx),
    registerOutputLinks(),
    views,
    registerCommands(ctx, views),
  );
  void ctx.connection.connect();
}

export async function deactivate(): Promise<void> {
  await ctx?.connection.close();
}
