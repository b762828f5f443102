/** What a page copies. */

/** Runs in the page. A browser without a person does not give its clipboard: what is put there is kept beside it. */
export function watchClipboard(): void {
  const keep = (text: string) => {
    sessionStorage.setItem("copied", text);
  };
  window.addEventListener("copy", (event) => {
    keep(event.clipboardData?.getData("text/plain") ?? "");
  });
  navigator.clipboard.writeText = (text) => {
    keep(text);
    return Promise.resolve();
  };
}
