// Runs the tests in editors: `node run.mjs [unit | host | browser | other | browser/loop …]`, all tests without a name;
// `node run.mjs --failed`: the files that failed the last time.
import { execFile, execFileSync } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join, resolve } from "node:path";
import { run } from "node:test";
import { spec } from "node:test/reporters";
import { promisify } from "node:util";

const here = import.meta.dirname;
const root = resolve(here, "../..");
const extension = join(root, "extension");
const out = join(extension, "out");
const all = ["browser", "host", "other", "unit"];
const failed = join(root, ".cache/editor-tests-failed.json");
const wanted = process.argv.slice(2);
const kinds = wanted[0] === "--failed" ? lastFailed() : wanted.length ? wanted : all;

const isWanted = (name) => kinds.some((kind) => kind.startsWith(name));
const [server] = await Promise.all([
  isWanted("browser") && installVSCode(),
  isWanted("host") && installVSCode("oldest"), // its tests run in the oldest VS Code that is promised
]);
if (server) installExtension(server);
execFileSync(process.execPath, ["esbuild.mjs", "--tests"], { cwd: extension, stdio: "inherit" });

const names = kinds.flatMap((kind) => {
  const [folder, name] = kind.split("/");
  const files = readdirSync(join(out, folder)).filter((file) => file.endsWith(".test.js"));
  return files.map((file) => `${folder}/${file.slice(0, -".test.js".length)}`).filter((file) => !name || file === kind);
});
// each file has a VS Code and a browser of its own: two at a time keep two cores busy
const bad = new Set();
const files = names.map((name) => join(out, `${name}.test.js`));
process.chdir(extension);
const tests = run({ files, concurrency: 2, timeout: 900_000 });
tests.on("test:fail", ({ file }) => bad.add(names[files.indexOf(file)] ?? "?"));
tests.compose(new spec()).pipe(process.stdout);
await once(tests, "end");
mkdirSync(dirname(failed), { recursive: true });
writeFileSync(failed, JSON.stringify(bad.has("?") ? names : [...bad]));
process.exitCode = bad.size ? 1 : 0;

function lastFailed() {
  const names = existsSync(failed) ? JSON.parse(readFileSync(failed, "utf8")) : [];
  return names.length ? names : all;
}

/** The folder of a VS Code. */
async function installVSCode(...which) {
  const argv = [join(here, "vscode/install.mjs"), ...which];
  const installing = promisify(execFile)(process.execPath, argv, { encoding: "utf8" });
  installing.child.stderr.pipe(process.stderr); // it takes its time, and says so
  return (await installing).stdout.trim();
}

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
