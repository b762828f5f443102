/** Why git failed, in its own words. Pure. */

/** Why a clone failed: git's own words, without its progress and without the place it worked in meanwhile. */
export function cloneFailure(stderr: string): string {
  const said = stderr
    .split(/[\r\n]+/)
    .map((line) => line.trim())
    .filter((line) => line && !/\d+%|, done\.$/.test(line));
  const reasons = said.filter((line) => /^(fatal|error|remote|ssh|.*: Permission denied)\b/.test(line));
  const shown = (reasons.length > 0 ? reasons : said.slice(-1)).slice(0, 4);
  return shown.map((line) => line.replace(/^(fatal|error): /, "")).join(" · ") || "git does not say why.";
}

/** Why another command of git failed, without its advice for a terminal and without where it pushed to. */
export function gitFailure({ stdout, stderr }: { stdout: string; stderr: string }): string {
  const said = (stderr.trim() || stdout.trim()).split(/\s*\n\s*/);
  const reasons = said.filter((line) => !/^(hint:|To )/.test(line));
  return (reasons.length > 0 ? reasons : said).join(" · ");
}

/** A push was rejected because the remote has commits that are not here. */
export function isBehind({ stderr }: { stderr: string }): boolean {
  return /\[rejected\].*\((fetch first|non-fast-forward)\)/.test(stderr);
}
