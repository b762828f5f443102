/** What went wrong, in words and with the buttons that help. Pure. */

import { ERRORS } from "./protocol";
import { words } from "./text";

export interface Refusal {
  message: string;
  buttons: Button[];
}

export interface Button {
  title: string;
  command: string;
  arguments?: unknown[];
}

const SELECT_AGENT: Button = { title: "Select Agent", command: "ralphLoop.selectAgent" };
const SHOW_STATUS: Button = { title: "Show Status", command: "ralphLoop.showStatus" };
const SHOW_LOG: Button = { title: "Show Log", command: "ralphLoop.showHelperLog" };
const TRY_AGAIN: Button = { title: "Try Again", command: "ralphLoop.restartHelper" };
const SETTINGS: Button = {
  title: "Settings",
  command: "workbench.action.openSettings",
  arguments: ["ralphLoop.helper"],
};
const REVIEW: Button = { title: "Review", command: "ralphLoop.showStaged" };
const TRUST: Button = { title: "Manage Workspace Trust", command: "workbench.trust.manage" };

/** A command that does not make sense now. Its message is what the person reads. */
export class RefusedError extends Error {
  override name = "RefusedError";

  constructor(
    message: string,
    readonly buttons: Button[] = [],
  ) {
    super(message);
  }
}

/** A command that was tried and did not work: an error, with what to do. */
export class FailedError extends RefusedError {
  override name = "FailedError";
}

export function untrusted(): RefusedError {
  return new RefusedError(
    "No loop can be started or changed in Restricted Mode, because an agent runs what a repository contains. Trust the workspace first.",
    [TRUST],
  );
}

export function refusal(error: unknown): Refusal {
  if (error instanceof RefusedError) return { message: error.message, buttons: error.buttons };
  const data = dataOf(error);
  switch (codeOf(error)) {
    case ERRORS.repoBusy:
      return { message: words(error), buttons: [SHOW_STATUS] };
    case ERRORS.agentNotFound:
      return { message: withHint(words(error), data.installHint), buttons: [SELECT_AGENT] };
    case ERRORS.treeChanged:
      return { message: treeChanged(data.paths, words(error)), buttons: [REVIEW] };
    case ERRORS.untrusted:
      return { message: words(error), buttons: [TRUST] };
    case ERRORS.notAvailable:
      return { message: "The helper that runs cannot do this yet. Update it.", buttons: [SHOW_LOG] };
    case ERRORS.processesLeft:
      return { message: words(error), buttons: [SHOW_LOG] };
    case undefined:
      if (error instanceof Error && error.name === "HelperError") {
        return { message: error.message, buttons: [TRY_AGAIN, SHOW_LOG, SETTINGS] };
      }
      return { message: words(error), buttons: [SHOW_LOG] };
    default:
      return { message: withHint(withoutKey(words(error)), data.hint), buttons: [] };
  }
}

function treeChanged(paths: unknown, otherwise: string): string {
  const names = Array.isArray(paths) ? paths.filter((path): path is string => typeof path === "string") : [];
  if (names.length === 0) return otherwise;
  const shown = names.slice(0, 5).join(", ");
  const more = names.length > 5 ? ` and ${names.length - 5} more` : "";
  const [was, files, they] = names.length === 1 ? ["was", "the file", "it"] : ["were", "the files", "they"];
  return `Nothing was applied, because ${shown}${more} ${was} changed after the agent saw ${they === "it" ? "it" : "them"}. Put ${files} back as ${they} ${was}, or reject the change and say why: the agent then sees yours.`;
}

/** The helper names the key of what it refuses; a person does not know those that were not typed. */
function withoutKey(message: string): string {
  return message.replace(/^(workspace|url|directory|name|branch|path|paths\[\d+\]|operationIds): /, "");
}

/** The code of a JSON-RPC error. */
export function codeOf(error: unknown): number | undefined {
  const code = (error as { code?: unknown } | undefined)?.code;
  return error instanceof Error && typeof code === "number" ? code : undefined;
}

function dataOf(error: unknown): Record<string, unknown> {
  const data = (error as { data?: unknown } | undefined)?.data;
  return typeof data === "object" && data !== null ? (data as Record<string, unknown>) : {};
}

function withHint(message: string, hint: unknown): string {
  return typeof hint === "string" && hint && !message.includes(hint) ? `${message} ${hint}` : message;
}
