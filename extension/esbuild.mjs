// Bundles the extension into dist/; with --tests the editor tests into out/ too. --production for the package.
import { fileURLToPath } from "node:url";
import * as esbuild from "esbuild";

const here = (path) => fileURLToPath(new URL(path, import.meta.url));
const production = process.argv.includes("--production");
const common = {
  absWorkingDir: here("."),
  bundle: true,
  platform: "node",
  // VS Code 1.82 brings Node 18
  target: "node18",
  format: "cjs",
  logLevel: "warning",
};

const builds = [
  {
    ...common,
    entryPoints: ["src/extension.ts"],
    outfile: "dist/extension.js",
    external: ["vscode"],
    minify: production,
    sourcemap: !production,
  },
];

if (process.argv.includes("--tests")) {
  for (const [folder, entry] of [
    ["unit", "../tests/editors/unit/*.test.ts"],
    ["browser", "../tests/editors/vscode/browser/*.ts"],
    ["host", "../tests/editors/vscode/host/*.ts"],
    ["other", "../tests/editors/other/*.ts"],
  ]) {
    builds.push({
      ...common,
      entryPoints: [entry],
      outdir: `out/${folder}`,
      // the tests live outside this folder; what they import is installed here
      nodePaths: [here("node_modules")],
      external: ["vscode", "playwright-core", "mocha"],
      sourcemap: "inline",
    });
  }
}

if (process.argv.includes("--watch")) {
  for (const build of builds) await (await esbuild.context(build)).watch();
} else {
  await Promise.all(builds.map((build) => esbuild.build(build)));
}
