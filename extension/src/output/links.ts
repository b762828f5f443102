/** Makes links of what the output channel says about left out text and iterations. */

import * as vscode from "vscode";

import { FULL_OUTPUT } from "./render";
import { OUTPUT_LANGUAGE } from "./panel";

export function registerOutputLinks(): vscode.Disposable {
  return vscode.languages.registerDocumentLinkProvider(
    { scheme: "output", language: OUTPUT_LANGUAGE },
    { provideDocumentLinks: links },
  );
}

function links(document: vscode.TextDocument): vscode.DocumentLink[] {
  const text = document.getText();
  const found: vscode.DocumentLink[] = [];
  for (let at = text.indexOf(FULL_OUTPUT); at >= 0; at = text.indexOf(FULL_OUTPUT, at + 1)) {
    const start = document.positionAt(at);
    if (!document.lineAt(start.line).text.startsWith("⋯")) continue;
    const range = new vscode.Range(start, start.translate(0, FULL_OUTPUT.length));
    const link = new vscode.DocumentLink(range, vscode.Uri.parse("command:ralphLoop.openFullOutput"));
    link.tooltip = "Open all of the output in an editor";
    found.push(link);
  }
  return found;
}
