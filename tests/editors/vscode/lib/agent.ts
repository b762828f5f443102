/** An agent for tests, as the user's own command: it goes on when the test says so. */

import { existsSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";

/**
 * Fails with what a file `fail` says, if there is one. Else it prints numbered lines on both streams, repeats the hints it was given,
 * changes work.txt unless there is a file `idle`, waits while there is a file `hold`, prints as many lines as a file `flood` says,
 * and promises to be done in the iteration named in `finish` (default 3) or later. What is in a file `also` is done first.
 */
const SCRIPT = `
[ -e fail ] && { cat fail >&2; exit 1; }
[ -e also ] && . ./also
echo "begin $1"
grep -o 'HINT-[a-z0-9]*' "$2" | sort -u | sed 's/^/saw /'
[ -e idle ] || echo "work $1" >> work.txt
n=0
[ -e flood ] && [ "$1" = 1 ] && seq -f "flood %.0f" 1 "$(cat flood)"
while [ $n -lt 60 ]; do n=$((n+1)); echo "line $1.$n"; done
echo "warning $1" >&2
while [ -e hold ]; do sleep 0.05; done
echo "end $1"
if [ "$1" -ge "$(cat finish 2>/dev/null || echo 3)" ]; then echo "<promise>COMPLETE</promise>"; fi
`;

/** The setting `ralphLoop.command` for it. */
export function agentCommand(home: string): string[] {
  const path = join(home, "agent.sh");
  writeFileSync(path, SCRIPT);
  return ["sh", path, "{iteration}", "{prompt_file}"];
}

export class Agent {
  constructor(readonly folder: string) {}

  hold(): void {
    writeFileSync(join(this.folder, "hold"), "");
  }

  release(): void {
    rmSync(join(this.folder, "hold"), { force: true });
  }

  /** From now on it fails, and says why. */
  fail(why: string): void {
    writeFileSync(join(this.folder, "fail"), `${why}\n`);
  }

  recover(): void {
    rmSync(join(this.folder, "fail"));
  }

  /** From now on it changes a file in each iteration. */
  busy(): void {
    rmSync(join(this.folder, "idle"));
  }

  get work(): string {
    const path = resolve(this.folder, "work.txt");
    return existsSync(path) ? readFileSync(path, "utf8") : "";
  }
}

/** What one iteration prints, between its lines "begin" and "end". */
export function printed(iteration: number): string[] {
  return [...Array(60).keys()].map((n) => `line ${iteration}.${n + 1}`);
}
