/** After an upgrade: what the old helper left. No `vscode` here. */

import { readFile, rm } from "node:fs/promises";

import { type Bundle, others } from "./install";
import type { Requests } from "./requests";

type Method = "ralph/health" | "ralph/service/status" | "ralph/service/install";
export type Ask = <M extends Method>(method: M, params: Requests[M][0]) => Promise<Requests[M][1]>;

/**
 * Removes the installs of other versions, once the helper that answers is `version`: an older one may still run loops
 * from its folder. A service that starts from an old install is written again first.
 */
export async function removeOld(storage: string, bundle: Bundle, version: string, ask: Ask): Promise<void> {
  const folders = await others(storage, bundle);
  if (folders.length === 0) return;
  const health = await ask("ralph/health", {});
  if (health.version !== version) return;
  if (!(await serviceFits(bundle, ask))) {
    // the new service takes over from the helper that runs, and that pauses its loops
    if (health.activeLoops > 0) return;
    await ask("ralph/service/install", {});
    if (!(await serviceFits(bundle, ask))) return;
  }
  for (const folder of folders) await rm(folder, { recursive: true, force: true });
}

/** There is no service, or it starts the helper of this bundle: its unit names the Python of the install. */
async function serviceFits({ id }: Bundle, ask: Ask): Promise<boolean> {
  const { installed, unitPath } = await ask("ralph/service/status", {});
  if (!installed || unitPath === undefined) return true;
  return (await readFile(unitPath, "utf8")).includes(`/${id}/`);
}
