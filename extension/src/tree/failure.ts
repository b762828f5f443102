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

/** Advice for a terminal, how far git is, where it fetched from or pushed to, and what came from there. */
const ASIDE =
  /^(hint:|(From|To) \S*[/:]|Auto-merging |Rebasing \(|([*+=t-] )?(\[[^\]]+\]|branch|tag|\w+\.{2,3}\w+) .*-> )/;

/** Why another command of git failed, in its own words. What conflicts is told on the other stream than errors. */
export function gitFailure({ stdout, stderr }: { stdout: string; stderr: string }): string {
  const [out, err] = [stdout, stderr].map((text) => text.split(/\s*[\r\n]\s*/).filter(Boolean));
  const reasons = (lines: string[] = []) => lines.filter((line) => !ASIDE.test(line));
  const conflicts = reasons(out).filter((line) => line.startsWith("CONFLICT "));
  const errors = reasons(err);
  const told = errors.length > 0 ? [...conflicts, ...errors] : reasons(out);
  return (told.length > 0 ? told : [...(err ?? []), ...(out ?? [])]).map((line) => line.trim()).join(" · ");
}

/** A push was rejected because the remote has commits that are not here. */
export function isBehind({ stderr }: { stderr: string }): boolean {
  return /\[rejected\].*\((fetch first|non-fast-forward)\)/.test(stderr);
}
