/** Tree items from rows. */

import { join } from "node:path";
import * as vscode from "vscode";

import type { Row } from "./rows";

/** `id` keeps selection and expansion when a view is drawn again. */
export function treeItem(id: string, row: Row, state = vscode.TreeItemCollapsibleState.None): vscode.TreeItem {
  const item = new vscode.TreeItem(row.label, state);
  item.id = id;
  item.description = row.description;
  item.tooltip = row.tooltip;
  item.iconPath = new vscode.ThemeIcon(
    row.icon,
    row.color === undefined ? undefined : new vscode.ThemeColor(row.color),
  );
  item.contextValue = row.context;
  return item;
}

/** A file with the icon of its kind; the command opens its diff. */
export function fileItem(
  id: string,
  row: Row,
  place: { workspace: string; path: string },
  open: vscode.Command,
): vscode.TreeItem {
  const item = treeItem(id, row);
  item.resourceUri = vscode.Uri.file(join(place.workspace, place.path));
  item.iconPath = vscode.ThemeIcon.File;
  item.command = open;
  return item;
}
