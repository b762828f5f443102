/** Editor settings, as the helper wants them: only what a person really set, never a default of ours. */

import type { LoopConfig } from "./protocol";

export type Binaries = Record<string, string>;

/** What `initializationOptions` carries, and `ralphLoop` in `workspace/didChangeConfiguration`. */
export interface HelperSettings {
  config: Partial<LoopConfig>;
  binaries?: Binaries;
}

export type NotificationLevel = "all" | "important" | "needed" | "off";

type Kind = "string" | "integer" | "boolean" | "strings";

/** Settings that are keys of a loop's configuration. */
export const LOOP_SETTINGS = {
  agent: "string",
  model: "string",
  rotation: "strings",
  preset: "string",
  template: "string",
  minIterations: "integer",
  maxIterations: "integer",
  maxFailures: "integer",
  completionPromise: "string",
  abortPromise: "string",
  tasksMode: "boolean",
  taskPromise: "string",
  planMode: "boolean",
  allowAll: "boolean",
  autoCommit: "boolean",
  iterationTimeoutMs: "integer",
  inactivityTimeoutMs: "integer",
  maxDurationMs: "integer",
  pauseOnStruggle: "boolean",
  iterationDelayMs: "integer",
  agentArgs: "strings",
  command: "strings",
} as const satisfies Record<keyof LoopConfig, Kind>;

/** The part of `WorkspaceConfiguration` that is needed here. */
export interface Configuration {
  get(key: string): unknown;
  inspect(
    key: string,
  ):
    | { defaultValue?: unknown; globalValue?: unknown; workspaceValue?: unknown; workspaceFolderValue?: unknown }
    | undefined;
}

/** Settings of a wrong type are left out and told to `warn`: one typing error must not keep the helper from starting. */
export function helperSettings(configuration: Configuration, warn: (message: string) => void): HelperSettings {
  const config: Record<string, unknown> = {};
  for (const [key, kind] of Object.entries(LOOP_SETTINGS)) {
    const value = setValue(configuration, key);
    if (value === undefined || value === null || value === "") continue;
    if (fits(value, kind)) config[key] = value;
    else warn(`The setting ralphLoop.${key} is not ${article(kind)}: it is left out.`);
  }
  const binaries = strings(setValue(configuration, "binaries"));
  return Object.keys(binaries).length > 0 ? { config, binaries } : { config };
}

/** The value that counts for a loop: one of a wrong type is left out, as for the helper. */
export function loopSetting<K extends keyof LoopConfig>(
  configuration: Configuration,
  key: K,
): LoopConfig[K] | undefined {
  const value = configuration.get(key);
  const counts = fits(value, LOOP_SETTINGS[key]) ? value : configuration.inspect(key)?.defaultValue;
  return counts as LoopConfig[K] | undefined;
}

/** The model that the settings give an agent, "" for none: theirs is not for another agent than theirs. */
export function modelFor(configuration: Configuration, agent: string | undefined): string {
  const own = configuration.get("agent");
  const model = configuration.get("model");
  return (agent && own && agent !== own) || typeof model !== "string" ? "" : model.trim();
}

/** The value that counts if a person set it, else undefined. */
export function setValue(configuration: Configuration, key: string): unknown {
  const found = configuration.inspect(key);
  const isSet = [found?.globalValue, found?.workspaceValue, found?.workspaceFolderValue].some((v) => v !== undefined);
  return isSet ? configuration.get(key) : undefined;
}

/** The entries of an object that are non-empty strings. */
export function strings(value: unknown): Record<string, string> {
  if (typeof value !== "object" || value === null) return {};
  return Object.fromEntries(
    Object.entries(value).filter((entry): entry is [string, string] => typeof entry[1] === "string" && entry[1] !== ""),
  );
}

function fits(value: unknown, kind: Kind): boolean {
  switch (kind) {
    case "integer":
      return Number.isSafeInteger(value);
    case "strings":
      return Array.isArray(value) && value.every((item) => typeof item === "string");
    case "string":
    case "boolean":
      return typeof value === kind;
  }
}

function article(kind: Kind): string {
  return { string: "a text", integer: "a whole number", boolean: "true or false", strings: "a list of texts" }[kind];
}
