/** Choosing an agent, a model, a preset: from what the helper knows. */

import * as vscode from "vscode";

import { codeOf } from "./refusal";
import type { Ctx } from "./ctx";
import { type Backend, ERRORS, type Preset } from "./protocol";
import { iconless } from "./text";

/** The chosen agent's id; undefined when the person left. */
export async function pickAgent(ctx: Ctx): Promise<string | undefined> {
  const items = backends(ctx).then((all) => {
    const [here, missing] = [all.filter((agent) => agent.installed), all.filter((agent) => !agent.installed)];
    return [
      ...here.map((agent) => item(agent)),
      ...(missing.length > 0 ? [{ label: "not installed", kind: vscode.QuickPickItemKind.Separator }] : []),
      ...missing.map((agent) => item(agent)),
    ];
  });
  const chosen = await vscode.window.showQuickPick<vscode.QuickPickItem & { id?: string }>(items, {
    title: "Ralph Loop: Select Agent",
    placeHolder: "The program that does the work",
    matchOnDescription: true,
  });
  return chosen?.id;
}

/** The chosen model; "" for `none`. `agent`: whose models, else of the configured agent. */
export async function pickModel(
  ctx: Ctx,
  agent?: string,
  none = "The agent's own default",
): Promise<string | undefined> {
  const settings = vscode.workspace.getConfiguration("ralphLoop");
  const id = agent ?? settings.get<string>("agent");
  const models = (await backends(ctx)).find((backend) => backend.id === id)?.models ?? [];
  const current = settings.get<string>("model");
  const other = "$(edit) Another model…";
  const items: vscode.QuickPickItem[] = [
    { label: none, ...(current ? {} : { description: "current" }) },
    ...models.map((model) => ({ label: model, ...(model === current ? { description: "current" } : {}) })),
    { label: other },
  ];
  const chosen = await vscode.window.showQuickPick(items, {
    title: "Ralph Loop: Select Model",
    placeHolder: id ? `for ${id}` : "Model",
  });
  if (chosen?.label === none) return "";
  if (chosen?.label !== other) return chosen?.label;
  const typed = await vscode.window.showInputBox({
    title: "Ralph Loop: Model",
    prompt: "As the agent calls it",
    value: current ?? "",
  });
  return typed?.trim();
}

/** The chosen preset; "" for `none`. */
export async function pickPreset(
  ctx: Ctx,
  none: vscode.QuickPickItem = { label: "No preset", description: "the prompt as it is" },
): Promise<string | undefined> {
  const items = presets(ctx).then((all) => [
    none,
    ...all.map(({ id, title, description, source }) => ({
      label: iconless(title),
      description: source === "builtin" ? id : `${id} · ${source}`,
      detail: iconless(description),
      id,
    })),
  ]);
  const chosen = await vscode.window.showQuickPick<vscode.QuickPickItem & { id?: string }>(items, {
    title: "Ralph Loop: Select Preset",
    placeHolder: "Working instructions around the prompt",
    matchOnDescription: true,
  });
  return chosen === none ? "" : chosen?.id;
}

export async function selectAgent(ctx: Ctx): Promise<void> {
  await save("agent", await pickAgent(ctx));
}

export async function selectModel(ctx: Ctx): Promise<void> {
  await save("model", await pickModel(ctx));
}

export async function selectPreset(ctx: Ctx): Promise<void> {
  await save("preset", await pickPreset(ctx));
}

/** Into the workspace's settings if it has its own value there, else into the user's. */
async function save(key: string, value: string | undefined): Promise<void> {
  if (value === undefined) return;
  const settings = vscode.workspace.getConfiguration("ralphLoop");
  const inWorkspace = settings.inspect(key)?.workspaceValue !== undefined;
  const target = inWorkspace ? vscode.ConfigurationTarget.Workspace : vscode.ConfigurationTarget.Global;
  await settings.update(key, value || undefined, target);
}

function item(agent: Backend): vscode.QuickPickItem & { id: string } {
  const current = vscode.workspace.getConfiguration("ralphLoop").get<string>("agent") === agent.id;
  const facts = [agent.id, agent.version, current ? "current" : undefined].filter(Boolean).join(" · ");
  return {
    id: agent.id,
    label: agent.name,
    description: facts,
    ...(agent.installed ? (agent.path ? { detail: agent.path } : {}) : { detail: agent.installHint }),
    iconPath: new vscode.ThemeIcon(agent.installed ? "hubot" : "circle-slash"),
  };
}

async function backends(ctx: Ctx): Promise<Backend[]> {
  return (await ctx.connection.request("ralph/config/backends", {})).backends;
}

async function presets(ctx: Ctx): Promise<Preset[]> {
  try {
    const workspace = ctx.folder?.uri.fsPath;
    return (await ctx.connection.request("ralph/config/presets", workspace === undefined ? {} : { workspace })).presets;
  } catch (error) {
    if (codeOf(error) === ERRORS.notAvailable) return [];
    throw error;
  }
}
