// Opens the packaged extension with a demo repository: in the `code` on PATH, else in the VS Code of the tests in a
// browser. Everything it writes stays in .run/code. Usage: node code.mjs PATH_TO_VSIX
import { execFileSync, spawn, spawnSync } from "node:child_process";
import { existsSync, mkdirSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { dirname, join, resolve } from "node:path";

const root = resolve(import.meta.dirname, "../../..");
const vsix = resolve(process.argv[2] ?? "");
const run = join(root, ".run/code");
const repository = join(run, "demo-repo");
const places = ["--user-data-dir", join(run, "user"), "--extensions-dir", join(run, "extensions")];
const env = { ...process.env, RALPH_LOOP_DATA_DIR: join(run, "data") };

function write(path, text) {
  mkdirSync(dirname(path), { recursive: true });
  if (!existsSync(path)) writeFileSync(path, text);
}

write(join(repository, "README.md"), "# Demo\n\nClick *Ralph* in the status bar, and say what the agent shall do.\n");
write(
  join(run, "user/User/settings.json"),
  JSON.stringify({ "workbench.startupEditor": "readme", "ralphLoop.agent": "demo" }),
);
if (!existsSync(join(repository, ".git"))) {
  const git = (...args) =>
    execFileSync("git", ["-c", "user.name=Demo", "-c", "user.email=demo@localhost", ...args], { cwd: repository });
  git("init", "--quiet");
  git("add", "--all");
  git("commit", "--quiet", "--message", "Begin");
}

if (spawnSync("sh", ["-c", "command -v code"]).status === 0) {
  execFileSync("code", [...places, "--install-extension", vsix, "--force"], { stdio: "inherit", env });
  spawn("code", [...places, "--new-window", repository], { env, detached: true, stdio: "ignore" }).unref();
  console.log(`VS Code opens ${repository}. Look for "Ralph" at the left of its status bar.`);
} else {
  const folder = execFileSync(process.execPath, [join(import.meta.dirname, "install.mjs")], {
    encoding: "utf8",
  }).trim();
  const entry = join(folder, "node_modules/code-server/out/node/entry.js");
  write(join(run, "empty.yaml"), "");
  const common = [entry, "--config", join(run, "empty.yaml"), ...places];
  env.EXTENSIONS_GALLERY = '{"serviceUrl":""}';
  execFileSync(process.execPath, [...common, "--install-extension", vsix, "--force"], { stdio: "inherit", env });
  const port = await freePort();
  const flags = [
    "--auth",
    "none",
    "--disable-telemetry",
    "--disable-update-check",
    "--disable-getting-started-override",
  ];
  const server = spawn(process.execPath, [...common, "--bind-addr", `127.0.0.1:${port}`, ...flags], {
    env,
    stdio: ["ignore", "ignore", "inherit"],
  });
  for (const signal of ["SIGINT", "SIGTERM"]) process.on(signal, () => server.kill());
  server.on("exit", (code) => process.exit(code ?? 0));
  console.log(`\nOpen  http://127.0.0.1:${port}/?folder=${encodeURIComponent(repository)}`);
  console.log('Look for "Ralph" at the left of the status bar: a click starts a loop. Ctrl+C here ends VS Code.\n');
}

async function freePort() {
  const probe = createServer();
  await new Promise((done) => probe.listen(0, "127.0.0.1", done));
  const { port } = probe.address();
  await new Promise((done) => probe.close(done));
  return port;
}
