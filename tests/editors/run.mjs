// Runs the tests in editors: `node run.mjs [unit | host | browser | neovim | browser/loop …]`, all tests without a name.
import { execFileSync, spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";

const here = import.meta.dirname;
const root = resolve(here, "../..");
const extension = join(root, "extension");
const out = join(extension, "out");
const kinds = process.argv.length > 2 ? process.argv.slice(2) : ["browser", "host", "neovim", "unit"];

if (kinds.some((kind) => /^(browser|host)/.test(kind))) {
  const options = { stdio: ["ignore", "pipe", "inherit"], encoding: "utf8" };
  const server = execFileSync(process.execPath, [join(here, "vscode/install.mjs")], options).trim();
  if (kinds.some((kind) => kind.startsWith("browser"))) installExtension(server);
}
execFileSync(process.execPath, ["esbuild.mjs", "--tests"], { cwd: extension, stdio: "inherit" });

const files = kinds.flatMap((kind) => {
  const [folder, name] = kind.split("/");
  const wanted = name ? (file) => file === `${name}.test.js` : (file) => file.endsWith(".test.js");
  return readdirSync(join(out, folder))
    .filter(wanted)
    .map((file) => join(out, folder, file));
});
// each file has a VS Code and a browser of its own: two at a time keep two cores busy
const { status } = spawnSync(process.execPath, ["--test", "--test-concurrency=2", "--test-reporter=spec", ...files], {
  cwd: extension,
  stdio: "inherit",
});
process.exit(status ?? 1);

/** Installs the package as a person does, once: the servers of all test files take a copy (see `lib/server.ts`). */
function installExtension(server) {
  const { version } = JSON.parse(readFileSync(join(extension, "package.json"), "utf8"));
  const extensions = join(out, "extensions");
  rmSync(extensions, { recursive: true, force: true });
  mkdirSync(extensions, { recursive: true });
  const home = mkdtempSync(join(tmpdir(), "rl-"));
  try {
    writeFileSync(join(home, "empty.yaml"), "");
    const places = ["--config", "empty.yaml", "--user-data-dir", join(home, "ud"), "--extensions-dir", extensions];
    const vsix = join(root, `dist/ralph-loop-${version}.vsix`);
    execFileSync(
      process.execPath,
      [join(server, "node_modules/code-server/out/node/entry.js"), ...places, "--install-extension", vsix],
      {
        cwd: home,
        env: { ...process.env, HOME: home, EXTENSIONS_GALLERY: '{"serviceUrl":""}' },
        stdio: ["ignore", "ignore", "inherit"],
      },
    );
  } finally {
    rmSync(home, { recursive: true, force: true });
  }
}
