/** Search over everything that loops have said and done. */

import * as vscode from "vscode";

import type { Ctx } from "../ctx";
import { openDocument } from "../views/pages";
import type { SearchHit } from "../protocol";
import { iconless, moment, words } from "../text";

/** After the last key: a search for each letter would only be thrown away. */
const PAUSE_MS = 200;
const LIMIT = 50;

type Item = vscode.QuickPickItem & { hit?: SearchHit };

export async function search(ctx: Ctx): Promise<void> {
  await ctx.connection.ensure();
  const pick = vscode.window.createQuickPick<Item>();
  pick.title = "Ralph Loop: Search History";
  // the newest first, as they come: VS Code would sort them by their text. It takes this, though its types do not have it
  Object.assign(pick, { sortByLabel: false });
  pick.placeholder = "Words in prompts, messages, errors and output of all loops";
  let timer: NodeJS.Timeout | undefined;
  let shown = "";
  const look = async () => {
    const text = pick.value.trim();
    if (!text) {
      pick.items = [];
      return;
    }
    pick.busy = true;
    try {
      const { hits } = await ctx.connection.request("ralph/search", { text, limit: LIMIT });
      if (pick.value.trim() !== text) return;
      pick.items = hits.length > 0 ? [...hits.map(hitItem), ...rest(hits)] : [nothing(text)];
      shown = text;
    } catch (error) {
      pick.items = [{ label: `$(error) ${words(error)}`, alwaysShow: true }];
    } finally {
      pick.busy = false;
    }
  };
  const chosen = await new Promise<SearchHit | undefined>((resolve) => {
    pick.onDidChangeValue(() => {
      clearTimeout(timer);
      timer = setTimeout(() => void look(), PAUSE_MS);
    });
    pick.onDidAccept(() => {
      const hit = pick.activeItems[0]?.hit;
      if (hit && shown === pick.value.trim()) {
        resolve(hit);
        return;
      }
      clearTimeout(timer); // Enter came before what is asked for was found
      void look();
    });
    pick.onDidHide(() => {
      resolve(undefined);
    });
    pick.show();
  });
  clearTimeout(timer);
  pick.dispose();
  if (chosen) await open(chosen);
}

export function hitItem(hit: SearchHit): Item {
  return {
    label: iconless(hit.excerpt.replace(/\s+/g, " ").trim()),
    description: `${hit.where} · ${moment(hit.at, new Date())}`,
    alwaysShow: true, // the helper has matched it already
    hit,
  };
}

function rest(hits: SearchHit[]): Item[] {
  if (hits.length < LIMIT) return [];
  return [{ label: `Only the first ${LIMIT} are shown. More words find fewer.`, alwaysShow: true }];
}

function nothing(text: string): Item {
  return { label: `Nothing found for “${iconless(text)}”`, alwaysShow: true };
}

/** Output where it was found, else the loop's history. */
async function open({ runId, where }: SearchHit): Promise<void> {
  if (runId === undefined) return;
  const output = /^(?:stdout|stderr|display) of iteration (\d+)$/.exec(where);
  if (output) await openDocument({ kind: "output", runId, iteration: Number(output[1]), after: 0 });
  else await openDocument({ kind: "history", runId });
}
