/** Options of one loop: a list of what can be changed, with its value, until the person goes on. */

import * as vscode from "vscode";

import type { Ctx } from "./ctx";
import type { LoopConfig } from "./protocol";
import { pickAgent, pickModel, pickPreset } from "./select";
import { loopSetting, modelFor } from "./settings";

type Options = Partial<LoopConfig>;

interface Option extends vscode.QuickPickItem {
  edit?: () => Promise<void>;
}

/** What the person changed, or undefined when they left. */
export async function editOptions(ctx: Ctx): Promise<Options | undefined> {
  const options: Options = {};
  const settings = vscode.workspace.getConfiguration("ralphLoop");
  const value = <K extends keyof LoopConfig>(key: K) => options[key] ?? loopSetting(settings, key);
  const settingOf = (key: "model" | "preset") =>
    key === "model" ? modelFor(settings, options.agent) : (loopSetting(settings, key)?.trim() ?? "");
  const asSet = (key: "model" | "preset", none: string) =>
    settingOf(key) ? `As in the settings: ${settingOf(key)}` : none;
  const text = (key: "agent" | "completionPromise", none: string) => value(key)?.trim() || none; // eslint-disable-line @typescript-eslint/prefer-nullish-coalescing -- empty means not set

  const number = (key: "maxIterations" | "minIterations" | "maxFailures", label: string, lowest: number): Option => ({
    label,
    description: key === "maxIterations" && value(key) === 0 ? "no limit" : String(value(key)),
    edit: async () => {
      const entered = await vscode.window.showInputBox({
        title: label,
        value: String(value(key)),
        prompt: key === "maxIterations" ? "0 means no limit" : "",
        validateInput: (input) =>
          /^\d{1,9}$/.test(input.trim()) && Number(input) >= lowest ? undefined : `A whole number from ${lowest}`,
      });
      if (entered !== undefined) options[key] = Number(entered);
    },
  });
  const toggle = (
    key: "planMode" | "tasksMode" | "autoCommit" | "pauseOnStruggle" | "allowAll",
    label: string,
    detail: string,
  ): Option => ({
    label,
    description: value(key) ? "$(check) on" : "off",
    detail,
    edit: () => {
      options[key] = !value(key);
      return Promise.resolve();
    },
  });
  const menu = (): Option[] => [
    { label: "$(play) Enter the prompt and start" },
    { label: "What runs", kind: vscode.QuickPickItemKind.Separator },
    {
      label: "Agent",
      description: text("agent", "the first one installed"),
      edit: async () => keep("agent", await pickAgent(ctx)),
    },
    {
      label: "Model",
      description: options.model ?? (settingOf("model") || "the agent's own default"),
      edit: async () => keep("model", await pickModel(ctx, options.agent, asSet("model", "The agent's own default"))),
    },
    {
      label: "Preset",
      description: options.preset ?? (settingOf("preset") || "none"),
      edit: async () => keep("preset", await pickPreset(ctx, { label: asSet("preset", "No preset") })),
    },
    { label: "When it ends", kind: vscode.QuickPickItemKind.Separator },
    number("maxIterations", "Most iterations", 0),
    number("minIterations", "Fewest iterations", 1),
    number("maxFailures", "Failures in a row that end it", 1),
    {
      label: "Completion promise",
      description: text("completionPromise", "COMPLETE"),
      edit: async () =>
        keep(
          "completionPromise",
          await vscode.window.showInputBox({
            title: "Completion promise",
            value: text("completionPromise", "COMPLETE"),
          }),
        ),
    },
    { label: "How it works", kind: vscode.QuickPickItemKind.Separator },
    toggle("planMode", "Plan mode", "Changes wait for your approval before they reach your files"),
    toggle("tasksMode", "Tasks mode", "Works through .ralph/ralph-tasks.md, one task after the other"),
    toggle("autoCommit", "Commit each iteration", "Commits exactly the files that the iteration changed"),
    toggle("pauseOnStruggle", "Pause when it struggles", "No progress, or the same error again"),
    toggle("allowAll", "Allow everything", "The agent may use every tool without asking"),
  ];
  const keep = (key: "agent" | "model" | "preset" | "completionPromise", chosen: string | undefined) => {
    if (key === "agent" && chosen && chosen !== (options.agent ?? settings.get("agent"))) {
      Reflect.deleteProperty(options, "model"); // another agent's model name means nothing here
    }
    if (chosen) options[key] = chosen;
    else if (chosen === "") Reflect.deleteProperty(options, key);
  };
  for (;;) {
    const chosen = await vscode.window.showQuickPick(menu(), {
      title: "Ralph Loop: Start Loop with Options",
      placeHolder: "Change what you like for this loop; settings stay as they are",
      ignoreFocusOut: true,
    });
    if (!chosen) return undefined;
    if (!chosen.edit) return options;
    await chosen.edit();
  }
}
