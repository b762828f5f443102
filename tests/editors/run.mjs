// Runs the tests in editors: `node run.mjs [unit | browser | host | neovim …]`, all tests without a name.
import { execFileSync, spawnSync } from "node:child_process";
import { readdirSync } from "node:fs";
import { join, resolve } from "node:path";

const here = import.meta.dirname;
const extension = resolve(here, "../../extension");
const kinds = process.argv.length > 2 ? process.argv.slice(2) : ["unit", "host", "browser", "neovim"];

if (kinds.includes("browser") || kinds.includes("host")) {
  execFileSync(process.execPath, [join(here, "vscode/install.mjs")], { stdio: ["ignore", "ignore", "inherit"] });
}
execFileSync(process.execPath, ["esbuild.mjs", "--tests"], { cwd: extension, stdio: "inherit" });

const files = kinds.flatMap((kind) => {
  const folder = join(extension, "out", kind);
  return readdirSync(folder)
    .filter((name) => name.endsWith(".test.js"))
    .map((name) => join(folder, name));
});
const { status } = spawnSync(process.execPath, ["--test", "--test-reporter=spec", ...files], {
  cwd: extension,
  stdio: "inherit",
});
process.exit(status ?? 1);
