// What was dropped on the page: files, and the files in folders.

export async function dropped(transfer) {
  // Read at once: after the event they are gone.
  const files = [...transfer.files];
  const entries = [...transfer.items].map((item) => item.webkitGetAsEntry?.()).filter(Boolean);
  if (!entries.some((entry) => entry.isDirectory)) return files;
  const found = [];
  for (const entry of entries) await gather(entry, found);
  return found;
}

async function gather(entry, found) {
  if (entry.isFile) {
    found.push(await new Promise((resolve, reject) => entry.file(resolve, reject)));
    return;
  }
  const reader = entry.createReader();
  for (;;) {
    // A reader gives some at a time; none is the end.
    const part = await new Promise((resolve, reject) => reader.readEntries(resolve, reject));
    if (!part.length) return;
    // Files such as .DS_Store are the computer's own.
    for (const inner of part) if (!inner.name.startsWith(".")) await gather(inner, found);
  }
}
