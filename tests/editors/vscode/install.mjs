// Installs a real VS Code (code-server) into .cache, from the npm registry alone. Prints its folder.
// Usage: node install.mjs [oldest]    (the oldest VS Code that the extension promises to run in, else a newer one)
//
// Idempotent: a finished install is used as it is. It is built beside its place and moved there when it is whole,
// so a half-finished one is never used. Needs a C++ compiler (two native modules) and Debian's chromium and ripgrep.
import { execFileSync } from "node:child_process";
import {
  existsSync,
  mkdirSync,
  readFileSync,
  realpathSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { createRequire } from "node:module";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";

const isOldest = process.argv[2] === "oldest";
// VS Code 1.82, as `engines` of the extension says, and 1.100, the last one that runs on Node 20
const VERSION = isOldest ? "4.17.1" : "4.100.3";
const cache = resolve(dirname(fileURLToPath(import.meta.url)), "../../../.cache");
const target = join(cache, isOldest ? "code-server-oldest" : "code-server");
// native modules fit one Node version only
const stamp = `code-server ${VERSION}, node ${process.versions.modules}\n`;

/** Where `include/node` of the running Node lies, for native modules without a download of headers. */
function nodeDirectory() {
  const prefix = resolve(dirname(process.execPath), "..");
  if (!existsSync(join(prefix, "include/node/node.h"))) {
    throw new Error(`The headers of Node are missing (${prefix}/include/node). Install the nodejs development files.`);
  }
  return prefix;
}

function run(command, args, cwd, env = {}) {
  try {
    execFileSync(command, args, {
      cwd,
      env: { ...process.env, ...env },
      stdio: ["ignore", "pipe", "pipe"],
      encoding: "utf8",
    });
  } catch (error) {
    throw new Error(`${command} ${args.join(" ")} (in ${cwd}) failed:\n${error.stdout ?? ""}${error.stderr ?? error}`);
  }
}

function program(name) {
  return execFileSync("sh", ["-c", `command -v ${name}`], {
    encoding: "utf8",
  }).trim();
}

/** The one that npm brings. Not by `npm root -g`: inside `npm --prefix … run` that is another place. */
function nodeGyp() {
  const npm = process.env.npm_execpath ?? realpathSync(program("npm"));
  return createRequire(npm).resolve("node-gyp/bin/node-gyp.js");
}

function isReady() {
  const file = join(target, "ready");
  return existsSync(file) && readFileSync(file, "utf8") === stamp;
}

function install() {
  const building = `${target}.${process.pid}`;
  rmSync(building, { recursive: true, force: true });
  mkdirSync(building, { recursive: true });
  try {
    writeFileSync(join(building, "package.json"), '{"private": true}\n');
    const npm = (args, cwd, env) => run("npm", [...args, "--no-audit", "--no-fund"], cwd, env);
    npm(["install", "--ignore-scripts", `code-server@${VERSION}`], building);
    const root = join(building, "node_modules/code-server");
    const vscode = join(root, "lib/vscode");
    // the older one was made with yarn, which does not look at peers
    const production = ["install", "--ignore-scripts", "--omit=dev", "--legacy-peer-deps"];
    npm(production, vscode);
    npm(production, join(vscode, "extensions"));
    const node = nodeDirectory();
    const gyp = nodeGyp();
    const modules = join(building, "node_modules");
    // most of the time is the compiler's, and nothing here is so fast that it shows
    const quick = { CFLAGS: "-O0", CXXFLAGS: "-O0" };
    const preGyp = join(modules, "@mapbox/node-pre-gyp/bin/node-pre-gyp");
    // its own install script would download; npm may be told not to run it
    run(process.execPath, [preGyp, "install", "--build-from-source"], join(modules, "argon2"), {
      npm_config_node_gyp: gyp,
      npm_config_nodedir: node,
      ...quick,
    });
    // without spdlog output channels stay empty, without node-pty there is no terminal
    for (const name of ["@vscode/spdlog", "node-pty"]) {
      run(process.execPath, [gyp, "rebuild", `--nodedir=${node}`], join(vscode, "node_modules", name), quick);
    }
    symlinkSync("node_modules", join(vscode, "node_modules.asar"));
    const bin = join(vscode, "node_modules/@vscode/ripgrep/bin");
    mkdirSync(bin, { recursive: true });
    symlinkSync(program("rg"), join(bin, "rg"));
    writeFileSync(join(building, "ready"), stamp);
    rmSync(target, { recursive: true, force: true });
    renameSync(building, target);
  } finally {
    rmSync(building, { recursive: true, force: true });
  }
}

if (!isReady()) {
  console.error(`Installing code-server ${VERSION} into .cache (once, about a minute)`);
  install();
}
console.log(target);
