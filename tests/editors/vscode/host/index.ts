/** Runs inside the extension host: what VS Code loads as `extensionTestsPath`. */

import Mocha from "mocha";

import * as commands from "./commands";
import * as documents from "./documents";
import * as settings from "./settings";

export function run(): Promise<void> {
  const mocha = new Mocha({ ui: "bdd", timeout: 60_000, reporter: "spec", color: false });
  mocha.suite.emit("pre-require", globalThis, "", mocha);
  for (const { define } of [commands, documents, settings]) define();
  return new Promise((done, failed) => {
    mocha.run((failures) => {
      if (failures > 0) failed(new Error(`${failures} tests in the extension host failed`));
      else done();
    });
  });
}
